"""What jobs may cost, and what they and their tenants have used. A job's own counters are in its row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantUsage:
    """What a tenant's jobs have used of the models, failed runs included."""

    tenant: str
    jobs: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: Decimal


class Budgets:
    """Budgets and usage in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, job_id: str, budget: Decimal | None, *, tenant: str | None, actor: str) -> bool:
        """Set a job's budget, None for no limit; the job goes on, or pauses, accordingly. Return whether it goes on.

        Raises NotFoundError, also for a job of another tenant than `tenant`, and ConflictError when it has ended.
        """
        came = await self._database.value("budget_set", job_id, tenant, budget, actor)
        if came == "missing":
            raise NotFoundError(f"no job {job_id!r}")
        if came == "ended":
            raise ConflictError("the job has ended; there is nothing left to spend")
        return bool(came == "resumed")

    async def usage(self, *, tenant: str | None, since: datetime | None) -> list[TenantUsage]:
        """Return what the jobs submitted since then have used, by tenant; a job that was deleted is not among them."""
        return [TenantUsage(**row) for row in await self._database.fetch("usage_of_tenants", tenant, since)]
