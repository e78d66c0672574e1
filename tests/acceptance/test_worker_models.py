"""Real workers that share one model endpoint: what it bears is never exceeded, not even when one of them is killed."""

from __future__ import annotations

import signal
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ledger.jobs import NewChunk
from orchestrator.limits.book import LEASE_SECONDS
from orchestrator.limits.view import LimitView, limits_of
from orchestrator.sources.redis_client import connect
from tests.support.fleet import STREAM, Fleet, fleet_over
from tests.support.jobs import new_job
from tests.support.model_server import DIMENSIONS, ModelServer, model_server
from tests.support.process import Process, write_module
from tests.support.throttling import Gate
from tests.support.wait import wait_until

BEARS = 3
CHUNKS = 24


def worker(fleet: Fleet, host: str, model: ModelServer) -> AbstractAsyncContextManager[Process]:
    """Run a worker with the LightRAG handler; it may make as many calls at once as the server bears, and no more."""
    types = {"lightrag": {"handler": "lightrag", "stream": STREAM, "group": "g"}}
    running = fleet.worker(host, ready=False, types=types, lightrag_dsn=fleet.dsn, batch=8)
    values: dict[str, Any] = {
        "llm_base_url": model.url,
        "embedding_base_url": model.url,
        "embedding_model": "hash",
        "embedding_dimensions": DIMENSIONS,
        "llm_max_concurrency": BEARS,
    }
    write_module(fleet.directory / host / "settings/workers/lightrag_processor.py", "LightRAGSettings", **values)
    return running


async def limit_of(redis_url: str) -> LimitView | None:
    """Return what Redis knows of the language model."""
    client = connect(redis_url)
    try:
        return next((view for view in await limits_of(client) if view.kind == "llm"), None)
    finally:
        await client.aclose()


@pytest.mark.timeout(300)  # two processes that load LightRAG, and leases of 15 s
async def test_two_workers_share_what_a_model_bears_though_one_is_killed(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    """A server that refuses the fourth call never has to, while two processes want eight each.

    What the killed one had under way is still at work at the server: its permits stay with it until their leases end.
    Then they are free again, and its chunks are the other's.
    """
    with model_server() as model:
        model.gate = gate = Gate(capacity=BEARS, latency=0.3)
        async with (
            fleet_over(database, redis_url, tmp_path) as fleet,
            worker(fleet, "first", model) as first,
            worker(fleet, "second", model) as second,
        ):
            for starting in (first, second):
                await starting.told("READY=1", within=120)
            jobs = []
            for workspace in ("a", "b", "c", "d"):
                texts = [f"Unit{i} Works supplies {workspace.upper()}a Labs." for i in range(CHUNKS // 4)]
                chunks = [NewChunk(chunk_id=f"c{i}", content=text) for i, text in enumerate(texts)]
                jobs.append(new_job(queue=STREAM, chunks=chunks, workspace=workspace))
                await fleet.ledger.jobs.create(jobs[-1])

            async def both_at_work() -> bool:
                holding = {w.host for w in await fleet.ledger.workers.alive(60) if w.busy}
                return holding == {"first", "second"} and gate.answered >= BEARS

            await wait_until(both_at_work, within=40, what="both workers at work")
            first.send(signal.SIGKILL)
            await first.ended()
            for job in jobs:
                ended = await fleet.ended(job, within=60)
                assert (ended.processed, ended.failed) == (CHUNKS // 4, 0)
            assert gate.most == BEARS and gate.throttled == 0

            async def freed() -> bool:
                view = await limit_of(redis_url)
                return view is not None and (view.in_use, view.waiting, view.limit) == (0, 0, BEARS)

            await wait_until(freed, within=LEASE_SECONDS + 5, what="the permits of the dead to be free")
