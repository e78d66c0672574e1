"""The outbox: which jobs are not all on their stream yet. Written with the job, emptied a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from orchestrator.jobs import Priority
from orchestrator.keys import lock_id
from orchestrator.ledger.database import Database
from orchestrator.ledger.statements import SEPARATOR, sql

if TYPE_CHECKING:
    from orchestrator.ledger.database import Connection

PAGE = 2000
"""Chunks published in one transaction: what a crash in between publishes twice."""


class References(NamedTuple):
    """What entries of ours say: which chunks, of one job; the texts stay in the ledger."""

    job_id: str
    workspace: str
    chunk_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that has chunks to be dispatched, and may."""

    priority: Priority
    tenant: str
    left: int  # chunks at most


class Turn(NamedTuple):
    """How far the round of a band has come."""

    credit: int  # chunks it may still send before the others get their share
    tenant: str  # whose turn was last


class Run(NamedTuple):
    """The next so many chunks of a waiting job."""

    job: int  # its index among those that wait
    chunks: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes to the stream, in its order, and how far the rounds of the bands have come then."""

    runs: Sequence[Run]
    turns: Mapping[Priority, Turn]


@dataclass(frozen=True, slots=True)
class Page:
    """What one transaction dispatched."""

    ours: bool = True  # False: another one is dispatching this queue
    published: int = 0
    more: bool = False  # there is more to dispatch


Publish = Callable[[str, Sequence[References]], Awaitable[None]]
"""Put references on a queue by its name, in their order."""
Room = Callable[[], Awaitable[int]]
"""Say how many entries the queue has room for: asked when nobody else can fill it."""
Decide = Callable[[Sequence[Waiting], Mapping[Priority, Turn], int], Plan]
"""Share so much room among the waiting jobs."""


@dataclass(slots=True)
class _Found:
    """The chunks of one job that go out now."""

    job: asyncpg.Record
    next_seq: int
    done: bool  # nothing of it is left
    chunk_ids: list[str]
    taken: int = 0

    def next(self, count: int) -> References:
        """Return the next `count` chunks, or as many as there are."""
        begin, self.taken = self.taken, self.taken + count
        return References(self.job["job_id"], self.job["workspace"], self.chunk_ids[begin : self.taken])


class Outbox:
    """Jobs to be dispatched."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queues(self) -> list[str]:
        """Return the queues that have something to be dispatched, now or later."""
        return [row["queue"] for row in await self._database.fetch("outbox_queues")]

    async def dispatch(self, queue: str, room: Room, decide: Decide, publish: Publish, *, wait: bool) -> Page:
        """Publish as many chunks as there is room for, and at most a page of them, in one transaction.

        One at a time dispatches a queue; `wait` says whether to wait for another one to finish, or to leave it to him.
        A crash after publishing publishes the page again, which the guarded claim makes harmless.
        """
        async with self._database.transaction() as connection:
            lock = "outbox_lock" if wait else "outbox_try_lock"
            if await connection.fetchval(sql(lock), _lock_of(queue)) is False:
                return Page(ours=False)
            waiting = await connection.fetch(sql("outbox_waiting"), queue, PAGE)
            most = min(PAGE, await room()) if waiting else 0
            if most <= 0:
                return Page(more=bool(waiting))
            plan = decide([_waiting_of(row) for row in waiting], _turns_of(waiting), most)
            found = await _chunks_of(connection, waiting, plan)
            references = [found[run.job].next(run.chunks) for run in plan.runs]
            references += [
                job.next(len(job.chunk_ids)) for job in found.values()
            ]  # those of one seq are not torn apart
            if references := [r for r in references if r.chunk_ids]:
                await publish(queue, references)
            await _advance(connection, queue, list(found.values()), plan.turns)
            all_done = len(found) == len(waiting) and all(job.done for job in found.values())
            published = sum(len(r.chunk_ids) for r in references)
            return Page(published=published, more=not all_done or any(row["full"] for row in waiting))

    async def redispatch(self, worker_type: str, queue: str) -> int:
        """Put every active job of a queue into the outbox from its start, after Redis lost entries; return how many."""
        async with self._database.transaction() as connection:
            await connection.fetchval(sql("outbox_lock"), _lock_of(queue))  # a page under way must not undo it
            tag = await connection.execute(sql("redispatch"), worker_type, queue)
        return int(tag.rpartition(" ")[2])

    async def put_back(self, queue: str, chunks: Sequence[tuple[str, str]]) -> None:
        """Dispatch these chunks (job_id, chunk_id) again some day: their entries are about to leave the stream."""
        async with self._database.transaction() as connection:
            await connection.fetchval(sql("outbox_lock"), _lock_of(queue))  # a page under way must not undo it
            job_ids, chunk_ids = [j for j, _ in chunks], [c for _, c in chunks]
            await connection.execute(sql("outbox_put_back"), job_ids, chunk_ids)


def _lock_of(queue: str) -> int:
    return lock_id(f"dispatch:{queue}")


def _waiting_of(row: asyncpg.Record) -> Waiting:
    return Waiting(Priority(row["priority"]), row["tenant"], row["left"])


def _turns_of(rows: Sequence[asyncpg.Record]) -> dict[Priority, Turn]:
    known = {row["priority"]: row for row in rows if row["credit"] is not None}
    return {Priority(name): Turn(row["credit"], row["last_tenant"]) for name, row in known.items()}


async def _chunks_of(connection: Connection, waiting: Sequence[asyncpg.Record], plan: Plan) -> dict[int, _Found]:
    """Return the planned jobs' next queued chunks, by the jobs' indexes, in one round trip."""
    counts: dict[int, int] = {}
    for index, count in plan.runs:
        counts[index] = counts.get(index, 0) + count
    rows = await connection.fetch(
        sql("outbox_page"),
        list(counts),
        [waiting[i]["job_id"] for i in counts],
        [waiting[i]["next_seq"] for i in counts],
        list(counts.values()),
    )
    return {
        row["n"]: _Found(
            waiting[row["n"]],
            row["next_seq"],
            row["done"],
            row["chunk_ids"].split(SEPARATOR) if row["chunk_ids"] else [],
        )
        for row in rows
    }


async def _advance(connection: Connection, queue: str, found: Sequence[_Found], turns: Mapping[Priority, Turn]) -> None:
    await connection.execute(
        sql("outbox_advance"),
        [job.job["id"] for job in found],
        [job.next_seq for job in found],
        [len(job.chunk_ids) for job in found],
        [job.done for job in found],
        queue,
        [priority.value for priority in turns],
        [turn.credit for turn in turns.values()],
        [turn.tenant for turn in turns.values()],
    )
