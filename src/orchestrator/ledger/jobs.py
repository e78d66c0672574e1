"""The jobs table: create, read, cancel, delete. Counters and states change by the chunks' trigger alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import asyncpg

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.jobs import FailurePolicy, JobStatus, Priority, percent_complete
from orchestrator.ledger.database import Database
from orchestrator.ledger.pauses import Pause, pause_of
from orchestrator.ledger.statements import sql

CHUNK_COLUMNS = ("job_id", "chunk_id", "seq", "content", "source_uri", "metadata")
FEW = 100
"""Chunks up to which a job is written by one statement in one round trip, instead of six."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChunk:
    """A chunk as it is submitted."""

    chunk_id: str
    content: str
    source_uri: str = ""
    metadata: Mapping[str, Any] | None = None


class NewChunks(Sized, Iterable[NewChunk], Protocol):
    """Chunks that are counted and can be gone through more than once; not all of them need be in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it is submitted, with all its chunks."""

    job_id: str
    tenant: str
    worker_type: str
    queue: str
    workspace: str
    job_type: str
    chunks: NewChunks
    source_type: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    request_hash: str | None = None
    priority: Priority = Priority.NORMAL
    not_before: datetime | None = None  # a delayed job waits until then
    failure_policy: FailurePolicy = FailurePolicy.STRICT
    max_failed: int = 0  # of the policy `threshold`
    budget: Decimal | None = None  # what its model calls may cost, in the currency of the price table


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of the ledger. `queued + running + processed + failed + cancelled = chunks_total`, always."""

    job_id: str
    tenant: str
    worker_type: str
    queue: str
    workspace: str
    job_type: str
    source_type: str
    status: JobStatus
    chunks_total: int
    declared: bool  # whether its producer said how many chunks there will be
    queued: int
    running: int
    processed: int
    failed: int
    cancelled: int
    entities: int
    relations: int
    version: int
    metadata: Mapping[str, Any]
    error_message: str | None
    error_chunk_id: str | None
    request_hash: str | None
    priority: Priority
    not_before: datetime | None
    failure_policy: FailurePolicy
    max_failed: int
    budget: Decimal | None
    cost: Decimal
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    changed_at: datetime

    @property
    def percent_complete(self) -> float:
        """Return the share of processed chunks, rounded down to two decimals."""
        return percent_complete(self.processed, self.chunks_total, declared=self.declared)

    @property
    def duration_seconds(self) -> float | None:
        """Return how long the work took so far, None before it started (X-24)."""
        if self.started_at is None:
            return None
        return round(((self.completed_at or self.changed_at) - self.started_at).total_seconds(), 3)


_FIELDS = tuple(Job.__dataclass_fields__)


def job_of(row: asyncpg.Record) -> Job:
    """Return the job in a row of table jobs."""
    states = {
        "status": JobStatus(row["status"]),
        "priority": Priority(row["priority"]),
        "failure_policy": FailurePolicy(row["failure_policy"]),
    }
    return Job(**{**{name: row[name] for name in _FIELDS}, **states})


class Jobs:
    """Jobs in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, new: NewJob) -> tuple[Job, bool]:
        """Write a job, its chunks and its outbox row in one transaction; return it and whether it is new.

        The same idempotency key with the same request returns the first job. Raises ConflictError when the key came
        with another request, or the job id exists.
        """
        few = len(new.chunks) <= FEW
        try:
            row = await (self._database.row("create_job", *_values(new, new.chunks)) if few else self._copy(new))
        except asyncpg.UniqueViolationError as error:
            raise ConflictError(f"job {new.job_id} exists, or two of its chunks have one id") from error
        return (job_of(row), True) if row is not None else (await self._again(new), False)

    async def _copy(self, new: NewJob) -> asyncpg.Record | None:
        """Write a job of many chunks: a stream of them, in constant memory."""
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(sql("create_job"), *_values(new, ()))
            if row is not None:
                records = (
                    (new.job_id, c.chunk_id, i, c.content, c.source_uri, c.metadata) for i, c in enumerate(new.chunks)
                )
                await connection.copy_records_to_table("chunks", records=records, columns=CHUNK_COLUMNS)
            return row

    async def _again(self, new: NewJob) -> Job:
        row = await self._database.row("job_by_idempotency_key", new.tenant, new.idempotency_key)
        if row is None:  # deleted in between: the caller may try again
            raise ConflictError("the job of this idempotency key was just deleted; send the request again")
        if row["request_hash"] != new.request_hash:
            raise ConflictError("this idempotency key came with another request before; use a new key")
        return job_of(row)

    async def knows_key(self, tenant: str, idempotency_key: str) -> bool:
        """Return whether a job came with this key."""
        return await self._database.row("job_by_idempotency_key", tenant, idempotency_key) is not None

    async def get(self, job_id: str, tenant: str | None = None) -> Job:
        """Return a job. Raises NotFoundError when there is none, or it is another tenant's."""
        row = await self._database.row("job", job_id, tenant)
        if row is None:
            raise NotFoundError(f"no job {job_id!r}")
        return job_of(row)

    async def held(self, job_id: str, tenant: str | None = None) -> tuple[Job, list[Pause]]:
        """Return a job as `get` does, and what holds it back, in one round trip."""
        rows = await self._database.fetch("job_held", job_id, tenant)
        if not rows:
            raise NotFoundError(f"no job {job_id!r}")
        return job_of(rows[0]), [pause_of(row) for row in rows if row["scope"] is not None]

    async def many(self, job_ids: Sequence[str]) -> list[Job]:
        """Return those of the jobs that exist."""
        return [job_of(row) for row in await self._database.fetch("jobs_by_id", list(job_ids))]

    async def views_due(self, period_seconds: int) -> list[Job]:
        """Return the jobs changed within the last two minutes, and of the open ones each once a period; 5,000 each."""
        return [job_of(row) for row in await self._database.fetch("views_due", period_seconds)]

    async def page(
        self, *, tenant: str | None, status: str | None, after: tuple[datetime, str] | None, limit: int
    ) -> list[Job]:
        """Return jobs, newest first, after the cursor (created_at, job_id)."""
        created, job_id = after or (None, None)
        return [job_of(row) for row in await self._database.fetch("jobs_page", tenant, status, created, job_id, limit)]

    async def chunks(
        self, job_id: str, *, status: str | None, after: tuple[int, str] | None, limit: int
    ) -> list[dict[str, Any]]:
        """Return chunks of a job without their text, in order, after the cursor (seq, chunk_id)."""
        seq, chunk_id = after or (-1, "")
        return [dict(row) for row in await self._database.fetch("chunks_page", job_id, status, seq, chunk_id, limit)]

    async def cancel(self, job_id: str) -> Job:
        """Cancel what has not ended; a job that has ended stays as it is."""
        await self._database.execute("cancel_job", job_id)
        return await self.get(job_id)

    async def delete(self, job_id: str) -> bool:
        """Forget an ended job with its chunks, events and dead letters; False when it has not ended."""
        await self._database.execute("delete_job", job_id)
        return not await self._database.fetch("jobs_by_id", [job_id])

    async def close_quiet(self, quiet_seconds: float) -> int:
        """End jobs of external producers that declared no total and have been quiet; return how many."""
        return int(await self._database.value("close_quiet_jobs", quiet_seconds))


def _values(new: NewJob, chunks: Iterable[NewChunk]) -> tuple[Any, ...]:
    columns = [(c.chunk_id, c.content, c.source_uri, c.metadata) for c in chunks]
    return (
        new.job_id, new.tenant, new.worker_type, new.queue, new.workspace, new.job_type, new.source_type,
        len(new.chunks), new.metadata, new.idempotency_key, new.request_hash, new.priority.value, new.not_before,
        new.failure_policy.value, new.max_failed, new.budget,
        *(zip(*columns, strict=True) if columns else ((), (), (), ())),
    )  # fmt: skip
