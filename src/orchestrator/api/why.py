"""GET /jobs/{id}/why: what holds a job up, and the command that mends it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from orchestrator.api.auth import Authenticated, Caller
from orchestrator.api.deps import Deps, Needs
from orchestrator.api.jobs import JobId, own
from orchestrator.api.openapi import problems
from orchestrator.jobs import JobStatus
from orchestrator.ledger.jobs import Job
from orchestrator.sources.redis_stream import RedisStreamSource
from orchestrator.why.facts import situation
from orchestrator.why.reasons import Kind, Reason, reasons

LEASE_SECONDS, RETRY_ATTEMPTS = 30.0, 3  # of a type that this host's settings do not know

router = APIRouter(tags=["jobs"])


class ReasonView(BaseModel):
    """One thing that holds a job up, or would."""

    kind: Kind
    text: str
    remedy: str = Field(description="a command that mends it, or that only waiting does; empty: nothing is held up")
    until: datetime | None = Field(description="when it ends by itself")
    chunks: int = Field(description="chunks of the job it concerns; 0: all, or it is not of chunks")


class WhyView(BaseModel):
    """Why a job stands where it stands: the gravest reason first, never none."""

    job_id: str
    status: JobStatus
    reasons: list[ReasonView]


@router.get("/jobs/{job_id}/why", responses=problems(401, 404, 422, 503), summary="Why a job does not move")
async def why(job_id: JobId, caller: Authenticated, deps: Needs) -> WhyView:
    """Return what holds a job up. A tenant is not told who else is in the queue, only how much."""
    job = await own(deps, caller, job_id)
    found = await _reasons(deps, job, caller)
    return WhyView(job_id=job.job_id, status=job.status, reasons=[_view(r) for r in found])


async def _reasons(deps: Deps, job: Job, caller: Caller) -> list[Reason]:
    kind = deps.types.get(job.worker_type)
    lease = kind.lease_seconds if kind else LEASE_SECONDS
    source = RedisStreamSource(deps.redis, stream=job.queue, group="", lease_seconds=lease)
    found = await situation(
        deps.ledger,
        job,
        source.depth if kind is None or kind.own_queue else None,
        lease_seconds=lease,
        retry_attempts=kind.retry_attempts if kind else RETRY_ATTEMPTS,
        only_tenant=caller.scope,
    )
    return reasons(found)


def _view(reason: Reason) -> ReasonView:
    return ReasonView(
        kind=reason.kind, text=reason.text, remedy=reason.remedy, until=reason.until, chunks=reason.chunks
    )
