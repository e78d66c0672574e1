"""The hot path of the ledger: claim and settle chunks, a batch in one round trip each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import randbits

import asyncpg

from orchestrator.deliveries import DONE, NOTHING, Delivery, Outcome, Result, Usage
from orchestrator.jobs import TERMINAL_CHUNK, ChunkStatus
from orchestrator.ledger.database import Database
from orchestrator.ledger.statements import joined, sql

NO_USAGE = Usage()
EXTERNAL_TENANT = "stream"
"""Owner of jobs that came straight over the stream: whoever may write there is not known to the API."""
MOST_OUTLIVED = 32
"""Hand-outs of a chunk that its workers outlived and that count as no deaths; further ones count."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What became of a batch of deliveries at the ledger."""

    taken: list[Delivery]  # ours now, each with the new lease token
    ended: list[Delivery] = field(default_factory=list)  # the chunk has ended: nothing to do
    at_work: list[Delivery] = field(default_factory=list)  # by another entry of it, or another delivery of this batch
    unknown: list[Delivery] = field(default_factory=list)  # no such chunk, or its job has ended: to be buried
    held_back: list[Delivery] = field(default_factory=list)  # paused: back to the outbox


class Chunks:
    """Chunks in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, deliveries: Sequence[Delivery]) -> Claimed:
        """Claim chunks, each for its consumer, and fill in what the ledger knows of them."""
        token = randbits(63)
        rows = await self._database.fetch(
            "claim_chunks",
            joined([d.job_id for d in deliveries]),
            joined([d.chunk_id for d in deliveries]),
            joined([d.receipt for d in deliveries]),
            joined([d.consumer for d in deliveries]),
            token,
        )
        taken: list[Delivery] = []
        for n, attempts, count, content, source_uri, metadata, workspace, job_type in rows:
            delivery = deliveries[n - 1]
            delivery.lease_token = token
            delivery.attempt = attempts + 1
            delivery.deliveries = count
            delivery.content = content
            delivery.source_uri = source_uri
            delivery.metadata = metadata or {}
            delivery.workspace = workspace
            delivery.job_type = job_type
            taken.append(delivery)
        if len(taken) == len(deliveries):
            return Claimed(taken)
        return await self._sort_out(taken, [d for d in deliveries if d.lease_token != token])

    async def _sort_out(self, taken: list[Delivery], others: list[Delivery]) -> Claimed:
        """Find out why the others could not be claimed."""
        rows = await self._database.fetch("known_chunks", [d.job_id for d in others], [d.chunk_id for d in others])
        known = {(row["job_id"], row["chunk_id"]): row for row in rows}
        claimed = Claimed(taken)
        for delivery in others:
            row = known.get(delivery.key)
            if row is None:
                claimed.unknown.append(delivery)
            elif row["status"] == ChunkStatus.QUEUED:
                claimed.held_back.append(delivery)
            elif row["status"] in TERMINAL_CHUNK:
                _end(delivery, row)
                claimed.ended.append(delivery)
            else:
                claimed.at_work.append(delivery)
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
        whose = (
            joined([d.job_id for d, _ in settled]),
            joined([d.chunk_id for d, _ in settled]),
            joined([str(d.lease_token) for d, _ in settled]),
        )
        if all(o is DONE for _, o in settled):
            rows = await self._database.fetch("settle_processed", *whose)
        else:
            results = [o.result or NOTHING for _, o in settled]
            used = [o.usage or NO_USAGE for _, o in settled]
            rows = await self._database.fetch(
                "settle_chunks",
                *whose,
                [r.entities for r in results],
                [r.relations for r in results],
                [o.verdict.value for _, o in settled],
                [o.ran for _, o in settled],
                [o.reason for _, o in settled],
                [o.delay_seconds for _, o in settled],
                [r.duplicate_of for r in results],
                [r.detail for r in results],
                [u.calls for u in used],
                [u.prompt_tokens for u in used],
                [u.completion_tokens for u in used],
                [u.cost for u in used],
            )
        return {(row["job_id"], row["chunk_id"]): row["status"] for row in rows}

    async def leases_lost(self, held: Sequence[Delivery]) -> list[Delivery]:
        """Return which of the held chunks are no longer ours: cancelled, deleted, or claimed by another."""
        rows = await self._database.fetch(
            "leases_lost", [d.job_id for d in held], [d.chunk_id for d in held], [d.lease_token for d in held]
        )
        return [held[row["n"] - 1] for row in rows]

    async def count_delivery(self, held: Delivery, counts: bool) -> bool:
        """Let this hand-out of a held chunk count, or not yet; False, and nothing, when its lease token is another."""
        return await self._database.execute("count_delivery", held.job_id, held.chunk_id, held.lease_token, counts) == 1

    async def outlived(self, lost: Sequence[Delivery]) -> None:
        """Count no longer what was handed out to us and lost: we live."""
        await self._database.execute("outlived", [d.job_id for d in lost], [d.chunk_id for d in lost], MOST_OUTLIVED)

    async def requeue_stranded(self, worker_type: str, lease_seconds: float) -> int:
        """Put running chunks of dead workers back to queued; return how many."""
        return await self._database.execute("stranded_chunks", worker_type, lease_seconds)

    async def count_live(self, worker_type: str, queue: str) -> int:
        """Return how many dispatched chunks of a queue have not ended: each needs an entry in Redis."""
        return int(await self._database.value("count_live_chunks", worker_type, queue))


def _end(delivery: Delivery, row: asyncpg.Record) -> None:
    """Let a delivery say how its chunk has ended, for a queue that was not told."""
    delivery.ended_as = ChunkStatus(row["status"])
    delivery.reason = row["error"] or ""
    delivery.result = Result(row["entities"], row["relations"], row["duplicate_of"], row["result"])
