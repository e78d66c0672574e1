"""Fixtures all tests share: one Redis and one PostgreSQL a session; a fresh database and an empty Redis a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
import redis.asyncio as redis
from hypothesis import settings

from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate
from orchestrator.sources.redis_client import connect
from tests.support.api import Api, api_over
from tests.support.servers import Server, postgres_server, redis_server

settings.register_profile("ours", deadline=None)  # a busy machine is no failure
settings.load_profile("ours")

# Tests that share something costly, and therefore a process when several run them.
TOGETHER = {"deploy/test_lab": "lab", "deploy/test_templates": "templates", "integration/lightrag/": "lightrag"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep those tests in one process each."""
    for item in items:
        for part, group in TOGETHER.items():
            if f"tests/{part}" in item.nodeid:
                item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def redis_process() -> Iterator[Server]:
    """One Redis for the session."""
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_process() -> Iterator[Server]:
    """One PostgreSQL with pgvector for the session."""
    with postgres_server() as server:
        yield server


@pytest.fixture
async def redis_url(redis_process: Server) -> AsyncIterator[str]:
    """The URL of an empty Redis."""
    client = redis.Redis.from_url(redis_process.url)
    await client.flushall()
    await client.aclose()
    yield redis_process.url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    """A client of an empty Redis, as every part makes it."""
    opened = connect(redis_url)
    yield opened
    await opened.aclose()


@pytest.fixture
async def database(postgres_process: Server) -> AsyncIterator[str]:
    """The DSN of a fresh, empty database, dropped afterwards."""
    name = f"t{uuid4().hex}"
    admin = await asyncpg.connect(f"{postgres_process.url}/postgres")
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgres_process.url}/{name}"
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[Ledger]:
    """A ledger with its schema in a fresh database."""
    await migrate(database)
    opened = await Ledger.open(database)
    yield opened
    await opened.close()


@pytest.fixture
async def api(ledger: Ledger, redis_url: str) -> AsyncIterator[Api]:
    """An API with the default limits."""
    async with api_over(ledger, redis_url) as made:
        yield made
