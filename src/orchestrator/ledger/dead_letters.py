"""The dead_letters table: what was buried, with its reason; never lost, until somebody retries or drops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg

from orchestrator.deliveries import Delivery
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.ledger.database import Database
from orchestrator.ledger.jobs import Job, job_of
from orchestrator.ledger.letters import Buried, DeadLetter, LetterStatus, Resolved, Selection, payload_of
from orchestrator.ledger.statements import sql

if TYPE_CHECKING:
    from orchestrator.ledger.database import Connection

MOST_AT_ONCE = 1000
"""Letters that one call resolves at most."""
PAYLOADS = 50
"""Entries put back at a time: each may hold a quarter of a megabyte."""
RETRY, DROP = "retry", "drop"

PutBack = Callable[[str, Sequence[Mapping[str, Any]]], Awaitable[None]]
"""Put entries, by what was kept of them, back on a queue by its name."""
Revive = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Put messages back at their own queue, by their receipts; those that are gone there come back."""
GONE = "; not put back: its queue has no such failed message, or it was put back before"


class DeadLetters:
    """Dead letters in the ledger. Those of chunks are written by the settle statement itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, worker_type: str, queue: str, letters: Sequence[tuple[Delivery, str]]) -> None:
        """Write entries that are no chunk of ours, with their reasons; an entry buried twice is written once."""
        await self._database.execute(
            "bury_entry",
            worker_type,
            queue,
            [d.receipt for d, _ in letters],
            [reason for _, reason in letters],
            [payload_of(d) for d, _ in letters],
        )

    async def page(
        self,
        *,
        status: LetterStatus | None = None,
        worker_type: str | None = None,
        job_id: str | None = None,
        tenant: str | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """Return letters, newest first, after the id `after`; a tenant sees those of its jobs alone."""
        rows = await self._database.fetch("dead_letters_page", status, worker_type, job_id, tenant, after, limit)
        return [_letter_of(row) for row in rows]

    async def get(self, letter_id: int, tenant: str | None = None) -> DeadLetter:
        """Return a letter and what was kept of it. Raises NotFoundError; another tenant's is as unknown as none."""
        row = await self._database.row("dead_letter", letter_id, tenant)
        if row is None:
            raise NotFoundError(f"no dead letter {letter_id}")
        return _letter_of(row)

    async def drop(self, selection: Selection, *, actor: str, limit: int = MOST_AT_ONCE) -> Resolved:
        """Give up the oldest `limit` dead letters of a selection: they are kept, and count as dead no more."""
        async with self._database.transaction() as connection:
            chosen, more = await _choose(connection, selection, limit)
            await _resolve(connection, actor, DROP, chosen, {})
        return Resolved(letters=chosen, more=more)

    async def retry(
        self,
        selection: Selection,
        *,
        actor: str,
        put_back: PutBack,
        elsewhere: Sequence[str] = (),
        limit: int = MOST_AT_ONCE,
    ) -> Resolved:
        """Try the oldest `limit` dead letters of a selection again, in one transaction.

        Those of the worker types in `elsewhere`, whose queues are not ours, are left to `redrive`.

        Chunks go into a new job for each job they come from; entries go back on their queue just before the commit:
        when that fails they may be there twice, which the guarded claim makes harmless. Raises DependencyError, and
        then nothing has changed; ConflictError when a job was deleted meanwhile.
        """
        async with self._database.transaction() as connection:
            chosen, more = await _choose(connection, selection, limit, elsewhere)
            new_ids = {job_id: str(uuid4()) for job_id in sorted({b.job_id for b in chosen if b.job_id is not None})}
            jobs = await _new_jobs(connection, chosen, new_ids)
            await _resolve(connection, actor, RETRY, chosen, new_ids)
            asked = await connection.execute(
                sql("dead_letters_ask"), *_chosen_by(selection), list(elsewhere), limit, actor
            )
            await _put_back(connection, [b for b in chosen if b.job_id is None], put_back)
        stuck = await self._database.value("dead_letters_stuck", *_chosen_by(selection), list(elsewhere))
        count = int(asked.rpartition(" ")[2])
        return Resolved(
            letters=chosen,
            jobs=jobs,
            more=more or (count == limit and selection.ids is None),
            asked=count,
            stuck=int(stuck),
        )

    async def redrive(self, worker_type: str, queue: str, revive: Revive, limit: int) -> int:
        """Let a queue that is not ours put back what is asked for, `limit` letters at most; return how many were.

        What the queue does not find among its failed messages is dead again. Any worker may call this; one of them at a
        time does it. One that dies or fails between the queue and the commit leaves its letters asked for: those
        that it had put back are then not found. Raises DependencyError.
        """
        async with self._database.transaction() as connection:
            rows = await connection.fetch(sql("dead_letters_asked"), worker_type, queue, limit)
            if rows:
                if not await connection.fetchval(sql("lock_redrive"), worker_type, queue):
                    return 0
                missing = set(await revive(list(dict.fromkeys(row["receipt"] for row in rows))))
                gone = [row["id"] for row in rows if row["receipt"] in missing]
                await connection.execute(sql("dead_letters_redriven"), [row["id"] for row in rows], gone, GONE)
        return len(rows)


