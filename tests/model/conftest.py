"""One world a test: its database is made and dropped outside of any running loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import asyncpg
import pytest

from tests.model.loop import World, world_over
from tests.support.servers import Server


async def _do(url: str, statement: str) -> None:
    admin = await asyncpg.connect(f"{url}/postgres")
    await admin.execute(statement)
    await admin.close()


@pytest.fixture
def world(postgres_process: Server, redis_process: Server) -> Iterator[World]:
    """A ledger in a fresh database, and an empty Redis."""
    name = f"t{uuid4().hex}"
    asyncio.run(_do(postgres_process.url, f'CREATE DATABASE "{name}"'))
    try:
        with world_over(f"{postgres_process.url}/{name}", redis_process.url) as made:
            yield made
    finally:
        asyncio.run(_do(postgres_process.url, f'DROP DATABASE "{name}" WITH (FORCE)'))
