"""GET and POST /doctor: what is wrong with the worker types of this host, and the mending of what is safe."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from fastapi import APIRouter
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from orchestrator.api.auth import Authenticated, Caller
from orchestrator.api.deps import Deps, Needs
from orchestrator.api.openapi import problems
from orchestrator.api.patience import within
from orchestrator.api.problems import ProblemError
from orchestrator.limits.view import limits_of
from orchestrator.settings import WorkerTypeSettings
from orchestrator.sources.redis_stream import RedisStreamSource
from orchestrator.why.doctor import Complaint, Finding, findings, look, mend, throttled

PATIENCE_SECONDS = 3.0

router = APIRouter(tags=["controls"])


class FindingView(BaseModel):
    """One thing that is wrong, or that an operator should know."""

    complaint: Complaint
    worker_type: str = Field(description="empty: it concerns all of them")
    text: str
    remedy: str = Field(description="a command that mends it, or that only waiting does")
    safe: bool = Field(description="POST /doctor mends it")


class Diagnosis(BaseModel):
    """What was found, and what was done about it."""

    well: bool
    findings: list[FindingView]
    done: list[str] = Field(description="empty unless asked to mend")


@router.get("/doctor", responses=problems(401, 403, 503), summary="What is wrong with the workers")
async def diagnose(caller: Authenticated, deps: Needs) -> Diagnosis:
    """Look at every worker type of this host's settings. For keys of every tenant."""
    _check_rights(caller)
    return _diagnosis(await _look(deps), [])


@router.post("/doctor", responses=problems(401, 403, 503), summary="Mend what is safe")
async def fix(caller: Authenticated, deps: Needs) -> Diagnosis:
    """Mend what cannot lose work or do it twice, and look again."""
    _check_rights(caller)
    found = await _look(deps)
    done: list[str] = []
    for kind in deps.types.values():
        acts = await mend(deps.ledger, kind, found)
        if acts:
            await deps.ledger.audit.write(caller.name, None, "doctor", f"type/{kind.name}", {"done": acts})
            deps.dispatch.look([kind.stream])
        done += acts
    return _diagnosis(await _look(deps), done)


async def _look(deps: Deps) -> list[Finding]:
    found: list[Finding] = []
    for kind in deps.types.values():
        found += findings(await look(deps.ledger, kind, _queue_of(deps, kind)))
    with suppress(RedisError, OSError, TimeoutError):  # a Redis that is away was found by its queues
        found += throttled(await within(PATIENCE_SECONDS, limits_of(deps.redis)))
    return list({(f.complaint, f.text): f for f in found}.values())  # a tenant's pause concerns every type, and is one


def _queue_of(deps: Deps, kind: WorkerTypeSettings) -> RedisStreamSource | None:
    if not kind.own_queue:
        return None
    return RedisStreamSource(deps.redis, stream=kind.stream, group=kind.group, lease_seconds=kind.lease_seconds)


def _diagnosis(found: Sequence[Finding], done: list[str]) -> Diagnosis:
    views = [
        FindingView(complaint=f.complaint, worker_type=f.worker_type, text=f.text, remedy=f.remedy, safe=f.safe)
        for f in found
    ]
    return Diagnosis(well=not views, findings=views, done=done)


def _check_rights(caller: Caller) -> None:
    if caller.scope is not None:
        raise ProblemError(403, "The doctor is for keys of every tenant; ask an operator.")
