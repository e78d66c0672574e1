"""What the benches run on: the servers, and for each bench an empty Redis and a ledger of its own."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import redis.asyncio as redis
from tests.support.servers import Server, postgres_server, redis_server

from bench.report import Report
from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate

SETTINGS = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB"}
"""Of PostgreSQL: as the role postgresql deploys it. What is settled is on the disk."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The servers of a run."""

    redis: Server
    postgres: Server
    directory: Path
    report: Report

    async def describe(self) -> None:
        """Print what the lines that follow were measured on."""
        admin = await asyncpg.connect(f"{self.postgres.url}/postgres")
        shown = {name: await admin.fetchval(f"SHOW {name}") for name in ("server_version", *SETTINGS)}
        await admin.close()
        async with redis.Redis.from_url(self.redis.url) as client:
            version = str((await client.info("server"))["redis_version"])
        machine = {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
        self.report.tell({"machine": machine, "postgresql": shown, "redis": {"version": version, "persistence": "off"}})


@dataclass(frozen=True, slots=True)
class Scene:
    """One bench's own: the ledger with its address, an empty Redis, an empty directory, and the servers behind."""

    ledger: Ledger
    dsn: str
    redis_url: str
    directory: Path
    stage: Stage


@contextmanager
def stage() -> Iterator[Stage]:
    """Run the servers."""
    with redis_server() as cache, postgres_server(**SETTINGS) as sql, tempfile.TemporaryDirectory() as folder:
        yield Stage(cache, sql, Path(folder), Report())


@asynccontextmanager
async def fresh(on: Stage) -> AsyncIterator[Scene]:
    """Give a scene; its database is dropped afterwards, for the next bench wants the page cache for itself."""
    name = f"bench-{uuid4().hex[:8]}"
    async with redis.Redis.from_url(on.redis.url) as client:
        await client.flushall()
    dsn = await database(on.postgres.url, name)
    await migrate(dsn)
    ledger = await Ledger.open(dsn)
    directory = on.directory / name
    directory.mkdir()
    try:
        yield Scene(ledger, dsn, on.redis.url, directory, on)
    finally:
        await ledger.close()
        admin = await asyncpg.connect(f"{on.postgres.url}/postgres")
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


async def database(server: str, name: str) -> str:
    """Create a database and return its DSN."""
    admin = await asyncpg.connect(f"{server}/postgres")
    await admin.execute(f'CREATE DATABASE "{name}"')
    await admin.close()
    return f"{server}/{name}"
