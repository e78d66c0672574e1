"""POST /lightrag/ingest-async: a body becomes ledger rows in one transaction; everything else follows from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Header, Request, Response

from orchestrator.api import lines
from orchestrator.api.auth import Authenticated, Caller
from orchestrator.api.deps import WORKER_TYPE, Deps, Needs
from orchestrator.api.jobs import links_of
from orchestrator.api.models import Accepted, IngestRequest
from orchestrator.api.openapi import body, problems
from orchestrator.api.problems import ProblemError
from orchestrator.api.submission import Submission, parse
from orchestrator.ledger.jobs import NewJob
from orchestrator.settings import WorkerTypeSettings

LARGE_BODY = 256 * 1024
"""Bodies above are parsed in a thread: the loop has streams to serve."""

router = APIRouter(tags=["ingestion"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same key with the same body gives the same job; with another body it is a conflict.",
    ),
]


@router.post(
    "/lightrag/ingest-async",
    status_code=202,
    response_model=Accepted,
    responses={
        202: {"headers": {"Location": {"description": "The job.", "schema": {"type": "string"}}}},
        **problems(401, 403, 409, 413, 422, 503),
    },
    openapi_extra=body(IngestRequest, lines=True),
    summary="Submit chunks of text as one job",
)
async def ingest(
    request: Request, response: Response, caller: Authenticated, deps: Needs, idempotency_key: Key = None
) -> Accepted:
    """Write the job down and answer at once; `links.events` tells how it goes on."""
    worker = deps.types.get(WORKER_TYPE)
    if worker is None:
        raise ProblemError(503, f"No worker type {WORKER_TYPE} is configured on this host.")
    if idempotency_key is None or not await deps.ledger.jobs.knows_key(caller.tenant, idempotency_key):
        await _check_backlog(deps)  # a repeated request adds nothing to it
    async with _submitted(request, deps) as found:
        asked = found, caller, worker, idempotency_key
        # all of it is hashed for its key: the loop has streams to serve
        new = _new_job(*asked) if idempotency_key is None else await asyncio.to_thread(_new_job, *asked)
        job, is_new = await deps.ledger.jobs.create(new)
    if is_new:
        deps.backlog.took(job.chunks_total)
        deps.dispatch.soon(job)
    links = links_of(job.job_id)
    response.headers["Location"] = links.self
    return Accepted(job_id=job.job_id, status=job.status, links=links)


async def _check_backlog(deps: Deps) -> None:
    if excess := await deps.backlog.excess():
        raise ProblemError(
            503,
            f"{excess} chunks wait already; nothing more is taken until they are fewer.",
            headers={"Retry-After": str(deps.settings.backlog_retry_after_seconds)},
        )


@asynccontextmanager
async def _submitted(request: Request, deps: Deps) -> AsyncIterator[Submission]:
    """Give what the body asks for; it is good until the block ends. Raises a 422 problem."""
    limits = {"max_chunks": deps.settings.max_chunks, "max_chunk_bytes": deps.settings.max_chunk_bytes}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == lines.MEDIA_TYPE:
        async with lines.spooled(request) as file:
            yield await asyncio.to_thread(lines.read, file, **limits)
        return
    raw = await request.body()
    yield parse(raw, **limits) if len(raw) < LARGE_BODY else await asyncio.to_thread(parse, raw, **limits)


def _new_job(found: Submission, caller: Caller, worker: WorkerTypeSettings, key: str | None) -> NewJob:
    workspace = caller.workspace(found.workspace)
    return NewJob(
        job_id=str(uuid4()),
        tenant=caller.tenant,
        worker_type=worker.name,
        queue=worker.stream,
        workspace=workspace,
        job_type=worker.job_type,
        chunks=found.chunks,
        source_type=found.source_type,
        metadata=found.metadata,
        idempotency_key=key,
        request_hash=found.digest(workspace) if key else None,
        priority=found.wishes.priority,
        not_before=found.wishes.not_before,
        failure_policy=found.wishes.failure_policy,
        max_failed=found.wishes.max_failed,
        budget=found.wishes.budget,
    )
