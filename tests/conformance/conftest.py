"""The sources and their backends. A further one is one line here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from _pytest.mark import ParameterSet

from orchestrator.ledger import Ledger
from tests.conformance.backend import Backend
from tests.conformance.bullmq_backend import BullBackend
from tests.conformance.mongodb_backend import MongoBackend
from tests.conformance.redis_stream_backend import RedisStreamBackend
from tests.conformance.sqs_backend import SqsBackend
from tests.conformance.surrealdb_backend import SurrealBackend
from tests.conformance.workers import Workers

BACKENDS: dict[str, Callable[[], Backend]] = {
    "redis_stream": RedisStreamBackend,
    "bullmq": BullBackend,
    "sqs": SqsBackend,
    "mongodb": MongoBackend,
    "surrealdb": SurrealBackend,
}


def _grouped(names: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


KEEPING = _grouped(["redis_stream", "bullmq", "surrealdb"])
"""Those whose server has everything again after a restart."""


@pytest.fixture(scope="session", params=_grouped(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A backend with its server, for the session."""
    made = BACKENDS[request.param]()
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
async def workers(backend: Backend, ledger: Ledger, database: str, redis_url: str, tmp_path: Path) -> Workers:
    """A queue of its own, and nobody at work on it yet."""
    queue = f"q-{uuid4().hex[:8]}"
    await backend.prepare(queue)
    return Workers(backend, queue, ledger, database, redis_url, tmp_path)
