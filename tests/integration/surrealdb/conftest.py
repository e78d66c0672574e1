"""One server for the tests of a process; a table of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator.sources.surrealdb import create
from tests.integration.surrealdb.table import Commands, setup
from tests.support.servers import Server
from tests.support.surreal_server import surreal_client, surreal_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests here."""
    with surreal_server() as running:
        yield running


@pytest.fixture
async def commands(server: Server, tmp_path: Path) -> AsyncIterator[Commands]:
    """A table, and the source over it."""
    table = f"command_{uuid4().hex[:8]}"
    async with surreal_client(server) as client:
        source = create(setup(tmp_path, server.url, table))
        await source.open(["c0", "c1"])
        yield Commands(client, table, source)
        await source.close()
