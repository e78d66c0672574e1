"""LightRAG through the queue against LightRAG alone: one list, equal settings, a model that answers at once."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import redis.asyncio as redis
from tests.support.process import Process, program, write_module, write_settings
from tests.support.servers import free_port
from tests.support.wait import wait_until

from bench.durable import new_job
from bench.prose import WARM_UP, texts
from bench.report import Cost
from orchestrator.jobs import TERMINAL_JOB
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewChunk
from orchestrator.tracker.relay import Relay

END_SECONDS = 300.0
LOOK_SECONDS = 0.25
STREAM = "bench:lightrag"
TYPES = {"lightrag": {"handler": "lightrag", "stream": STREAM, "group": "g"}}


def settings(directory: Path, *, redis_url: str, dsn: str, lightrag_dsn: str, model_port: int) -> list[str]:
    """Write the settings of both; return the options that name them."""
    options = write_settings(directory, redis_url=redis_url, dsn=dsn, lightrag_dsn=lightrag_dsn, size=4, types=TYPES)
    url = f"http://127.0.0.1:{model_port}/v1"
    module = directory / "settings/workers/lightrag_processor.py"
    write_module(module, "LightRAGSettings", llm_base_url=url, embedding_base_url=url)
    return options


@asynccontextmanager
async def model(seconds: float = 0.0) -> AsyncIterator[int]:
    """Run the model that answers at once, or after so long; gives its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.instant", str(port), str(seconds))

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(answers, what="start of the model")
        yield port
    finally:
        process.terminate()
        await process.wait()


async def direct(directory: Path, lightrag_dsn: str, count: int, *words: str) -> Cost:
    """Let LightRAG insert the list by itself, into a workspace of its own; `defaults` with its own settings."""
    options = [str(directory / "settings"), lightrag_dsn, f"direct-{uuid4().hex[:8]}", str(count), *words]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.direct", *options, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("bench.direct failed; its log is on standard error")
    return Cost(count, **json.loads(out))


async def queued(ledger: Ledger, redis_url: str, directory: Path, options: list[str], count: int) -> Cost:
    """Submit the list as one job to a deployed worker whose engine is open and warm."""
    workspace = f"queue-{uuid4().hex[:8]}"
    client = redis.Redis.from_url(redis_url)
    relay = Relay(ledger, client)
    try:
        async with program(directory, "worker", "lightrag", *options) as worker:
            for contents in ([WARM_UP], texts(workspace, count)):
                chunks = [NewChunk(chunk_id=f"chunk-{n:06d}", content=text) for n, text in enumerate(contents)]
                job = replace(new_job(0), worker_type="lightrag", queue=STREAM, workspace=workspace, chunks=chunks)
                began, cpu = time.time(), worker.cpu_seconds()
                await ledger.jobs.create(job)
                await relay.flush(STREAM)
                ended = await _end_of(ledger, job.job_id, worker)
                assert ended.processed == len(chunks), ended.error_message
                assert ended.completed_at is not None
                cost = Cost(len(chunks), ended.completed_at.timestamp() - began, worker.cpu_seconds() - cpu)
            return cost
    finally:
        await client.aclose()


async def _end_of(ledger: Ledger, job_id: str, worker: Process) -> Job:
    """Return the job when it has ended. It says itself when, so that seldom looking costs it nothing."""
    limit = time.monotonic() + END_SECONDS
    while time.monotonic() < limit:
        await asyncio.sleep(LOOK_SECONDS)
        worker.check()
        job = await ledger.jobs.get(job_id)
        if job.status in TERMINAL_JOB:
            return job
    raise RuntimeError(f"job {job_id} did not end within {END_SECONDS:g} s:\n{worker.log[-2000:]}")
