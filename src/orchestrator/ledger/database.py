"""The connection pool of the ledger, and what every statement has in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
import orjson

from orchestrator.checkout import Checkout
from orchestrator.errors import DependencyError
from orchestrator.ledger.statements import sql

T = TypeVar("T")
if TYPE_CHECKING:  # asyncpg's classes are generic for the type checker alone
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

# InsufficientResourcesError: its disk is full, or it has no connection left. InternalClientError: it has said that it
# ends the connection, and we use it before its end has reached us.
UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError,
               asyncpg.AdminShutdownError, asyncpg.CrashShutdownError, asyncpg.InternalClientError,
               asyncpg.InsufficientResourcesError, TimeoutError)  # fmt: skip
CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
CONTENTION_TRIES = 5


async def _set_up(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    # orjson writes bytes and jsonb is sent as a version byte and text: no detour over str
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda raw: orjson.loads(raw[1:]),
    )


async def _no_reset(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Do nothing: we set no session state, and the default reset costs a round trip at each use."""


class Database:
    """A pool of connections. All methods raise DependencyError when PostgreSQL does not answer."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._checkout = Checkout(pool)

    @classmethod
    async def open(cls, dsn: str, *, connections: int = 8, name: str = "orchestrator") -> Database:
        """Connect to `dsn` with at most `connections` connections; `name` is what pg_stat_activity shows."""
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=connections,
                init=_set_up,
                reset=_no_reset,
                command_timeout=30.0,
                timeout=10.0,
                server_settings={
                    "application_name": name,
                    "timezone": "UTC",
                    # a process stopped inside a transaction must not hold its rows, or the event streams, for ever
                    "idle_in_transaction_session_timeout": "30s",
                    # of a table that was filled a moment ago nothing is known yet, and then a bitmap of a whole job is
                    # made and sorted where the next page is to be read in the order of an index
                    "enable_bitmapscan": "off",
                },
            )
        except UNREACHABLE as error:
            raise _unreachable(error) from error
        return cls(pool)

    async def close(self) -> None:
        """Close the connections; those still in use are cut after five seconds."""
        try:
            async with asyncio.timeout(5):
                await self._checkout.clear()
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Return the rows of a named statement."""
        return await self.run(lambda c: c.fetch(sql(statement), *values))

    async def row(self, statement: str, *values: Any) -> asyncpg.Record | None:
        """Return the first row of a named statement."""
        return await self.run(lambda c: c.fetchrow(sql(statement), *values))

    async def value(self, statement: str, *values: Any) -> Any:
        """Return the first value of a named statement."""
        return await self.run(lambda c: c.fetchval(sql(statement), *values))

    async def execute(self, statement: str, *values: Any) -> int:
        """Run a named statement and return how many rows it touched."""
        tag = await self.run(lambda c: c.execute(sql(statement), *values))
        count = tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def run(self, act: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `act` on a connection; again when it lost a deadlock, for every statement of ours may run twice."""
        for tries_left in reversed(range(CONTENTION_TRIES)):
            try:
                async with self._checkout.use() as connection:
                    return await act(connection)
            except CONTENDED:
                if not tries_left:
                    raise
            except UNREACHABLE as error:
                raise _unreachable(error) from error
        raise AssertionError("unreachable")  # pragma: no cover

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a connection inside one transaction."""
        try:
            async with self._checkout.use() as connection, connection.transaction():
                yield connection
        except UNREACHABLE as error:
            raise _unreachable(error) from error


def _unreachable(error: BaseException) -> DependencyError:
    # never the DSN: it holds a password
    return DependencyError(f"PostgreSQL does not answer ({type(error).__name__}); check `systemctl status postgresql`")
