"""The pauses table: which worker types, queues, tenants and jobs are held back, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from orchestrator.jobs import Scope
from orchestrator.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Something is held back."""

    scope: Scope
    name: str
    reason: str
    by: str  # a key's name, or what in the system did it
    at: datetime


class Pauses:
    """Pauses in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, scope: Scope, name: str, reason: str, by: str, *, tenant: str | None = None) -> Pause | None:
        """Hold something back; again, with another reason, changes the reason. None for a job that has ended.

        What was done is in the audit, in the same statement; `tenant` is whom it concerns, None for all.
        """
        row = await self._database.row("pause_put", scope.value, name, reason, by, tenant)
        return pause_of(row) if row is not None else None

    async def remove(self, scope: Scope, name: str, by: str, *, tenant: str | None = None) -> bool:
        """Let it go on, with its audit; return whether it was held back."""
        return bool(await self._database.execute("pause_remove", scope.value, name, by, tenant))

    async def all(self) -> list[Pause]:
        """Return everything that is held back, the latest first."""
        return [pause_of(row) for row in await self._database.fetch("pauses")]

    async def of_tenant(self, tenant: str) -> list[Pause]:
        """Return what holds a tenant's work back: itself, its jobs, and what holds everybody's back."""
        return [pause_of(row) for row in await self._database.fetch("pauses_of_tenant", tenant)]

    async def of_jobs(self, job_ids: Sequence[str]) -> Mapping[str, list[Pause]]:
        """Return what holds each of these jobs back; a job that nothing does, or that has ended, is not there."""
        found: dict[str, list[Pause]] = {}
        for row in await self._database.fetch("pauses_of_jobs", list(job_ids)):
            found.setdefault(row["job_id"], []).append(pause_of(row))
        return found

    async def holds(self, worker_type: str, queue: str) -> bool:
        """Return whether the type or the queue is held back: then its workers read nothing."""
        return bool(await self._database.value("pauses_hold", worker_type, queue))


def pause_of(row: asyncpg.Record) -> Pause:
    """Return the pause in a row of table pauses."""
    return Pause(scope=Scope(row["scope"]), name=row["name"], reason=row["reason"], by=row["by"], at=row["at"])
