"""Jobs and deliveries as tests need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from orchestrator.deliveries import DONE, Delivery, Outcome, Verdict
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewChunk, NewJob

DEAD = Outcome(Verdict.FAILED, reason="model said 400")


def new_job(size: int = 2, **changes: Any) -> NewJob:
    """Return a job of `size` chunks named c0, c1, …"""
    values: dict[str, Any] = {
        "job_id": f"job-{uuid4().hex[:12]}",
        "tenant": "lab",
        "worker_type": "lightrag",
        "queue": "q",
        "workspace": "lab",
        "job_type": "ingestion",
        "chunks": [NewChunk(chunk_id=f"c{i}", content=f"text {i}", source_uri=f"file:{i}") for i in range(size)],
    }
    return NewJob(**{**values, **changes})


def delivery_of(job: NewJob, index: int, receipt: str | None = None) -> Delivery:
    """Return a delivery of one chunk of the job, as our own relay's entry would make it."""
    chunk = list(job.chunks)[index]
    return Delivery(receipt or f"r-{job.job_id}-{index}", "h-lightrag-0", job.job_id, chunk.chunk_id, job.workspace)


async def ended_job(ledger: Ledger, size: int, dead: int, **changes: Any) -> NewJob:
    """Run a job to its end with its first `dead` chunks dead; return it."""
    job = new_job(size, **changes)
    await ledger.jobs.create(job)
    taken = (await ledger.chunks.claim([delivery_of(job, n) for n in range(size)])).taken
    await ledger.chunks.settle([(d, DEAD if n < dead else DONE) for n, d in enumerate(taken)])
    return job


async def nothing_of_ours(queue: str, payloads: Sequence[Mapping[str, Any]]) -> None:
    """Put entries back on our own stream, of which there must be none."""
    assert not payloads, queue
