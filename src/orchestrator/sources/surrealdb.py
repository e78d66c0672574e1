"""A SurrealDB table as a source (docs/sources/surrealdb.md): a row is a message, its status the queue's state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from orchestrator.deliveries import Delivery
from orchestrator.errors import CredentialError, SettingsError
from orchestrator.jobs import ChunkStatus
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.foreign import Rules, fill, job_id, result_of, spread
from orchestrator.sources.options import read_options
from orchestrator.sources.surrealdb_connection import LEVELS, SurrealConnection, Target, target_of
from orchestrator.sources.surrealdb_rows import payload_of, receipt_of, record_of, storable
from orchestrator.sources.surrealdb_statements import END, PUT_BACK, REDRIVE, RENEW, SHOW, Statements

CREDENTIAL = "source-url"
POLL_SECONDS = 0.5
REASON_LENGTH = 1000
CANCELLED = ("canceled", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keys of `source_options`."""

    user_level: str = "root"  # where the user is defined: root, namespace or database
    match_app: str = ""  # only rows of this app
    payload_field: str = ""  # where the payload is; empty: the row itself
    new: str = "new"
    running: str = "running"
    completed: str = "completed"
    failed: str = "failed"
    cancelled: str = "canceled"  # as we write it; both spellings are understood
    stale_seconds: float = 300.0  # a row in work that has no lease of ours is taken over after so long
    required: tuple[str, ...] = ()
    largest_bytes: int = 1 << 20


def create(setup: SourceSetup) -> SurrealSource:
    """Return the source. Raises SettingsError and CredentialError."""
    options = read_options(Options, setup.options)
    if options.user_level not in LEVELS:
        raise SettingsError(f"source_options user_level: must be one of {', '.join(LEVELS)}")
    target = target_of(setup.credentials.read(CREDENTIAL))
    if target is None:
        raise CredentialError(f"credential {CREDENTIAL!r} must be ws://user:password@host:port/namespace/database")
    try:
        statements = Statements(setup.queue, bool(options.match_app))
    except ValueError as error:
        raise SettingsError(f"stream {setup.queue!r}: {error}") from None
    return SurrealSource(target, statements, setup, options)


