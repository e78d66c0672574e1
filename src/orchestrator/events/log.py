"""The event log: what happened, in the order of `seq`, which is also the id a client of the stream resumes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.keys import lock_id
from orchestrator.ledger.database import Database

PAGE = 5000
"""Events that go in one transaction: it holds its locks for moments only."""
LOCK = lock_id("events:trim")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `tenant` None: about the system, not about a job."""

    seq: int
    job_id: str | None
    tenant: str | None
    type: str
    data: Mapping[str, Any]
    at: datetime


class EventLog:
    """The table of events. Those of jobs are written by the ledger itself, with the change they tell of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(
        self, kind: str, data: Mapping[str, Any], *, job_id: str | None = None, tenant: str | None = None
    ) -> None:
        """Write an event that no statement of the ledger writes, such as worker.started."""
        await self._database.execute("append_events", [job_id], [tenant], [kind], [dict(data)])

    async def after(
        self,
        seq: int,
        *,
        upto: int | None = None,
        job_id: str | None = None,
        tenant: str | None = None,
        limit: int = 1000,
    ) -> list[Event]:
        """Return visible events with a higher seq (and at most `upto`), in order.

        A seq that is missing may still become visible: who must not miss it stays below the follower's watermark.
        """
        if job_id is None:
            rows = await self._database.fetch("events_after", seq, upto, tenant, limit)
        else:
            rows = await self._database.fetch("events_of_job_after", seq, upto, tenant, limit, job_id)
        return [Event(*row.values()) for row in rows]

    async def trim(self, retention_seconds: float) -> int:
        """Drop all events that are older; return how many. While another process is at it there is nothing to do."""
        dropped, last, page = 0, 0, PAGE
        while page == PAGE:
            row = await self._database.row("trim_events", LOCK, retention_seconds, last, PAGE)
            assert row is not None  # an aggregate always has its row
            page, last = row["count"], row["last"]
            dropped += page
        return dropped

    async def watermark(self) -> int:
        """Return the highest visible seq; lower ones may still be on their way."""
        return int(await self._database.value("events_watermark"))

    async def writers(self) -> frozenset[str]:
        """Return the transactions that may have taken a seq and not committed yet."""
        return frozenset(row["writer"] for row in await self._database.fetch("events_writers"))
