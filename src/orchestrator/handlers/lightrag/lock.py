"""One writer of a workspace in the whole cluster: LightRAG's own locks end at the process.

The lock is a session-level advisory lock on a connection of its own, so that it dies with its holder. A connection
pooler in transaction mode must not stand between: it would hold the lock, not we.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from orchestrator import keys
from orchestrator.errors import DependencyError
from orchestrator.tasks import end

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

log = logging.getLogger("orchestrator.lightrag")

CONNECT_SECONDS = 10.0
CHECK_SECONDS = 4.0
# We notice within 2 x CHECK_SECONDS that the connection is dead and stop; the server only after 5 + 3 x 5 seconds, and
# gives the lock to another then. So never two write, even across a cut network.
KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
UNREACHABLE = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError,
               asyncpg.CannotConnectNowError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
               asyncpg.TooManyConnectionsError)  # fmt: skip


async def connect(dsn: str, purpose: str) -> Connection:
    """Return a connection to the LightRAG database. Raises DependencyError when it does not answer."""
    known = {"application_name": f"orchestrator {purpose}"[:63], **KEEPALIVE}
    try:
        return await asyncpg.connect(dsn, timeout=CONNECT_SECONDS, command_timeout=60, server_settings=known)
    except UNREACHABLE as error:
        raise unreachable(error) from error


def unreachable(error: BaseException) -> DependencyError:
    """Return what to say of a LightRAG database that does not answer; never its DSN."""
    return DependencyError(f"the LightRAG database does not answer ({type(error).__name__}); check postgresql on it")


class WorkspaceLock:
    """A lock that is held; `lost` is set when it no longer is."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self.lost = asyncio.Event()
        self._connection = connection
        self._workspace = workspace
        connection.add_termination_listener(self._on_end)
        self._checking = asyncio.create_task(self._check(), name=f"lightrag lock {workspace}")

    @classmethod
    async def acquire(cls, dsn: str, workspace: str) -> WorkspaceLock | None:
        """Return the workspace's lock, None when another holds it. Raises DependencyError."""
        connection = await connect(dsn, f"lightrag lock {workspace}")
        try:
            got = await connection.fetchval("SELECT pg_try_advisory_lock($1)", keys.lock_id(f"lightrag:{workspace}"))
        except BaseException as error:
            connection.terminate()
            if isinstance(error, UNREACHABLE):
                raise unreachable(error) from error
            raise
        if got:
            return cls(connection, workspace)
        await connection.close()
        return None

    async def release(self) -> None:
        """Give the lock back; works on a lost one, too."""
        await end([self._checking])
        self._connection.remove_termination_listener(self._on_end)
        with contextlib.suppress(*UNREACHABLE):
            await self._connection.close(timeout=CHECK_SECONDS)

    def _on_end(self, _: object) -> None:
        if not self.lost.is_set():
            log.warning("workspace lock lost; its pump stops", extra={"workspace": self._workspace})
        self.lost.set()

    async def _check(self) -> None:
        """Ask for a sign of life: a cut network ends no connection by itself."""
        while not self.lost.is_set():
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._connection.fetchval("SELECT 1", timeout=CHECK_SECONDS)
            except Exception:  # whatever it is: a lock that cannot be checked is not held
                self._on_end(None)
