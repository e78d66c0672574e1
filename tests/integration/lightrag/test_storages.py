"""Storages beside PostgreSQL: files, and Qdrant.

Qdrant runs here inside its own client (its local mode): the calls LightRAG makes are proven, a server is not. No Neo4j
can be had from a package registry: that its client loads and is asked for is all that is shown of it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CredentialError, SettingsError
from orchestrator.handlers.base import HandlerSetup
from orchestrator.handlers.lightrag import create
from orchestrator.settings.credentials import Credentials
from tests.integration.lightrag.bench import Bench
from tests.support.process import write_module

pytestmark = pytest.mark.asyncio(loop_scope="package")

FIRST = "Helios Labs acquired Titan Corp. Titan Corp employs Anna Keller."
SECOND = "Anna Keller founded Orbit Works."
IN_FILES = {
    "kv_storage": "JsonKVStorage",
    "doc_status_storage": "JsonDocStatusStorage",
    "graph_storage": "NetworkXStorage",
    "vector_storage": "NanoVectorDBStorage",
}


async def test_everything_may_lie_in_files(bench: Bench, tmp_path: Path) -> None:
    """The same counts, a second run costs nothing, and what is written lies in the working directory alone."""
    handler = await bench.handler(**IN_FILES, working_dir=str(tmp_path))
    assert (await bench.run(handler, "c1", FIRST)).entities == 3
    assert (await bench.run(handler, "c2", SECOND)).relations == 1
    asked = len(bench.model.texts)
    assert (await bench.run(handler, "c1", FIRST)).entities == 3
    assert len(bench.model.texts) == asked
    written = {path.name for path in (tmp_path / bench.workspace).iterdir()}
    assert {"graph_chunk_entity_relation.graphml", "vdb_chunks.json", "kv_store_doc_status.json"} <= written
    assert await bench.rows() == {}


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
async def test_vectors_may_lie_in_qdrant(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of entities, relations and chunks go there, and none into PostgreSQL."""
    from qdrant_client import QdrantClient

    qdrant = QdrantClient(":memory:")
    asked: list[dict[str, Any]] = []

    def connect(**where: Any) -> QdrantClient:
        asked.append(where)
        return qdrant

    monkeypatch.setattr(import_module("lightrag.kg.qdrant_impl"), "QdrantClient", connect)
    monkeypatch.setenv("QDRANT_API_KEY", "")
    url = "http://203.0.113.7:6333"  # never connected to: the client above stands for it
    options = {"vector_storage": "QdrantVectorDBStorage", "storage_options": {"QDRANT_URL": url}}
    handler = await bench.handler(**options)
    assert (await bench.run(handler, "c1", FIRST)).entities == 3
    assert {where["url"] for where in asked} == {url}
    counts = {c.name: qdrant.count(c.name).count for c in qdrant.get_collections().collections}
    assert sorted(counts.values()) == [1, 2, 3], counts  # chunks, relations, entities
    assert not [table for table in await bench.rows() if "vdb" in table]


async def test_a_storage_that_cannot_be_used_stops_the_worker_at_start(tmp_path: Path) -> None:
    """LightRAG would try to install a client it lacks: for a minute, in a unit that may not write there."""

    def start(**chosen: Any) -> None:
        write_module(tmp_path / "workers/lightrag_processor.py", "LightRAGSettings", **chosen)
        create(HandlerSetup("lightrag", {}, tmp_path, Credentials(tmp_path)))

    (tmp_path / "workers").mkdir()
    (tmp_path / "lightrag-dsn").write_text("postgresql://somebody@127.0.0.1:5432/graph")
    with pytest.raises(SettingsError, match="vector_storage: MilvusVectorDBStorage is not one of"):
        start(vector_storage="MilvusVectorDBStorage")
    with pytest.raises(
        SettingsError, match="vector_storage: QdrantVectorDBStorage needs QDRANT_URL in storage_options"
    ):
        start(vector_storage="QdrantVectorDBStorage")
    neo4j = {"graph_storage": "Neo4JStorage", "storage_options": {"NEO4J_URI": "neo4j://203.0.113.7:7687"}}
    with pytest.raises(CredentialError, match="'neo4j-password' is missing; graph_storage is Neo4JStorage"):
        start(**neo4j)
    (tmp_path / "neo4j-password").write_text("secret")
    start(**neo4j)
