"""One database and one model server for all tests here; each test has workspaces of its own.

LightRAG binds process-wide locks to the event loop it runs on first, as a worker process has but one: these tests share
one loop, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from orchestrator.settings import LightRAGSettings
from tests.integration.lightrag.bench import Bench
from tests.support.model_server import DIMENSIONS, ModelServer, model_server
from tests.support.servers import Server


@pytest.fixture(scope="package")
def shared_model() -> Iterator[ModelServer]:
    """A model server."""
    with model_server() as server:
        yield server


@pytest.fixture
def model(shared_model: ModelServer) -> Iterator[ModelServer]:
    """The model server, quick and well, and with nothing remembered."""
    yield shared_model
    shared_model.holding.clear()
    shared_model.rest()
    shared_model.delay, shared_model.refusing, shared_model.broken_embeddings = 0.0, 0, False
    shared_model.status, shared_model.failure = 429, 500
    shared_model.waits, shared_model.words = 0.01, "refused by the test"
    shared_model.gate, shared_model.says_usage = None, True
    shared_model.refusing_all.clear()
    shared_model.billed.clear()
    shared_model.failing.clear()
    shared_model.texts.clear()
    shared_model.embedded.clear()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def lightrag_dsn(postgres_process: Server) -> AsyncIterator[str]:
    """The DSN of a database for LightRAG."""
    name = f"lightrag{uuid4().hex}"
    admin = await asyncpg.connect(f"{postgres_process.url}/postgres")
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgres_process.url}/{name}"
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
def settings(model: ModelServer) -> LightRAGSettings:
    """Settings for the model server."""
    return LightRAGSettings(
        llm_base_url=model.url,
        embedding_base_url=model.url,
        embedding_model="hash",
        embedding_dimensions=DIMENSIONS,
        postgres_connections=8,
        llm_timeout_seconds=20,
    )


@pytest_asyncio.fixture(loop_scope="package")
async def bench(settings: LightRAGSettings, lightrag_dsn: str, model: ModelServer) -> AsyncIterator[Bench]:
    """A workspace nobody else uses, and handlers on it, closed at the end."""
    made = Bench(settings, lightrag_dsn, model)
    yield made
    await made.close()
