"""Gather what is known of a job: a few statements, and one look at Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from orchestrator.errors import DependencyError, RefusedError
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job
from orchestrator.why.situation import OTHERS, REFUSED, Ahead, Holding, Later, Situation

Depth = Callable[[], Awaitable[int]]
"""Say how many entries Redis holds for a queue, waiting, delayed or in flight. Raises DependencyError."""


async def situation(
    ledger: Ledger,
    job: Job,
    depth: Depth | None,
    *,
    lease_seconds: float,
    retry_attempts: int,
    only_tenant: str | None = None,
) -> Situation:
    """Return how a job stands; to a reader of `only_tenant` the others have no names.

    Without `depth` its queue is not ours, and not compared with the ledger.
    Raises DependencyError when PostgreSQL does not answer; Redis may be away.
    """
    database = ledger.database
    queued = await database.row("why_queued", job.job_id)
    assert queued is not None  # an aggregate always has its row
    held = await database.fetch("why_held", job.job_id)
    ahead = await database.fetch("why_ahead", job.job_id, job.queue, job.priority.value)
    undispatched = await database.value("why_undispatched", job.job_id)
    alive = await ledger.workers.alive(lease_seconds)
    redis, missing = await missing_entries(ledger, job.worker_type, job.queue, depth) if depth else ("", 0)
    later = None
    if queued["later"]:
        due, attempts, error = queued["due_at"], queued["attempts"], queued["error"]
        later = Later(chunks=queued["later"], due_at=due, attempts=attempts, error=error)
    return Situation(
        now=queued["now"],
        job=job,
        pauses=(await ledger.pauses.of_jobs([job.job_id])).get(job.job_id, []),
        holding=[Holding(**row) for row in held],
        later=later,
        ready=queued["ready"],
        undispatched=undispatched or 0,
        ahead=_named([Ahead(**row) for row in ahead], only_tenant),
        alive=sum(w.worker_type == job.worker_type for w in alive),
        obstacles=await ledger.obstacles.of_type(job.worker_type, lease_seconds),
        lease_seconds=lease_seconds,
        retry_attempts=retry_attempts,
        redis=redis,
        missing=missing,
    )


def _named(ahead: Sequence[Ahead], only_tenant: str | None) -> list[Ahead]:
    """Return them as a reader may see them."""
    if only_tenant is None:
        return list(ahead)
    others = sum(a.chunks for a in ahead if a.tenant != only_tenant)
    return [*(a for a in ahead if a.tenant == only_tenant), *([Ahead(tenant=OTHERS, chunks=others)] if others else [])]


async def missing_entries(ledger: Ledger, worker_type: str, queue: str, depth: Depth) -> tuple[str, int]:
    """Return why Redis cannot be asked, and how many entries it should hold and does not.

    The two numbers are read one after the other, so work that moves in between may make them differ: the smaller of
    two looks counts.
    """
    try:
        before = await depth()
        live = await ledger.chunks.count_live(worker_type, queue)
        return "", max(0, live - max(before, await depth()))
    except RefusedError as error:
        return f"{REFUSED}: {error.__cause__}", 0
    except DependencyError as error:
        return str(error), 0
