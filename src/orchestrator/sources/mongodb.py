"""A MongoDB collection as a source (docs/sources/mongodb.md): a document is a message, its status the queue's state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, UpdateOne
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError

from orchestrator.deliveries import Delivery
from orchestrator.errors import CredentialError, DependencyError, RefusedError, SettingsError
from orchestrator.jobs import ChunkStatus
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.foreign import Rules, fill, job_id, result_of, spread
from orchestrator.sources.mongodb_documents import OURS, payload_of, state_of
from orchestrator.sources.mongodb_ids import id_of, receipt_of
from orchestrator.sources.options import read_options
from orchestrator.sources.server_clock import ServerClock

log = logging.getLogger("orchestrator.sources")

CREDENTIAL = "source-url"
PATIENCE_MS = 5_000
REASON_LENGTH = 1000
TOKEN, LEASE, LIFE = f"{OURS}.token", f"{OURS}.lease_until", f"{OURS}.life"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The keys of `source_options`."""

    match_field: str = ""  # only documents that have `match_value` there
    match_value: str = ""
    payload_field: str = ""  # where the payload is; empty: the document itself
    pending: str = "pending"
    processing: str = "processing"
    completed: str = "completed"
    failed: str = "failed"
    cancelled: str = "cancelled"
    stale_seconds: float = 300.0  # a document in work that has no lease of ours is taken over after so long
    poll_seconds: float = 0.1  # how often it looks while there is nothing
    required: tuple[str, ...] = ()
    largest_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if not self.poll_seconds > 0:
            raise SettingsError(f"source_options poll_seconds: must be > 0, got {self.poll_seconds}")


def create(setup: SourceSetup) -> MongoSource:
    """Return the source. Raises SettingsError and CredentialError."""
    url = setup.credentials.read(CREDENTIAL)
    try:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url,
            tz_aware=True,
            datetime_conversion="DATETIME_AUTO",  # with this and the next there is no document that cannot be read
            unicode_decode_error_handler="replace",
            serverSelectionTimeoutMS=PATIENCE_MS,
            connectTimeoutMS=PATIENCE_MS,
            socketTimeoutMS=2 * PATIENCE_MS,
            appname=f"orchestrator {setup.worker_type}",
        )
        database = client.get_default_database()
    except (InvalidURI, ConfigurationError, ValueError) as error:  # their words may hold the URL
        what = "must be mongodb://user:password@host:port/database"
        raise CredentialError(f"credential {CREDENTIAL!r} {what} ({type(error).__name__})") from None
    return MongoSource(client, database[setup.queue], setup, read_options(Options, setup.options))


