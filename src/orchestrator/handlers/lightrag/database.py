"""LightRAG's pool of database connections, made by us: LightRAG has no parameter for it, so it gets another class.

Importing this imports LightRAG's driver, so the process environment must have been set before (environment.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from lightrag.kg import postgres_impl
from pgvector.asyncpg import register_vector

from orchestrator.checkout import Checkout
from orchestrator.errors import DependencyError
from orchestrator.handlers.lightrag.lock import CONNECT_SECONDS, KEEPALIVE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.handlers.lightrag.lock import Connection

    Operation: TypeAlias = Callable[[Any], Awaitable[Any]]  # of a connection

NAME = "orchestrator lightrag"


class Plain(asyncpg.Connection):
    """A connection in whose session nobody changes anything, so that there is nothing to reset after each use.

    An open transaction is still rolled back.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        """Return nothing; asyncpg's own query was four of ten statements of a chunk."""
        return ""


class Database(postgres_impl.PostgreSQLDB):  # type: ignore[misc]  # LightRAG has no types
    """As LightRAG knows it, with a pool of plain connections where the session is never changed."""

    dsn = ""
    uses_age = False
    _checkout: Checkout | None = None  # of the present pool, where nobody changes sessions
    _was_shared = False  # with all of LightRAG's storages, from its first connection until the last has let go

    @property
    def changes_sessions(self) -> bool:
        """Return whether LightRAG sets parameters of sessions, or the operator does: for AGE, VCHORDRQ, a pooler."""
        own = self.server_settings or self.statement_cache_size is not None
        return bool(self.uses_age or self.vector_index_type == "VCHORDRQ" or own)

    async def initdb(self) -> None:
        """Make the pool, at first and after an outage. Raises what asyncpg raises."""
        if self.changes_sessions:
            await super().initdb()
            return
        if self.enable_vector:  # before the pool: each of its connections asks for the type
            first = await asyncpg.connect(self.dsn, timeout=CONNECT_SECONDS)
            try:
                await self.configure_vector_extension(first)
            finally:
                await first.close()
        self.pool = await asyncpg.create_pool(
            self.dsn,
            min_size=1,
            max_size=self.max,
            connection_class=Plain,
            init=self._prepare,
            timeout=CONNECT_SECONDS,
            server_settings={"application_name": NAME, **KEEPALIVE},
        )
        self._checkout = Checkout(self.pool)

    async def _ensure_pool(self) -> None:
        """Connect anew after an outage, and not for a straggler of an engine that was closed.

        To such a query the closed pool looks like an outage: it made another one, which nobody ever closed. Raises
        DependencyError then.
        """
        client = postgres_impl.ClientManager._instances
        shared = client["db"] is self and client["ref_count"] > 0
        if self._was_shared and not shared:
            raise DependencyError("the engine that asks the LightRAG database was closed; its chunks come again")
        self._was_shared = shared
        await super()._ensure_pool()

    async def _run_with_retry(self, operation: Operation, *, with_age: bool = False, **more: Any) -> Any:
        """Run an operation on a connection; what fails in passing goes LightRAG's way, with its retries and pauses.

        That way makes dozens of objects a statement, in cycles: with what it takes to find them a tenth of a chunk's
        processor time.
        """
        if not with_age:
            try:
                await self._ensure_pool()
                async with self._checkout.use() if self._checkout else self.pool.acquire() as connection:
                    return await operation(connection)
            except self._transient_exceptions:
                pass
        return await super()._run_with_retry(operation, with_age=with_age, **more)

    async def check_tables(self) -> None:
        """Check the tables, and make them. When that does not come to its end the pool is closed.

        LightRAG would forget it, and it keeps itself connected: a flapping database would run out of connections.
        """
        try:
            await super().check_tables()
        except BaseException:
            if self.pool is not None:
                self.pool.terminate()
            raise

    async def _prepare(self, connection: Connection) -> None:
        if self.enable_vector:
            await register_vector(connection)


def adopt(dsn: str, *, uses_age: bool) -> None:
    """Let LightRAG make its pool from this class. It makes one a process, and the next when that is closed."""
    Database.dsn, Database.uses_age = dsn, uses_age
    postgres_impl.PostgreSQLDB = Database
