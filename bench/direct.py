"""`ainsert` of a list by LightRAG itself, in a process of its own: prints seconds and processor seconds as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import uvloop

from bench.prose import WARM_UP, texts
from orchestrator.handlers.lightrag import environment
from orchestrator.settings import LightRAGSettings
from orchestrator.settings.load import load


async def insert(settings_dir: Path, dsn: str, workspace: str, count: int) -> dict[str, float]:
    """Insert the texts into an engine that is open and warm; return what that cost."""
    settings = load(settings_dir / "workers/lightrag_processor.py", LightRAGSettings)
    environment.apply(environment.variables(settings, dsn))
    from orchestrator.handlers.lightrag.engine import Engines  # noqa: PLC0415  # reads the environment when imported

    engines = Engines(settings, dsn, llm_key=None, embedding_key=None)
    engine = await engines.open(workspace)
    rag = engine._rag
    await rag.ainsert(WARM_UP, ids="warm-up", file_paths="warm-up")
    names = [f"{workspace}-{n}" for n in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    await rag.ainsert(texts(workspace, count), ids=names, file_paths=names)
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    states = await engine.statuses(names)
    assert all(s.state == "processed" for s in states.values()), states
    await engine.close()
    await engines.close()
    return spent


if __name__ == "__main__":
    found = uvloop.run(insert(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
    sys.stdout.write(json.dumps(found) + "\n")
