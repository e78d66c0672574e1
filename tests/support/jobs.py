"""Jobs and deliveries as tests need them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from orchestrator.deliveries import Delivery
from orchestrator.ledger.jobs import NewChunk, NewJob


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
