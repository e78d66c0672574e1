"""What the API takes and gives about cost, as OpenAPI documents it."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from orchestrator.api.wishes import LARGEST_BUDGET


class BudgetRequest(BaseModel):
    """What a job's model calls may cost altogether; null: as much as they will."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"budget": 2.5}})
    budget: float | None = Field(ge=0, le=LARGEST_BUDGET, allow_inf_nan=False)


class UsageOfTenant(BaseModel):
    """What a tenant's jobs have used of the models, failed runs included."""

    tenant: str
    jobs: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float = Field(description="by the price table of the settings, in its currency")


class UsageReport(BaseModel):
    """Usage by tenant."""

    since: AwareDatetime | None
    tenants: list[UsageOfTenant]
