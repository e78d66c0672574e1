"""The whole durable path: read, claim in the ledger, handler, settle with events, ack; by a deployed worker process."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

import redis.asyncio as redis
from tests.support.process import Process, program, write_settings
from tests.support.wait import wait_until

from bench.report import Cost
from orchestrator.jobs import TERMINAL_JOB
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewChunk, NewJob
from orchestrator.tracker.relay import Relay

STREAM = "bench:noop"
TYPE = {"handler": "noop", "stream": STREAM, "group": "g"}
END_SECONDS = 300.0


def new_job(count: int) -> NewJob:
    """Return a job of so many small chunks."""
    chunks = [NewChunk(chunk_id=f"chunk-{n:06d}", content="text") for n in range(count)]
    return NewJob(
        job_id=str(uuid4()),
        tenant="bench",
        worker_type="noop",
        queue=STREAM,
        workspace="w",
        job_type="ingestion",
        chunks=chunks,
    )


async def throughput(ledger: Ledger, dsn: str, redis_url: str, directory: Path, *, count: int, batch: int) -> Cost:
    """Queue a job, start a worker, and return what its chunks cost from READY to the job's end."""
    client = redis.Redis.from_url(redis_url)
    job = new_job(count)
    await ledger.jobs.create(job)
    await Relay(ledger, client).flush()
    options = write_settings(directory, redis_url=redis_url, dsn=dsn, size=4, batch=batch, types={"noop": TYPE})
    try:
        async with program(directory, "worker", "noop", *options) as worker:
            began, cpu = time.time(), worker.cpu_seconds()
            ended = await end_of(ledger, job.job_id, worker)
            spent = worker.cpu_seconds() - cpu
        assert ended.processed == count, f"{ended.processed} of {count} chunks processed: {ended.error_message}"
        assert ended.completed_at is not None
        return Cost(count, ended.completed_at.timestamp() - began, spent)
    finally:
        await client.aclose()


async def latencies(ledger: Ledger, dsn: str, redis_url: str, directory: Path, count: int) -> tuple[list[float], Cost]:
    """Return seconds from the submission of a job of one chunk to its start, one job at a time, on an idle worker."""
    client = redis.Redis.from_url(redis_url)
    relay = Relay(ledger, client)
    options = write_settings(directory, redis_url=redis_url, dsn=dsn, size=4, batch=10, types={"noop": TYPE})
    found: list[float] = []
    try:
        async with program(directory, "worker", "noop", *options) as worker:
            began, cpu = time.time(), worker.cpu_seconds()
            for _ in range(count):
                job, submitted = new_job(1), time.time()
                await ledger.jobs.create(job)
                await relay.flush(STREAM)
                ended = await end_of(ledger, job.job_id, worker)
                assert ended.started_at is not None
                found.append(ended.started_at.timestamp() - submitted)
            return found, Cost(count, time.time() - began, worker.cpu_seconds() - cpu)
    finally:
        await client.aclose()


async def end_of(ledger: Ledger, job_id: str, worker: Process) -> Job:
    """Return the job when it has ended."""

    async def look() -> Job | None:
        worker.check()
        job = await ledger.jobs.get(job_id)
        return job if job.status in TERMINAL_JOB else None

    job = await wait_until(look, within=END_SECONDS, what=f"end of {job_id}")
    assert job is not None
    return job
