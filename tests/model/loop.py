"""An event loop that a state machine drives by itself, with what all its examples share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncpg
import redis.asyncio as redis

from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate

T = TypeVar("T")
TABLES = "jobs, chunks, events, outbox, workers, dead_letters, pauses, audit, turns"


class World:
    """A ledger and a Redis, emptied at the beginning of each example."""

    def __init__(self, dsn: str, redis_url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self.run(migrate(dsn))
        self.ledger = self.run(Ledger.open(dsn, connections=2))
        self.redis = redis.Redis.from_url(redis_url)
        self.sql: asyncpg.Connection[asyncpg.Record] = self.run(asyncpg.connect(dsn))

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns."""
        return self._loop.run_until_complete(act)

    def rows(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Return the rows of a statement that is none of the product's."""
        return list(self.run(self.sql.fetch(statement, *values)))

    def empty(self) -> None:
        """Forget everything."""
        self.run(self.sql.execute(f"TRUNCATE {TABLES} RESTART IDENTITY CASCADE"))
        self.run(self._flush())

    async def _flush(self) -> None:
        await self.redis.flushall()

    def close(self) -> None:
        """Close the connections and the loop."""
        self.run(self.sql.close())
        self.run(self.redis.aclose())
        self.run(self.ledger.close())
        self._loop.close()


@contextmanager
def world_over(dsn: str, redis_url: str) -> Iterator[World]:
    """Give a world for the examples of one test."""
    world = World(dsn, redis_url)
    try:
        yield world
    finally:
        world.close()
