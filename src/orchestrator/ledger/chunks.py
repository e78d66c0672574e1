"""The hot path of the ledger: claim and settle chunks, a batch in one round trip each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import randbits

from orchestrator.deliveries import Delivery, Outcome, Result
from orchestrator.ledger.database import Database
from orchestrator.ledger.statements import sql

NO_RESULT = Result()
EXTERNAL_TENANT = "stream"
"""Owner of jobs that came straight over the stream: whoever may write there is not known to the API."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What became of a batch of deliveries at the ledger."""

    taken: list[Delivery]  # ours now, each with the new lease token
    duplicate: list[Delivery]  # the chunk has ended, or another entry of it is at work: nothing to do
    unknown: list[Delivery]  # no such chunk, or its job has ended: to be buried


class Chunks:
    """Chunks in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, consumer: str, deliveries: Sequence[Delivery]) -> Claimed:
        """Claim chunks for a consumer and fill in what the ledger knows of them."""
        token = randbits(63)
        rows = await self._database.fetch(
            "claim_chunks",
            [d.job_id for d in deliveries],
            [d.chunk_id for d in deliveries],
            [d.receipt for d in deliveries],
            consumer,
            token,
        )
        claimed = Claimed([], [], [])
        for delivery, row in zip(deliveries, rows, strict=True):
            if not row["taken"]:
                (claimed.duplicate if row["known"] else claimed.unknown).append(delivery)
                continue
            delivery.lease_token = token
            delivery.attempt = row["attempts"] + 1
            delivery.deliveries = row["deliveries"]
            delivery.content = row["content"]
            delivery.source_uri = row["source_uri"]
            delivery.metadata = row["metadata"] or {}
            delivery.workspace = row["workspace"]
            delivery.job_type = row["job_type"]
            claimed.taken.append(delivery)
        return claimed

    async def register(self, worker_type: str, queue: str, job_type: str, deliveries: Sequence[Delivery]) -> None:
        """Write jobs and chunks of entries that carry their text: the first sight of an external producer's work."""
        async with self._database.transaction() as connection:
            await connection.execute(
                sql("register_jobs"),
                EXTERNAL_TENANT,
                worker_type,
                queue,
                job_type,
                [d.job_id for d in deliveries],
                [d.workspace or "default" for d in deliveries],
                [d.chunks_total for d in deliveries],
            )
            await connection.execute(
                sql("register_chunks"),
                [d.job_id for d in deliveries],
                [d.chunk_id for d in deliveries],
                [d.content for d in deliveries],
                [d.source_uri for d in deliveries],
                [dict(d.metadata) if d.metadata else None for d in deliveries],
            )

    async def settle(self, settled: Sequence[tuple[Delivery, Outcome]]) -> dict[tuple[str, str], str | None]:
        """End deliveries whose lease token still holds, with their events, in one transaction.

        Returns the refused ones: (job_id, chunk_id) -> the chunk's present status, None when it is gone.
        """
        results = [o.result or NO_RESULT for _, o in settled]
        rows = await self._database.fetch(
            "settle_chunks",
            [d.job_id for d, _ in settled],
            [d.chunk_id for d, _ in settled],
            [d.lease_token for d, _ in settled],
            [o.verdict.value for _, o in settled],
            [o.ran for _, o in settled],
            [o.reason for _, o in settled],
            [r.entities for r in results],
            [r.relations for r in results],
            [r.duplicate_of for r in results],
            [r.detail for r in results],
            [o.delay_seconds for _, o in settled],
        )
        return {(row["job_id"], row["chunk_id"]): row["status"] for row in rows}

    async def leases_lost(self, held: Sequence[Delivery]) -> set[tuple[str, str]]:
        """Return which of the held chunks are no longer ours: cancelled, deleted, or claimed by another."""
        rows = await self._database.fetch(
            "leases_lost", [d.job_id for d in held], [d.chunk_id for d in held], [d.lease_token for d in held]
        )
        return {(row["job_id"], row["chunk_id"]) for row in rows}

    async def requeue_stranded(self, worker_type: str, lease_seconds: float) -> int:
        """Put running chunks of dead workers back to queued; return how many."""
        return await self._database.execute("stranded_chunks", worker_type, lease_seconds)

    async def count_live(self, worker_type: str, queue: str) -> int:
        """Return how many dispatched chunks of a queue have not ended: each needs an entry in Redis."""
        return int(await self._database.value("count_live_chunks", worker_type, queue))
