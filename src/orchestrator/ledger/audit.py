"""The audit table: who did what to jobs, letters and queues. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from orchestrator.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Something somebody did."""

    id: int
    at: datetime
    actor: str
    tenant: str | None
    action: str
    target: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class Audit:
    """Who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(
        self, actor: str, tenant: str | None, action: str, target: str, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Write that `actor` (a key's name) did `action` to `target`; `tenant` is whom it concerns, None for all."""
        await self._database.execute("audit_write", actor, tenant, action, target, dict(detail or {}))

    async def page(self, tenant: str | None, after: int | None, limit: int) -> Sequence[AuditEntry]:
        """Return entries, newest first, older than the id `after`; a NULL tenant sees all."""
        rows = await self._database.fetch("audit_page", tenant, after, limit)
        return [AuditEntry(**dict(row)) for row in rows]
