"""How long it takes to read the progress of a job over the API while its chunks settle by the thousand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

from tests.support.process import program

from bench.api import KIND, Api, api, document
from bench.report import middle_p99, percentiles
from bench.stage import Scene, Stage, fresh
from orchestrator.jobs import TERMINAL_JOB

CHUNKS = 100_000
RUNS = 3
PAUSE_SECONDS = 0.005
NICE = 5
"""Of the worker: a third of the API's weight, as their units have it by CPUWeight."""


async def read(on: Stage, wanted: Sequence[str]) -> None:
    """Ask from the first chunk of a job to its last; of several jobs the one with the middle p99 is reported."""
    async with fresh(on) as it, api(it) as client:
        runs = [await _run(it, client) for _ in range(RUNS)]
    on.report.emit("progress_read", cpu_us=None, ratio=None, **middle_p99(runs))


async def _run(it: Scene, client: Api) -> dict[str, Any]:
    took: list[float] = []
    seen: list[tuple[float, int]] = []
    job_id = await client.submit(document(CHUNKS))
    async with program(it.directory, "worker", KIND, *client.options) as worker:
        os.setpriority(os.PRIO_PROCESS, worker.pid, NICE)
        await client.fresh()
        while True:
            began = time.perf_counter()
            job: dict[str, Any] = await client.call("GET", f"/jobs/{job_id}")
            ended = time.perf_counter()
            if job["status"] in TERMINAL_JOB:
                break
            if job["chunks_processed"]:
                took.append(ended - began)
                seen.append((ended, job["chunks_processed"]))
            await asyncio.sleep(PAUSE_SECONDS)
    (first, none), (last, many) = seen[0], seen[-1]
    return {"per_second": (many - none) / (last - first), **percentiles(took), "reads": len(took)}
