"""Jobs: read, list, cancel, forget. The truth is the ledger; the fast view answers one question when it is away."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Path, Query
from redis.exceptions import RedisError

from orchestrator import keys
from orchestrator.api.auth import Authenticated, Caller
from orchestrator.api.cursors import chunk_cursor, encode, job_cursor
from orchestrator.api.deps import Deps, Needs
from orchestrator.api.models import ChunkPage, ChunkView, Counts, HeldBack, JobPage, JobView, Links, Usage
from orchestrator.api.openapi import problems
from orchestrator.api.patience import within
from orchestrator.api.problems import ProblemError
from orchestrator.errors import DependencyError, NotFoundError
from orchestrator.jobs import TERMINAL_JOB, ChunkStatus, JobStatus
from orchestrator.ledger.jobs import Job
from orchestrator.ledger.pauses import Pause

log = logging.getLogger("orchestrator.jobs")

PATIENCE_SECONDS = 3.0
"""How long a reader of one job waits for PostgreSQL before the fast view answers, and for Redis."""

router = APIRouter(tags=["jobs"])
JobId = Annotated[str, Path(max_length=128)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before")]


def links_of(job_id: str) -> Links:
    """Return where to go on from a job."""
    path = f"/jobs/{quote(job_id, safe='')}"
    events = f"/events/stream?job_id={quote(job_id, safe='')}"
    return Links(self=path, chunks=f"{path}/chunks", events=events, cancel=f"{path}/cancel")


@router.get("/jobs/{job_id}", responses=problems(401, 404, 422, 503), summary="Status and progress of a job")
async def get_job(job_id: JobId, caller: Authenticated, deps: Needs) -> JobView:
    """Return a job; `stale` when PostgreSQL is away and this is what Redis remembers."""
    _check_id(job_id)
    try:
        return await within(PATIENCE_SECONDS, shown(deps, caller, job_id))
    except (DependencyError, TimeoutError) as error:
        stale = await _stale(deps, caller, job_id)
        if stale is None:
            raise DependencyError(str(error) or "PostgreSQL does not answer in time") from error
        return stale


@router.get("/jobs", responses=problems(401, 422, 503), summary="Jobs, newest first")
async def list_jobs(
    caller: Authenticated, deps: Needs, status: JobStatus | None = None, limit: Limit = 50, cursor: Cursor = None
) -> JobPage:
    """Return a page of the tenant's jobs."""
    jobs = await deps.ledger.jobs.page(tenant=caller.scope, status=status, after=job_cursor(cursor), limit=limit + 1)
    shown = jobs[:limit]
    more = encode(shown[-1].created_at, shown[-1].job_id) if len(jobs) > limit else None
    held = await deps.ledger.pauses.of_jobs([job.job_id for job in shown])
    return JobPage(jobs=[view_of(job, held.get(job.job_id, ())) for job in shown], next_cursor=more)


