"""GET /audit: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from orchestrator.api.auth import Authenticated
from orchestrator.api.cursors import encode, letter_cursor
from orchestrator.api.deps import Needs
from orchestrator.api.jobs import Cursor, Limit
from orchestrator.api.openapi import problems

router = APIRouter(tags=["controls"])


class AuditView(BaseModel):
    """Something somebody did."""

    id: int
    at: datetime
    actor: str = Field(description="a key's name")
    tenant: str | None = Field(description="whom it concerns; null: everybody")
    action: str = Field(examples=["pause"])
    target: str = Field(examples=["tenant/acme"])
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """What was done, newest first."""

    entries: list[AuditView]
    next_cursor: str | None


@router.get("/audit", responses=problems(401, 422, 503), summary="Who did what, newest first")
async def list_audit(caller: Authenticated, deps: Needs, limit: Limit = 50, cursor: Cursor = None) -> AuditPage:
    """Return a page of what was done; a tenant sees what concerns it alone."""
    found = await deps.ledger.audit.page(caller.scope, letter_cursor(cursor), limit + 1)
    shown = found[:limit]
    more = encode(shown[-1].id, "") if len(found) > limit else None
    return AuditPage(
        entries=[AuditView.model_validate(entry, from_attributes=True) for entry in shown], next_cursor=more
    )
