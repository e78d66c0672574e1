"""Is it alive, is it ready, is it well (E-28, E-47)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from fastapi import APIRouter, Response
from redis.exceptions import RedisError

from orchestrator import __version__
from orchestrator.api.auth import Authenticated
from orchestrator.api.deps import Deps, Needs
from orchestrator.api.models import Health, HealthReport, Liveness, Readiness, TypeHealth
from orchestrator.api.openapi import problems
from orchestrator.api.patience import within
from orchestrator.api.problems import RETRY_AFTER_SECONDS, ProblemError
from orchestrator.errors import DependencyError
from orchestrator.ledger.workers import Totals, Worker

CHECK_SECONDS = 1.5
AWAY = (DependencyError, RedisError, OSError, TimeoutError)

router = APIRouter(tags=["health"])


@router.get("/health", responses=problems(), summary="Liveness")
async def health() -> Liveness:
    """Answer; nothing else is asked."""
    return Liveness()


@router.get("/ready", responses=problems(503), summary="Readiness")
async def ready(deps: Needs) -> Readiness:
    """Ask PostgreSQL and Redis, briefly."""
    checks = await _checks(deps)
    if away := [name for name, state in checks.items() if state != "up"]:
        detail = f"Does not answer: {', '.join(away)}."
        raise ProblemError(503, detail, headers={"Retry-After": RETRY_AFTER_SECONDS}, checks=checks)
    return Readiness(checks=checks)


@router.get(
    "/health/detailed",
    responses={503: {"model": HealthReport, "description": "PostgreSQL is away: the report says so"}, **problems(401)},
    summary="Workers, queues and rates",
)
async def detailed(response: Response, caller: Authenticated, deps: Needs) -> HealthReport:
    """Return what the ledger knows: `up`, `degraded` (Redis is away, a type has no worker) or `down`."""
    checks = await _checks(deps)
    types: dict[str, TypeHealth] = {}
    if checks["postgresql"] == "up":
        try:
            types = await within(CHECK_SECONDS * 2, _types(deps))
        except (DependencyError, TimeoutError):
            checks["postgresql"] = "down"
    errors = [f"{name} does not answer" for name, state in checks.items() if state != "up"]
    errors += [f"no worker of type {name}" for name, t in types.items() if not t.active_workers]
    status: Health = "down" if checks["postgresql"] != "up" else "degraded" if errors else "up"
    if status == "down":
        response.status_code = 503
    return HealthReport(
        status=status,
        active_workers=sum(t.active_workers for t in types.values()),
        queue_depth=sum(t.queue_depth for t in types.values()),
        processing_rate=round(sum(t.processing_rate for t in types.values()), 3),
        dead=sum(t.dead for t in types.values()),
        error="; ".join(errors) or None,
        checks=checks,
        version=__version__,
        workers=types,
    )


async def _checks(deps: Deps) -> dict[str, str]:
    states = await asyncio.gather(_answers(deps.ledger.database.value("ping")), _answers(deps.redis.ping()))
    return dict(zip(("postgresql", "redis"), states, strict=True))


async def _answers(question: Awaitable[object]) -> str:
    try:
        await within(CHECK_SECONDS, question)
    except AWAY:
        return "down"
    return "up"


async def _types(deps: Deps) -> dict[str, TypeHealth]:
    longest = max((t.lease_seconds for t in deps.types.values()), default=30.0)
    alive = await deps.ledger.workers.alive(longest)
    totals = await deps.ledger.workers.totals()
    names = sorted(deps.types.keys() | totals.keys() | {w.worker_type for w in alive})
    return {name: _type([w for w in alive if w.worker_type == name], totals.get(name, Totals())) for name in names}


def _type(workers: list[Worker], totals: Totals) -> TypeHealth:
    return TypeHealth(
        status="up" if workers else "degraded",
        active_workers=len(workers),
        busy=sum(w.busy for w in workers),
        queue_depth=totals.queued,
        running=totals.running,
        dead=totals.dead,
        processing_rate=round(sum(w.chunks_per_second for w in workers), 3),
    )