@router.get("/jobs/{job_id}/chunks", responses=problems(401, 404, 422, 503), summary="Chunks of a job")
async def list_chunks(
    *,
    job_id: JobId,
    caller: Authenticated,
    deps: Needs,
    status: ChunkStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ChunkPage:
    """Return a page of a job's chunks in their order, without their text."""
    await own(deps, caller, job_id)
    rows = await deps.ledger.jobs.chunks(job_id, status=status, after=chunk_cursor(cursor), limit=limit + 1)
    shown = rows[:limit]
    more = encode(shown[-1]["seq"], shown[-1]["chunk_id"]) if len(rows) > limit else None
    return ChunkPage(chunks=[ChunkView(**row) for row in shown], next_cursor=more)


@router.post("/jobs/{job_id}/cancel", responses=problems(401, 404, 422, 503), summary="Cancel a job")
async def cancel_job(job_id: JobId, caller: Authenticated, deps: Needs) -> JobView:
    """Cancel what has not ended. Again, or after the end, changes nothing; the answer says how the job stands."""
    await own(deps, caller, job_id)
    job = await deps.ledger.jobs.cancel(job_id)
    deps.dispatch.soon(job)
    return view_of(job)


@router.delete(
    "/jobs/{job_id}", status_code=204, responses=problems(401, 404, 409, 422, 503), summary="Forget an ended job"
)
async def delete_job(job_id: JobId, caller: Authenticated, deps: Needs) -> None:
    """Delete an ended job with its chunks and events; what it brought into the graph stays."""
    job = await own(deps, caller, job_id)
    if job.status not in TERMINAL_JOB or not await deps.ledger.jobs.delete(job_id):
        raise ProblemError(409, "The job has not ended; cancel it first.")
    try:
        await within(PATIENCE_SECONDS, deps.redis.delete(keys.job(job_id)))
    except (RedisError, OSError) as error:
        log.warning("view of a deleted job stays until it expires", extra={"job_id": job_id, "error": str(error)})


async def own(deps: Deps, caller: Caller, job_id: str) -> Job:
    """Return the caller's job. Raises NotFoundError."""
    _check_id(job_id)
    return await deps.ledger.jobs.get(job_id, caller.scope)


def _check_id(job_id: str) -> None:
    if not job_id.isprintable():  # PostgreSQL would refuse a NUL; no job of ours has such a name
        raise NotFoundError(f"no job {job_id!r}")


async def shown(deps: Deps, caller: Caller, job_id: str) -> JobView:
    """Return the caller's job with what holds it back. Raises NotFoundError."""
    job, held = await deps.ledger.jobs.held(job_id, caller.scope)
    return view_of(job, held)


def view_of(job: Job, held: Iterable[Pause] = ()) -> JobView:
    """Return a job as the API shows it. Pure."""
    return JobView(
        job_id=job.job_id,
        status=job.status,
        chunks_total=job.chunks_total,
        chunks_processed=job.processed,
        percent_complete=job.percent_complete if job.chunks_total else 0.0,
        created_at=job.created_at,
        started_at=job.started_at,
        completed_at=job.completed_at,
        duration_seconds=job.duration_seconds,
        job_type=job.job_type,
        source_type=job.source_type,
        workspace=job.workspace,
        counts=Counts(
            queued=job.queued,
            running=job.running,
            processed=job.processed,
            failed=job.failed,
            cancelled=job.cancelled,
        ),
        entities=job.entities,
        relations=job.relations,
        error=job.error_message,
        error_chunk_id=job.error_chunk_id,
        priority=job.priority,
        not_before=job.not_before,
        failure_policy=job.failure_policy,
        max_failed=job.max_failed,
        usage=Usage(
            model_calls=job.model_calls,
            prompt_tokens=job.prompt_tokens,
            completion_tokens=job.completion_tokens,
            cost=float(job.cost),
            budget=None if job.budget is None else float(job.budget),
        ),
        paused=[HeldBack(scope=p.scope, name=p.name, reason=p.reason) for p in held],
        metadata=dict(job.metadata),
        links=links_of(job.job_id),
    )


async def _stale(deps: Deps, caller: Caller, job_id: str) -> JobView | None:
    """Return what Redis remembers of a job of the caller's, None when it does not."""
    try:
        fields = await within(PATIENCE_SECONDS, deps.view.read(job_id))
    except (RedisError, OSError):
        return None
    if fields is None or (caller.scope is not None and fields.get("tenant") != caller.scope):
        return None
    try:
        return stale_view(job_id, fields)
    except (KeyError, ValueError):  # not written by us, or half of it
        log.warning("view of a job cannot be read", extra={"job_id": job_id})
        return None


def stale_view(job_id: str, fields: dict[str, str]) -> JobView:
    """Return a job as its fast view tells it. Pure."""
    counts = {name: int(fields.get(f"chunks_{name}", 0)) for name in Counts.model_fields}
    total = int(fields["chunks_total"])
    began, ended = _time(fields.get("started_at")), _time(fields.get("completed_at"))
    values: dict[str, Any] = {
        "job_id": job_id,
        "status": fields["status"],
        "chunks_total": total,
        "chunks_processed": counts["processed"],
        "percent_complete": float(fields["percent_complete"]),
        "created_at": _time(fields.get("created_at")),
        "started_at": began,
        "completed_at": ended,
        "duration_seconds": round((ended - began).total_seconds(), 3) if began and ended else None,
        "job_type": fields["job_type"],
        "source_type": "",
        "workspace": fields.get("workspace", ""),
        "counts": counts,
        "entities": int(fields.get("entities", 0)),
        "relations": int(fields.get("relations", 0)),
        "error": fields.get("error_message") or None,
        "error_chunk_id": None,
        "priority": fields.get("priority", "normal"),
        "not_before": _time(fields.get("not_before")),
        "failure_policy": fields.get("failure_policy", "strict"),
        "max_failed": int(fields.get("max_failed", 0)),
        "usage": {
            "model_calls": int(fields.get("model_calls", 0)),
            "prompt_tokens": int(fields.get("prompt_tokens", 0)),
            "completion_tokens": int(fields.get("completion_tokens", 0)),
            "cost": float(fields.get("cost", 0)),
            "budget": float(fields["budget"]) if fields.get("budget") else None,
        },
        "metadata": orjson.loads(fields.get("metadata") or "{}"),
        "stale": True,
        "links": links_of(job_id),
    }
    return JobView.model_validate(values)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
