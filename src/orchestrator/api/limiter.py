"""GET /limits: what each model endpoint bears now, and what waits for it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from orchestrator.api.auth import Authenticated
from orchestrator.api.deps import Needs
from orchestrator.api.openapi import problems
from orchestrator.api.patience import within
from orchestrator.api.problems import ProblemError
from orchestrator.errors import DependencyError
from orchestrator.limits.view import limits_of
from orchestrator.sources.redis_client import reachable

PATIENCE_SECONDS = 3.0

router = APIRouter(tags=["controls"])


class EndpointLimit(BaseModel):
    """A model endpoint that was called within the last hour, and its limiter."""

    kind: str = Field(examples=["llm"], description="llm or embedding")
    url: str
    model: str
    limit: int = Field(description="calls at once that it is given now, by all hosts together")
    ceiling: int = Field(description="calls at once that it is never given more of")
    in_use: int
    waiting: int = Field(description="calls that wait for a permit")
    throttled_until: datetime | None = Field(description="nobody calls it before: it said so")
    refused: int = Field(description="calls that it throttled, or did not answer in time, since it is known")
    requests_per_minute: int = Field(description="cap of all hosts together; 0: none")
    tokens_per_minute: int = Field(description="cap of all hosts together; 0: none")
    last_call: datetime


class LimitList(BaseModel):
    """Model endpoints in use."""

    endpoints: list[EndpointLimit]


@router.get("/limits", responses=problems(401, 403, 503), summary="Model endpoints and their limiters")
async def list_limits(caller: Authenticated, deps: Needs) -> LimitList:
    """Return the endpoints in use; they are shared by all tenants, so that a key of all tenants is needed."""
    if caller.scope is not None:
        raise ProblemError(403, "Model endpoints are shared by all tenants; this takes a key of all of them.")
    with reachable("read the limits"):
        try:
            found = await within(PATIENCE_SECONDS, limits_of(deps.redis))
        except TimeoutError as error:
            raise DependencyError("Redis does not answer in time") from error
    return LimitList(endpoints=[EndpointLimit.model_validate(view, from_attributes=True) for view in found])