class SurrealSource:
    """Implements Source, Foreign and Progress. Every settle names the token of its claim: a former owner's is void."""

    def __init__(self, target: Target, statements: Statements, setup: SourceSetup, options: Options) -> None:
        self._statements = statements
        self._type, self._table = setup.worker_type, setup.queue
        self._options = o = options
        self._rules = Rules(o.required, o.largest_bytes)
        self._cancelled = sorted({o.cancelled, *CANCELLED})
        self._names = {"new": o.new, "running": o.running, "failed": o.failed, "cancelled": self._cancelled}
        if o.match_app:
            self._names["app"] = o.match_app
        self._times = {"lease": _duration(setup.lease_seconds), "stale": _duration(o.stale_seconds)}
        self._connection = SurrealConnection(target, o.user_level, statements.live, self._names)
        self._writing = asyncio.Lock()  # what is held is written by one at a time: else we conflict with ourselves

    async def _ask(self, what: str, text: str, **parameters: Any) -> list[Any]:
        return await self._connection.ask(what, text, {**self._names, **self._times, **parameters})

    async def open(self, consumers: Sequence[str]) -> None:
        """Make the table and the index that claims need, where they are not there; SurrealDB knows no consumers."""
        await self._ask("open the table", self._statements.define)

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Claim; look again at short intervals until the wait is over, and when the live query reports something."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_seconds
        while True:
            self._connection.hint.clear()
            found = await self.poll({consumer: limit})
            left = end - loop.time()
            if found or left <= 0:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(min(POLL_SECONDS, left)):
                    await self._connection.hint.wait()

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Claim for all rooms at once, in one round trip."""
        return await self._take("claim", self._statements.claim, rooms)

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Take over rows whose lease has run out, and those that others left in work too long ago."""
        return await self._take("recover", self._statements.recover, {consumer: limit})

    async def _take(self, what: str, text: str, rooms: Mapping[str, int]) -> list[Delivery]:
        token = token_hex(16)
        *_, rows = await self._ask(what, text, claim=token, limit=sum(rooms.values()))
        return spread((self._delivery(row, token) for row in rows), rooms)

    def _delivery(self, row: Mapping[str, Any], token: str) -> Delivery:
        receipt = receipt_of(row["id"])
        delivery = Delivery(
            receipt=receipt,
            consumer="",
            job_id=job_id(self._type, self._table, receipt, row["orchestrator"].get("life", 0)),
            chunk_id="",
            handle=(row["id"], token),
        )
        return fill(delivery, payload_of(row, self._options.payload_field), self._rules)

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew, end what its owner has cancelled, and look which rows are no longer ours, in one round trip."""
        ids = [d.handle[0] for d in deliveries]
        tokens = sorted({d.handle[1] for d in deliveries})
        async with self._writing:
            *_, rows = await self._ask("renew", RENEW, ids=ids, tokens=tokens)
        found = {receipt_of(row["id"]): row for row in rows}
        lost = [d for d in deliveries if not self._is_held(d, found.get(d.receipt))]
        for delivery in lost:
            row = found.get(delivery.receipt)
            if row is None or row["status"] in self._cancelled:
                delivery.ended_as = ChunkStatus.CANCELLED
        return lost

    def _is_held(self, delivery: Delivery, row: Mapping[str, Any] | None) -> bool:
        return row is not None and row["status"] == self._options.running and row["token"] == delivery.handle[1]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Write how they ended, and their results."""
        await self._settle("ack", END, [_row(d, **self._ended(d)) for d in deliveries])

    def _ended(self, delivery: Delivery) -> dict[str, Any]:
        if delivery.ended_as is ChunkStatus.PROCESSED:
            return {"status": self._options.completed, "result": storable(result_of(delivery)), "error": None}
        is_cancelled = delivery.ended_as is ChunkStatus.CANCELLED
        status = self._options.cancelled if is_cancelled else self._options.failed
        return {"status": status, "result": None, "error": _reason(delivery.reason)}

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Make them new again, due after their delay."""
        rows = [_row(d, delay=_duration(delay), error=_reason(d.reason) or None) for d, delay in deliveries]
        await self._settle("retry", PUT_BACK, rows)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Make them new again at once."""
        await self._settle("release", PUT_BACK, [_row(d, delay=None, error=None) for d in deliveries])

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Mark them failed, each with its reason: the table is its own dead-letter queue."""
        failed = self._options.failed
        rows = [_row(d, status=failed, result=None, error=_reason(reason)) for d, reason in deliveries]
        await self._settle("bury", END, rows)

    async def progress(self, steps: Sequence[tuple[Delivery, str]]) -> None:
        """Show the steps in the rows' column `progress`."""
        await self._settle("show progress", SHOW, [_row(d, step=step) for d, step in steps])

    async def _settle(self, what: str, text: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Change what is still ours, in one transaction."""
        async with self._writing:
            await self._ask(what, text, rows=rows)

    async def depth(self) -> int:
        """Return how many rows are new or in work."""
        counts = await self._ask("measure the table", self._statements.count)
        return sum(int(row["count"]) for rows in counts for row in rows)

    async def check(self) -> str:
        """Claim no row."""
        await self._take("check the table", self._statements.claim, {"": 0})
        return f"SurrealDB table {self._table} answers and may be read and updated"

    async def redrive(self, receipts: Sequence[str]) -> list[str]:
        """Make failed rows new again; return those that are not there, or have not failed."""
        ids = [record_of(self._table, receipt) for receipt in receipts]
        [rows] = await self._ask("redrive", REDRIVE, ids=ids)
        back = {receipt_of(row["id"]) for row in rows}
        return [receipt for receipt in receipts if receipt not in back]

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


def _row(delivery: Delivery, **values: Any) -> dict[str, Any]:
    record, token = delivery.handle
    return {"id": record, "token": token, **values}


def _reason(text: str) -> str:
    return text[:REASON_LENGTH]


def _duration(seconds: float) -> str:
    return f"{max(0, round(seconds * 1000))}ms"
