"""LightRAG's pool of database connections, where it would be forgotten.

LightRAG connects, then checks its tables, and only then notes that it has a pool. When the check fails or is cancelled
the pool stays open with nobody to close it, and keeps itself connected: a flapping database would run out of
connections.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MARK = "_closes_pools_that_fail"


def close_pools_that_fail() -> None:
    """Let LightRAG's check of its tables close the pool when it does not come to its end. Does so once a process."""
    database = import_module("lightrag.kg.postgres_impl").PostgreSQLDB
    check = database.check_tables
    if hasattr(check, _MARK):
        return

    async def check_or_close(self: Any) -> None:
        try:
            await check(self)
        except BaseException:
            if self.pool is not None:
                self.pool.terminate()
            raise

    setattr(check_or_close, _MARK, True)
    database.check_tables = check_or_close