class MongoSource:
    """Implements Source and Foreign. Every settle names the token of its claim: a former owner's changes nothing."""

    def __init__(
        self, client: AsyncMongoClient[dict[str, Any]], collection: Any, setup: SourceSetup, o: Options
    ) -> None:
        self._client = client
        self._documents = collection
        self._type, self._queue = setup.worker_type, setup.queue
        self._lease = setup.lease_seconds
        self._options = o
        self._rules = Rules(o.required, o.largest_bytes)
        self._match = {o.match_field: o.match_value} if o.match_field else {}
        self._clock = ServerClock(self._server_time)

    async def _server_time(self) -> float:
        hello = await self._client.admin.command("hello")
        return float(hello["localTime"].timestamp())

    async def _now(self) -> datetime:
        """Return the server's time: a lease by the clock of one worker could be over, or for ever, by another's."""
        return datetime.fromtimestamp(await self._clock.now(), UTC)

    async def open(self, consumers: Sequence[str]) -> None:
        """Make the indexes that claims need; MongoDB knows no consumers."""
        keys = [*((name, ASCENDING) for name in self._match), ("status", ASCENDING)]
        with reachable("open the collection"):
            await self._documents.create_index([*keys, ("priority", DESCENDING), ("created_at", ASCENDING)])
            await self._documents.create_index([*keys, (LEASE, ASCENDING)])
            await self._documents.create_index([(TOKEN, ASCENDING)], sparse=True)

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Claim; look again at short intervals until the wait is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_seconds
        while True:
            found = await self.poll({consumer: limit})
            left = end - loop.time()
            if found or left <= 0:
                return found
            await asyncio.sleep(min(self._options.poll_seconds, left))

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Claim for all rooms at once: candidates, a guarded update of them, and those we got."""
        order = [("priority", DESCENDING), ("created_at", ASCENDING), ("_id", ASCENDING)]
        token = token_hex(16)
        with reachable("claim"):
            now = await self._now()
            free = self._free(now)
            cursor = self._documents.find(free, {"_id": 1, OURS: 1}, sort=order, limit=sum(rooms.values()))
            states = [(document["_id"], state_of(document)) async for document in cursor]
            if not states:
                return []
            if wrong := [document_id for document_id, state in states if state is None]:
                await self._replace_state(free, wrong)
            ids = [document_id for document_id, _ in states]
            taken = {"status": self._options.processing, TOKEN: token, LEASE: now + timedelta(seconds=self._lease)}
            await self._documents.update_many({**free, "_id": {"$in": ids}}, {"$set": {**taken, "updated_at": now}})
            ours = [document async for document in self._documents.find({TOKEN: token}, sort=order)]
        return spread((self._delivery(document, token) for document in ours), rooms)

    async def _replace_state(self, free: Mapping[str, Any], ids: Sequence[Any]) -> None:
        """Make room for our fields in documents that would refuse them, and so stop the update of all others."""
        log.warning("field orchestrator is not ours; replaced", extra={"queue": self._queue, "documents": len(ids)})
        await self._documents.update_many({**free, "_id": {"$in": ids}}, {"$set": {OURS: {}}})

    def _free(self, now: datetime) -> dict[str, Any]:
        """Return what tells a document that may be claimed: due, or left by a worker that is dead."""
        o = self._options
        stale = now - timedelta(seconds=o.stale_seconds)
        return {
            **self._match,
            "$or": [
                {"status": o.pending, "not_before": {"$not": {"$gt": now}}},
                {"status": o.processing, LEASE: {"$lt": now}},
                {"status": o.processing, LEASE: {"$exists": False}, "updated_at": {"$not": {"$gt": stale}}},
            ],
        }

    def _delivery(self, document: Mapping[str, Any], token: str) -> Delivery:
        receipt = receipt_of(document["_id"])
        life = document[OURS].get("life", 0)
        delivery = Delivery(
            receipt=receipt,
            consumer="",
            job_id=job_id(self._type, self._queue, receipt, life),
            chunk_id="",
            handle=(document["_id"], token),
        )
        return fill(delivery, payload_of(document, self._options.payload_field), self._rules)

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew in one update, end what its owner has cancelled in another, and look which are no longer ours."""
        ids = [d.handle[0] for d in deliveries]
        with reachable("renew"):
            lease = await self._now() + timedelta(seconds=self._lease)
            tokens = sorted({d.handle[1] for d in deliveries})
            claimed = {"_id": {"$in": ids}, TOKEN: {"$in": tokens}}
            held, ended = ({**claimed, "status": s} for s in (self._options.processing, self._options.cancelled))
            await self._documents.update_many(held, {"$set": {LEASE: lease}})
            await self._documents.update_many(ended, _end({}))
            cursor = self._documents.find({"_id": {"$in": ids}}, {TOKEN: 1, "status": 1})
            found = {document["_id"]: document async for document in cursor}
        lost = [d for d in deliveries if not self._is_held(d, found.get(d.handle[0]))]
        for delivery in lost:
            document = found.get(delivery.handle[0])
            if document is None or document.get("status") == self._options.cancelled:
                delivery.ended_as = ChunkStatus.CANCELLED
        return lost

    def _is_held(self, delivery: Delivery, document: Mapping[str, Any] | None) -> bool:
        return (
            document is not None
            and document.get("status") == self._options.processing
            and (state_of(document) or {}).get("token") == delivery.handle[1]
        )

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Write how they ended, and their results."""
        await self._settle("ack", [(d, self._ended(d)) for d in deliveries])

    def _ended(self, delivery: Delivery) -> dict[str, Any]:
        o = self._options
        if delivery.ended_as is ChunkStatus.PROCESSED:
            return _end({"status": o.completed, "result": result_of(delivery), "error": None})
        status = o.cancelled if delivery.ended_as is ChunkStatus.CANCELLED else o.failed
        return _end({"status": status, "error": delivery.reason[:REASON_LENGTH]})

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Make them pending again, due after their delay."""
        with reachable("retry"):
            now = await self._now()
        changes = [(d, _back(self._options.pending, now + timedelta(seconds=delay))) for d, delay in deliveries]
        await self._settle("retry", changes)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Make them pending again at once."""
        await self._settle("release", [(d, _back(self._options.pending, None)) for d in deliveries])

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Mark them failed, each with its reason: the collection is its own dead-letter queue."""
        failed = self._options.failed
        changes = [(d, _end({"status": failed, "error": reason[:REASON_LENGTH]})) for d, reason in deliveries]
        await self._settle("bury", changes)

    async def _settle(self, what: str, changes: Sequence[tuple[Delivery, dict[str, Any]]]) -> None:
        """Change what is still ours, in one unordered bulk write."""
        with reachable(what):
            now = await self._now()
        writes = []
        for delivery, change in changes:
            document_id, token = delivery.handle
            held = {"_id": document_id, TOKEN: token, "status": self._options.processing}
            writes.append(UpdateOne(held, {**change, "$set": {**change["$set"], "updated_at": now}}))
        with reachable(what):
            await self._documents.bulk_write(writes, ordered=False)

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Return nothing: a claim takes expired leases too."""
        return []

    async def depth(self) -> int:
        """Return how many documents are pending or in work."""
        states = [self._options.pending, self._options.processing]
        with reachable("measure the collection"):
            return int(await self._documents.count_documents({**self._match, "status": {"$in": states}}))

    async def check(self) -> str:
        """Look for a document to claim, and update none: the filter of the update matches nothing."""
        with reachable("check the collection"):
            await self._documents.find_one(self._free(await self._now()), {"_id": 1})
            await self._documents.update_many({"_id": {"$in": []}}, {"$set": {TOKEN: ""}})
        return f"MongoDB collection {self._queue} answers and may be read and updated"

    async def redrive(self, receipts: Sequence[str]) -> list[str]:
        """Make failed documents pending again; return those that are not there, or have not failed."""
        gone = []
        with reachable("redrive"):
            for receipt in receipts:
                failed = {"_id": id_of(receipt), "status": self._options.failed}
                changed = await self._documents.update_one(failed, _back(self._options.pending, None))
                if not changed.matched_count:
                    gone.append(receipt)
        return gone

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


@contextmanager
def reachable(what: str) -> Iterator[None]:
    """Turn what the driver raises into DependencyError; its own words may hold addresses and are not repeated."""
    try:
        yield
    except OperationFailure as error:
        refusal = f"cannot {what}: MongoDB refuses (code {error.code})"
        if error.code in (13, 18):  # not authorised, and not authenticated
            raise RefusedError(f"{refusal}; check the user's rights in credential source-url") from error
        raise DependencyError(f"{refusal}; see its log") from error
    except (PyMongoError, OSError) as error:
        look = "check that it runs, and credential source-url"
        raise DependencyError(f"cannot {what}: MongoDB does not answer ({type(error).__name__}); {look}") from error


def _end(values: dict[str, Any]) -> dict[str, Any]:
    """Return the update that ends a document: should its owner make it pending again, that is another life."""
    return {**({"$set": values} if values else {}), "$unset": {TOKEN: "", LEASE: ""}, "$inc": {LIFE: 1}}


def _back(status: str, due: datetime | None) -> dict[str, Any]:
    return {"$set": {"status": status, "not_before": due}, "$unset": {TOKEN: "", LEASE: ""}}
