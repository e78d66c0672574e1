"""The outbox: which jobs are not all on their stream yet. Written with the job, read by the relay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from orchestrator.ledger.database import Database
from orchestrator.ledger.statements import sql

PAGE = 1000
"""Chunks published in one transaction: what a crash in between publishes twice."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What an entry of ours says: which chunk; the text stays in the ledger."""

    job_id: str
    chunk_id: str
    workspace: str


Publish = Callable[[str, Sequence[Reference]], Awaitable[None]]
"""Put references on a queue by its name."""


class Outbox:
    """Jobs to be dispatched."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def relay(self, publish: Publish, job_id: str | None = None) -> int:
        """Publish one page of the oldest waiting job (or of `job_id`); return how many chunks were published or passed.

        The row is locked meanwhile, so two relays never publish one page; a crash after publishing publishes it again,
        which the guarded claim makes harmless.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(sql("outbox_lock"), job_id)
            if row is None:
                return 0
            page = await connection.fetch(sql("outbox_page"), row["job_id"], row["next_seq"], PAGE)
            queued = [Reference(row["job_id"], c["chunk_id"], c["workspace"]) for c in page if c["queued"]]
            if queued:
                await publish(row["queue"], queued)
            if len(page) < PAGE:
                await connection.execute(sql("outbox_done"), row["id"])
            else:
                await connection.execute(sql("outbox_advance"), row["id"], page[-1]["seq"] + 1)
        return max(len(page), 1)

    async def redispatch(self, worker_type: str, queue: str) -> int:
        """Put every active job of a queue into the outbox again, after Redis lost entries; return how many."""
        return await self._database.execute("redispatch", worker_type, queue)
