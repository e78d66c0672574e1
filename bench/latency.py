"""From the submission of a job, as a user does it over the API, to its start on an idle worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tests.support.process import program

from bench import durable, raw
from bench.api import KIND, api, document
from bench.report import Cost, middle_p99, percentiles
from bench.stage import Scene, Stage, fresh

JOBS = 200
RUNS = 3


async def start(on: Stage, wanted: Sequence[str]) -> None:
    """Compare it with the time from XADD to a blocked reader, and with that of the commit it needs."""
    async with fresh(on) as it:
        runs = [await _run(it) for _ in range(RUNS)]
    on.report.emit("start_latency", **middle_p99(runs))


async def _run(it: Scene) -> dict[str, Any]:
    bare = percentiles(await raw.latencies(it.redis_url, JOBS))
    commit = percentiles(await raw.commits(it.dsn, JOBS))
    found, cost = await _latencies(it)
    ours = percentiles(found)
    ratio = ours["p50_ms"] / bare["p50_ms"]
    raws = {**bare, "commit": commit}
    return {"per_second": cost.per_second, "cpu_us": cost.cpu_us, "ratio": ratio, **ours, "raw": raws}


async def _latencies(it: Scene) -> tuple[list[float], Cost]:
    """Return seconds from POST to the start in the ledger, of a job of one chunk at a time."""
    found: list[float] = []
    async with api(it, batch=10) as client, program(it.directory, "worker", KIND, *client.options) as worker:
        await client.fresh()
        began, cpu = time.time(), worker.cpu_seconds()
        for _ in range(JOBS):
            submitted = time.time()
            job_id = await client.submit(document(1))
            ended = await durable.end_of(it.ledger, job_id, worker)
            assert ended.started_at is not None
            found.append(ended.started_at.timestamp() - submitted)
        return found, Cost(JOBS, time.time() - began, worker.cpu_seconds() - cpu)
