"""Deliberate bugs, put into a worker process before it starts: the checker has to find each of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from orchestrator.deliveries import Delivery, Outcome, Verdict
from orchestrator.errors import DependencyError
from orchestrator.ledger import chunks, database, statements
from orchestrator.pool.pool import Pool
from orchestrator.pool.settler import Settler
from orchestrator.sources import redis_client, redis_stream

COUNT_AGAIN = "UPDATE jobs SET processed = processed + 1, version = version + 1 WHERE job_id = ANY ($1)"


def ack_before_settle() -> None:
    """End the entries first, then tell the ledger: who dies in between has lost them."""
    settle = Settler._try

    async def acked(self: Settler, batch: list[tuple[Delivery, Outcome]]) -> bool:
        if done := [d for d, o in batch if o.verdict is Verdict.PROCESSED]:
            with contextlib.suppress(DependencyError):
                await self._source.ack(done)
        return await settle(self, batch)

    Settler._try = acked  # type: ignore[method-assign]


def no_fencing() -> None:
    """Settle whatever is at work, whoever has it by now."""
    original = statements.sql
    guard = " AND c.lease_token = a.token"

    def unguarded(name: str) -> str:
        text = original(name)
        return text.replace(guard, "") if name in ("settle_chunks", "settle_processed") else text

    if any(guard not in original(name) for name in ("settle_chunks", "settle_processed")):
        raise RuntimeError("the settle statements have changed: this mutant changes nothing any more")
    for module in (database, chunks):  # whoever asks for statements
        vars(module)["sql"] = unguarded


def count_on_redelivery() -> None:
    """Count a chunk once more when it was delivered more than once."""
    settle = chunks.Chunks.settle

    async def counted(
        self: chunks.Chunks, settled: Sequence[tuple[Delivery, Outcome]]
    ) -> dict[tuple[str, str], str | None]:
        refused = await settle(self, settled)
        twice = [d.job_id for d, o in settled if o.verdict is Verdict.PROCESSED and d.deliveries > 1]
        if twice:
            with contextlib.suppress(asyncpg.CheckViolationError, DependencyError):
                await self._database.run(lambda c: c.execute(COUNT_AGAIN, twice))
        return refused

    chunks.Chunks.settle = counted  # type: ignore[method-assign]


def renewal_counts() -> None:
    """Renew without JUSTID: each renewal counts as a delivery."""
    original = redis_client.script

    def counting(name: str) -> str:
        text = original(name)
        return text.replace(", 'JUSTID'", "") if name == "renew" else text

    if "'JUSTID'" not in original("renew"):
        raise RuntimeError("the renewal has changed: this mutant changes nothing any more")
    vars(redis_stream)["script"] = counting


def delete_consumers() -> None:
    """Remove the consumers of a worker that stops, with what they still hold."""
    drain = Pool._drain

    async def removed(self: Pool, reading: Any) -> None:
        source: Any = self._source
        for consumer in self.consumers:
            with contextlib.suppress(Exception):
                await source._client.execute_command(
                    "XGROUP", "DELCONSUMER", source._stream, self.settings.group, consumer
                )
        await drain(self, reading)

    Pool._drain = removed  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    "ack-before-settle": ack_before_settle,
    "no-fencing": no_fencing,
    "count-on-redelivery": count_on_redelivery,
    "renewal-counts": renewal_counts,
    "delete-consumers": delete_consumers,
}
