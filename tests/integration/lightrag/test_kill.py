"""A worker process killed in the middle: the next takes over, and loses and doubles nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import RetryError
from tests.integration.lightrag.bench import Bench
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")

COUNT = 16
PROGRAM = """
import asyncio, sys, uvloop
from orchestrator.deliveries import Delivery
from orchestrator.handlers.base import Context
from orchestrator.handlers.lightrag.handler import LightRAGHandler
from orchestrator.settings import LightRAGSettings

async def main(url, dsn, workspace, dimensions, count):
    known = dict(embedding_model="hash", embedding_dimensions=int(dimensions), max_parallel_insert=4)
    handler = LightRAGHandler(LightRAGSettings(llm_base_url=url, embedding_base_url=url, **known), dsn)
    await handler.open()
    texts = [f"Shared Hub supplies Unit{i} Works." for i in range(int(count))]
    chunks = [Delivery("r", "c", "job-1", f"c{i}", workspace, text) for i, text in enumerate(texts)]
    await asyncio.gather(*(handler(chunk, Context()) for chunk in chunks))

uvloop.run(main(*sys.argv[1:]))
"""


async def test_a_killed_worker_is_succeeded(bench: Bench, tmp_path: Path) -> None:
    """Its lock dies with it. Blind re-enqueuing would leave a FAILED `dup-` row for each redelivered chunk.

    It runs as workers do, on uvloop, and in a directory whose files would lead LightRAG into another workspace. Three
    of its chunks are held up at the model, and four at work at a time: some end, and it cannot end before it is killed.
    """
    (tmp_path / ".env").write_text("POSTGRES_WORKSPACE=leak\nWORKSPACE=leak\nMAX_ASYNC=1\n")
    (tmp_path / "config.ini").write_text("[postgres]\nworkspace = leak\n")
    bench.model.holding |= {f"Unit{i} " for i in range(COUNT - 3, COUNT)}
    values = (bench.model.url, bench.dsn, bench.workspace, str(bench.settings.embedding_dimensions), str(COUNT))
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, *values, cwd=tmp_path)

    async def some_are_done() -> bool:
        assert worker.returncode is None
        return "processed" in (await bench.states()).values()

    handler = await bench.handler(max_parallel_insert=4)
    try:
        await wait_until(some_are_done, within=50)  # a start of LightRAG is in it
        with pytest.raises(RetryError, match="another host"):
            await bench.run(handler, "c0", "Shared Hub supplies Unit0 Works.")
    finally:
        worker.kill()
        await worker.wait()
        bench.model.holding.clear()
    left = (await bench.states()).values()
    assert "failed" not in left and set(left) > {"processed"}

    async def taken_over() -> bool:
        try:
            return bool((await bench.run(handler, "c0", "Shared Hub supplies Unit0 Works.")).entities)
        except RetryError:
            return False

    await wait_until(taken_over)
    ends = await bench.run_all(handler, {f"c{i}": f"Shared Hub supplies Unit{i} Works." for i in range(COUNT)})
    assert set(ends.values()) == {Result(entities=2, relations=1)}
    assert list((await bench.states()).values()) == ["processed"] * COUNT
    for table, expected in (("lightrag_graph_nodes", COUNT + 1), ("lightrag_graph_edges", COUNT)):
        found = await bench.sql(f"SELECT count(*) AS n FROM {table} WHERE workspace = $1", bench.workspace)
        assert found[0]["n"] == expected, table
