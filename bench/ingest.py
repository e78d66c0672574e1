"""What the API takes in: many requests one after the other, then the largest job there may be, in lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bench.api import Api, Body, api, document, lines
from bench.processes import rss_mb
from bench.report import Cost
from bench.stage import Stage, fresh
from orchestrator.tasks import end

REQUESTS, CHUNKS = 100, 500
JOBS, LARGEST = 3, 100_000
TEXT = (
    "A chunk of text as it is when somebody has cut a page into paragraphs: two lines or three, and then the next. " * 2
)
LOOK_SECONDS = 0.02


async def stream(on: Stage, wanted: Sequence[str]) -> None:
    """Submit over one connection, to a type that no worker serves."""
    async with fresh(on) as it, api(it) as client:
        small, large, whole = document(CHUNKS, TEXT), lines(LARGEST, TEXT), document(LARGEST, TEXT)
        await client.submit(small)
        cost, requests = await _submit(client, small, CHUNKS, REQUESTS)
        start = rss_mb(client.process.pid)
        jobs, in_lines = await _submit(client, large, LARGEST, JOBS)
        one, in_document = await _submit(client, whole, LARGEST, 1)
    on.report.emit(
        "ingest",
        per_second=cost.per_second,
        cpu_us=cost.cpu_us,
        ratio=None,
        requests=REQUESTS,
        chunks=cost.chunks,
        job_100000_seconds=round(jobs.seconds / JOBS, 2),
        job_bytes=len(large.content),
        job_growth_mb=round(max(in_lines) - start, 1),
        rss_mb={"start": start, "requests": max(requests), "jobs": max(in_lines), "document": max(in_document)},
        document_seconds=round(one.seconds, 2),  # the same job as one JSON document, which is held in memory
    )


async def _submit(client: Api, body: Body, chunks: int, times: int) -> tuple[Cost, list[float]]:
    """Submit so often; return what it cost, and how much memory the process held all the while."""
    memory = [rss_mb(client.process.pid)]
    watching = asyncio.create_task(_watch(client, memory))
    began, cpu = time.perf_counter(), client.process.cpu_seconds()
    for _ in range(times):
        await client.submit(body)
    cost = Cost(times * chunks, time.perf_counter() - began, client.process.cpu_seconds() - cpu)
    await end([watching])
    return cost, memory


async def _watch(client: Api, memory: list[float]) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        memory.append(rss_mb(client.process.pid))
