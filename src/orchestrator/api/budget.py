"""PATCH /jobs/{id}: what a job may cost. GET /usage: what tenants have used."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from orchestrator.api.auth import Authenticated
from orchestrator.api.bodies import read
from orchestrator.api.deps import Needs
from orchestrator.api.jobs import JobId, own, view_of
from orchestrator.api.models import ID_LENGTH, JobView
from orchestrator.api.openapi import body, problems
from orchestrator.api.problems import ProblemError
from orchestrator.api.spending import BudgetRequest, UsageOfTenant, UsageReport
from orchestrator.ledger.budgets import Budgets

router = APIRouter(tags=["jobs"])
Since = Annotated[AwareDatetime | None, Query(description="only jobs submitted since then: 2026-01-31T00:00:00Z")]
Tenant = Annotated[str | None, Query(max_length=ID_LENGTH)]


@router.patch(
    "/jobs/{job_id}",
    responses=problems(401, 404, 409, 413, 422, 503),
    openapi_extra=body(BudgetRequest),
    summary="Raise or lower a job's budget",
)
async def set_budget(request: Request, job_id: JobId, caller: Authenticated, deps: Needs) -> JobView:
    """Set the budget. A job that was paused because it was spent goes on when there is some left, within a second."""
    asked = await read(request, BudgetRequest, may_be_empty=True)
    await own(deps, caller, job_id)
    amount = None if asked.budget is None else Decimal(str(asked.budget))
    await Budgets(deps.ledger.database).set(job_id, amount, tenant=caller.scope, actor=caller.name)
    job, held = await deps.ledger.jobs.held(job_id, caller.scope)
    deps.dispatch.soon(job)
    return view_of(job, held)


@router.get("/usage", responses=problems(401, 403, 422, 503), summary="Calls, tokens and cost by tenant")
async def get_usage(caller: Authenticated, deps: Needs, tenant: Tenant = None, since: Since = None) -> UsageReport:
    """Return what the jobs that are still known have used; a tenant sees its own."""
    if caller.scope is not None and tenant not in {None, caller.scope}:
        raise ProblemError(403, "This key may see the usage of its own tenant.")
    which = caller.scope or tenant
    if which is not None and not which.isprintable():  # PostgreSQL would refuse a NUL
        return UsageReport(since=since, tenants=[])
    found = await Budgets(deps.ledger.database).usage(tenant=which, since=since)
    rows = [UsageOfTenant.model_validate(row, from_attributes=True) for row in found]
    return UsageReport(since=since, tenants=rows)
