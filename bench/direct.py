"""`ainsert` of a list by LightRAG itself, in a process of its own: prints seconds and processor seconds as JSON.

With the word `defaults` LightRAG keeps all its own settings and its own pool of connections; only the storages, the
tokenizer (its own wants a network) and the functions that call the models are the same.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.prose import WARM_UP, texts
from orchestrator.handlers.lightrag import environment
from orchestrator.settings import LightRAGSettings
from orchestrator.settings.load import load

KEPT = {
    "workspace", "working_dir", "kv_storage", "doc_status_storage", "graph_storage", "vector_storage", "tokenizer",
    "llm_model_func", "llm_model_name", "embedding_func",
}  # fmt: skip
"""What LightRAG cannot do without; all other arguments are our settings."""


async def insert(settings_dir: Path, dsn: str, workspace: str, count: int, *, defaults: bool) -> dict[str, float]:
    """Insert the texts into an engine that is open and warm; return what that cost."""
    settings = load(settings_dir / "workers/lightrag_processor.py", LightRAGSettings)
    environment.apply(environment.variables(settings, dsn))
    from orchestrator.handlers.lightrag.engine import Engines  # noqa: PLC0415  # reads the environment when imported

    engines = Engines(settings, dsn, llm_key=None, embedding_key=None)
    if defaults:
        _keep_defaults(engines)
    engine = await engines.open(workspace)
    rag = engine._rag
    await rag.ainsert(WARM_UP, ids="warm-up", file_paths="warm-up")
    names = [f"{workspace}-{n}" for n in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    await rag.ainsert(texts(workspace, count), ids=names, file_paths=names)
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    states = await engine.statuses(names)
    assert len(states) == count and all(s.state == "processed" for s in states.values()), states
    await engine.close()
    await engines.close()
    return spent


def _keep_defaults(engines: Any) -> None:
    from lightrag.kg import postgres_impl  # noqa: PLC0415  # as above

    arguments = engines._arguments
    engines._arguments = lambda *a, **k: {name: v for name, v in arguments(*a, **k).items() if name in KEPT}
    postgres_impl.PostgreSQLDB = postgres_impl.PostgreSQLDB.__base__  # not our class, but what it is made from
    del os.environ["POSTGRES_MAX_CONNECTIONS"]


if __name__ == "__main__":
    where, dsn, workspace, count, *words = sys.argv[1:]
    found = uvloop.run(insert(Path(where), dsn, workspace, int(count), defaults=words == ["defaults"]))
    sys.stdout.write(json.dumps(found) + "\n")
