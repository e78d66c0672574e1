"""The books of a job: what its events, its chunks and its counters say, and that they say the same."""

from __future__ import annotations

from typing import Any

from orchestrator.deliveries import Delivery
from orchestrator.jobs import FailurePolicy
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewJob
from tests.support.jobs import delivery_of, new_job


async def begun(ledger: Ledger, size: int, policy: FailurePolicy, **changes: Any) -> tuple[NewJob, list[Delivery]]:
    """Create a job and claim all its chunks."""
    job = new_job(size, failure_policy=policy, **changes)
    await ledger.jobs.create(job)
    return job, (await ledger.chunks.claim([delivery_of(job, i) for i in range(size)])).taken


async def events(ledger: Ledger, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the job's events in order: type and data."""
    rows = await ledger.database.run(
        lambda c: c.fetch("SELECT type, data FROM events WHERE job_id = $1 ORDER BY seq", job_id)
    )
    return [(row["type"].removeprefix("ingestion."), row["data"]) for row in rows]


async def ends(ledger: Ledger, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events that say how the job ended."""
    return [e for e in await events(ledger, job_id) if e[0] in {"completed", "failed", "cancelled"}]


async def states(ledger: Ledger, job: NewJob) -> dict[str, str]:
    """Return what became of each chunk."""
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10_000)
    return {row["chunk_id"]: row["status"] for row in rows}


async def check_sums(ledger: Ledger, job_id: str) -> Job:
    """Return an ended job after a look at its books: its counters are those of its rows, and one event ended it."""
    job = await ledger.jobs.get(job_id)
    rows = await ledger.jobs.chunks(job_id, status=None, after=None, limit=10_000)
    counted = {name: sum(row["status"] == name for row in rows) for name in ("processed", "failed", "cancelled")}
    assert counted == {"processed": job.processed, "failed": job.failed, "cancelled": job.cancelled}
    assert (job.queued, job.running, sum(counted.values())) == (0, 0, job.chunks_total)
    assert [kind for kind, _ in await ends(ledger, job_id)] == [job.status.value]
    return job
