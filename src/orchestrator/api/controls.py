"""Pause and resume: a worker type, a queue, a tenant or a job. Nothing of it starts; what runs goes on to its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Path, Request

from orchestrator.api.auth import Authenticated, Caller
from orchestrator.api.bodies import read
from orchestrator.api.deps import Deps, Needs
from orchestrator.api.jobs import JobId, own, shown
from orchestrator.api.models import ID_LENGTH, JobView, PauseList, PauseRequest, PauseView
from orchestrator.api.openapi import body, problems
from orchestrator.api.problems import ProblemError
from orchestrator.errors import NotFoundError
from orchestrator.jobs import Scope
from orchestrator.ledger.pauses import Pause

router = APIRouter(tags=["controls"])
Name = Annotated[str, Path(min_length=1, max_length=ID_LENGTH, description="of the type, queue, tenant or job")]


@router.get("/pauses", responses=problems(401, 503), summary="What is held back")
async def list_pauses(caller: Authenticated, deps: Needs) -> PauseList:
    """Return what is held back; a tenant sees what holds its own work back."""
    pauses = deps.ledger.pauses
    found = await (pauses.all() if caller.scope is None else pauses.of_tenant(caller.scope))
    return PauseList(pauses=[_view(pause) for pause in found])


@router.put(
    "/pauses/{scope}/{name:path}",
    responses=problems(401, 403, 404, 409, 413, 422, 503),
    openapi_extra=body(PauseRequest),
    summary="Hold back",
)
async def put_pause(request: Request, scope: Scope, name: Name, caller: Authenticated, deps: Needs) -> PauseView:
    """Hold a type, a queue, a tenant or a job back. Again changes the reason."""
    reason = await _reason(request)
    _check_known(deps, scope, name)
    return _view(await _pause(deps, caller, scope, name, reason))


@router.delete(
    "/pauses/{scope}/{name:path}",
    status_code=204,
    responses=problems(401, 403, 404, 422, 503),
    summary="Resume",
)
async def delete_pause(scope: Scope, name: Name, caller: Authenticated, deps: Needs) -> None:
    """Let it go on, within a second."""
    if not await _resume(deps, caller, scope, name):
        raise ProblemError(404, f"{scope} {name!r} is not held back.")


@router.post(
    "/jobs/{job_id}/pause",
    responses=problems(401, 404, 409, 413, 422, 503),
    openapi_extra=body(PauseRequest, required=False),
    summary="Hold a job back",
)
async def pause_job(request: Request, job_id: JobId, caller: Authenticated, deps: Needs) -> JobView:
    """Hold a job back: chunks that run go on to their end, none starts. The answer says how the job stands."""
    await _pause(deps, caller, Scope.JOB, job_id, await _reason(request))
    return await shown(deps, caller, job_id)


@router.post("/jobs/{job_id}/resume", responses=problems(401, 404, 422, 503), summary="Let a job go on")
async def resume_job(job_id: JobId, caller: Authenticated, deps: Needs) -> JobView:
    """Let a job go on, within a second, unless more than its own pause holds it back. Again changes nothing."""
    await _resume(deps, caller, Scope.JOB, job_id)
    return await shown(deps, caller, job_id)


async def _reason(request: Request) -> str:
    return (await read(request, PauseRequest, may_be_empty=True)).reason


async def _pause(deps: Deps, caller: Caller, scope: Scope, name: str, reason: str) -> Pause:
    tenant = await _owner(deps, caller, scope, name)
    pause = await deps.ledger.pauses.put(scope, name, reason, caller.name, tenant=tenant)
    if pause is None:
        raise ProblemError(409, "The job has ended; there is nothing to hold back.")
    return pause


async def _resume(deps: Deps, caller: Caller, scope: Scope, name: str) -> bool:
    tenant = await _owner(deps, caller, scope, name)
    if not await deps.ledger.pauses.remove(scope, name, caller.name, tenant=tenant):
        return False
    deps.dispatch.look(kind.stream for kind in deps.types.values())
    return True


async def _owner(deps: Deps, caller: Caller, scope: Scope, name: str) -> str | None:
    """Return the tenant whom it concerns, None for everybody. Raises a 403 problem when it is not the caller's to say.

    Raises NotFoundError for a job of another tenant, as for none, and for a name that nothing can have.
    """
    if not name.isprintable():  # PostgreSQL would refuse a NUL; nothing of ours has such a name
        raise NotFoundError(f"no {scope} {name!r}")
    if scope is Scope.JOB:
        return (await own(deps, caller, name)).tenant
    if scope is Scope.TENANT and caller.scope in {None, name}:
        return name
    if caller.scope is not None:
        raise ProblemError(403, "This key may hold back its own tenant and its tenant's jobs, and let them go on.")
    return None


def _check_known(deps: Deps, scope: Scope, name: str) -> None:
    """A pause of a type or queue that is none would hold nothing back, and nobody would see why."""
    known: dict[Scope, Iterable[str]] = {Scope.TYPE: deps.types, Scope.QUEUE: {t.stream for t in deps.types.values()}}
    if scope in known and name not in known[scope]:
        raise ProblemError(404, f"There is no {scope} {name!r}; known: {', '.join(sorted(known[scope]))}.")


def _view(pause: Pause) -> PauseView:
    return PauseView(scope=pause.scope, name=pause.name, reason=pause.reason, by=pause.by, at=pause.at)