async def _choose(
    connection: Connection, selection: Selection, limit: int, elsewhere: Sequence[str] | None = None
) -> tuple[list[Buried], bool]:
    """Lock the letters; return them, and whether there are more. With `elsewhere` only those that can be retried."""
    chosen_by = (*_chosen_by(selection), elsewhere is not None, limit + 1, list(elsewhere or ()))
    rows = await connection.fetch(sql("dead_letters_choose"), *chosen_by)
    return [Buried(**dict(row)) for row in rows[:limit]], len(rows) > limit


def _chosen_by(selection: Selection) -> tuple[Any, ...]:
    ids = None if selection.ids is None else list(selection.ids)
    return ids, selection.job_id, selection.worker_type, selection.tenant


async def _new_jobs(connection: Connection, chosen: Sequence[Buried], new_ids: Mapping[str, str]) -> list[Job]:
    """Make a job for the chunks of each old one, and put it into the outbox."""
    if not new_ids:
        return []
    chunks = sorted({(b.job_id, b.chunk_id) for b in chosen if b.job_id is not None})
    sizes = [sum(job_id == old for job_id, _ in chunks) for old in new_ids]
    rows = await connection.fetch(sql("retry_jobs"), list(new_ids), list(new_ids.values()), sizes)
    columns = [j for j, _ in chunks], [new_ids[j] for j, _ in chunks if j is not None], [c for _, c in chunks]
    written = await connection.execute(sql("retry_chunks"), *columns)
    if int(written.rpartition(" ")[2]) != len(chunks):
        raise ConflictError("a job was deleted while its dead letters were retried; ask for those that are left")
    await connection.executemany(sql("enqueue_job"), [(row["job_id"], row["queue"]) for row in rows])
    return [job_of(row) for row in rows]


async def _put_back(connection: Connection, entries: Sequence[Buried], put_back: PutBack) -> None:
    for queue in sorted({b.queue for b in entries}):
        ids = [b.id for b in entries if b.queue == queue]
        for start in range(0, len(ids), PAYLOADS):
            rows = await connection.fetch(sql("dead_letters_payloads"), ids[start : start + PAYLOADS])
            await put_back(queue, [row["payload"] for row in rows])


async def _resolve(
    connection: Connection, actor: str, action: str, chosen: Sequence[Buried], new_ids: Mapping[str, str]
) -> None:
    """Mark the letters and write the audit, a row a letter."""
    ids, jobs = [b.id for b in chosen], [new_ids.get(b.job_id or "") for b in chosen]
    await connection.execute(sql("dead_letters_resolve"), ids, jobs, actor, action)


def _letter_of(row: asyncpg.Record) -> DeadLetter:
    return DeadLetter(**{**dict(row), "status": LetterStatus(row["status"])})
