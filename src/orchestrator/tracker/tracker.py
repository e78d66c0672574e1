"""The job tracker: every delivery enters and leaves the ledger through here, and the fast view follows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from orchestrator.deliveries import Delivery, Outcome
from orchestrator.errors import DependencyError
from orchestrator.jobs import TERMINAL_CHUNK, ChunkStatus
from orchestrator.ledger import Ledger
from orchestrator.tracker.redis_view import RedisView

log = logging.getLogger("orchestrator.job-tracker")


@dataclass(slots=True)
class Begun:
    """What a batch of deliveries turned out to be."""

    taken: list[Delivery] = field(default_factory=list)  # ours to run
    ended: list[Delivery] = field(default_factory=list)  # nothing to do: ack
    wrong: list[tuple[Delivery, str]] = field(default_factory=list)  # buried in the ledger: bury at the source
    later: list[Delivery] = field(default_factory=list)  # held back, of a queue that is not ours: to be given back


@dataclass(slots=True)
class Settled:
    """What became of a batch of outcomes."""

    accepted: list[tuple[Delivery, Outcome]] = field(default_factory=list)
    ended: list[Delivery] = field(default_factory=list)  # refused: the chunk has ended without us: ack
    lost: list[Delivery] = field(default_factory=list)  # refused: another worker holds it: leave it alone


class JobTracker:
    """Jobs of one worker type and queue, in the ledger and in Redis."""

    def __init__(
        self,
        ledger: Ledger,
        view: RedisView,
        *,
        worker_type: str,
        queue: str,
        job_type: str,
        foreign: bool = False,
    ) -> None:
        """`foreign`: the queue is not ours to fill, and the truth about who holds what."""
        self._ledger = ledger
        self._view = view
        self._worker_type = worker_type
        self._queue = queue
        self._job_type = job_type
        self.foreign = foreign
        self._changed: set[str] = set()

    async def begin(self, deliveries: Sequence[Delivery]) -> Begun:
        """Claim deliveries in the ledger; those that carry their text are registered first. Raises DependencyError."""
        begun = Begun(wrong=[(d, d.problem) for d in deliveries if d.problem is not None])
        sound = [d for d in deliveries if d.problem is None]
        if sound:
            external = [d for d in sound if d.content is not None]
            if external:
                await self._ledger.chunks.register(self._worker_type, self._queue, self._job_type, external)
            claimed = await self._ledger.chunks.claim(sound)
            begun.taken = claimed.taken
            begun.ended = claimed.ended
            if not self.foreign:  # a message of another's queue has no second entry: to ack would delete the first
                begun.ended += claimed.at_work
            if claimed.held_back and self.foreign:
                begun.later = claimed.held_back
            elif claimed.held_back:  # dispatch makes new entries of them when they may start
                await self._ledger.outbox.put_back(self._queue, [d.key for d in claimed.held_back])
                begun.ended += claimed.held_back
            begun.wrong += [
                (d, f"no such chunk, or its job has ended: {d.job_id}/{d.chunk_id}") for d in claimed.unknown
            ]
            self._changed.update(d.job_id for d in claimed.taken)
        if begun.wrong:
            await self._ledger.dead_letters.bury(self._worker_type, self._queue, begun.wrong)
        return begun

    async def settle(self, outcomes: Sequence[tuple[Delivery, Outcome]]) -> Settled:
        """Settle outcomes in one transaction. Raises DependencyError, and then nothing is settled."""
        refused = await self._ledger.chunks.settle(outcomes)
        self._changed.update(d.job_id for d, _ in outcomes)
        if not refused:
            return Settled(accepted=list(outcomes))
        settled = Settled()
        for delivery, outcome in outcomes:
            if delivery.key not in refused:
                settled.accepted.append((delivery, outcome))
            elif (status := refused[delivery.key]) is None or status in TERMINAL_CHUNK:
                delivery.ended_as = ChunkStatus(status or ChunkStatus.CANCELLED)
                if delivery.ended_as is ChunkStatus.FAILED:  # perhaps by us, in a commit whose answer was lost
                    delivery.reason = outcome.reason
                settled.ended.append(delivery)
            else:
                settled.lost.append(delivery)
        log.info("settles refused", extra={"ended": len(settled.ended), "lost": len(settled.lost)})
        await self._outlive([d for d in settled.lost if d.counted])
        return settled

    async def _outlive(self, lost: Sequence[Delivery]) -> None:
        """Give back hand-outs that another took over, as after FLUSHALL or SIGSTOP: only deaths make a chunk poison."""
        if lost:
            try:
                await self._ledger.chunks.outlived(lost)
            except DependencyError as error:
                log.warning("lost leases count as deliveries", extra={"chunks": len(lost), "error": str(error)})

    async def leases_lost(self, held: Sequence[Delivery]) -> list[Delivery]:
        """Return which held chunks are no longer ours by the ledger, whose word is final."""
        return await self._ledger.chunks.leases_lost(held)

    async def count_delivery(self, held: Delivery, counts: bool) -> bool:
        """Say whether this hand-out of a chunk counts by now; False when it is no longer ours."""
        ours = await self._ledger.chunks.count_delivery(held, counts)
        if ours:
            held.counted = counts
        return ours

    async def cancelled(self, deliveries: Sequence[Delivery]) -> None:
        """Deliveries were cancelled at their queue: their jobs are. Raises DependencyError."""
        for job_id in {d.job_id for d in deliveries}:
            await self._ledger.jobs.cancel(job_id)
            self._changed.add(job_id)

    @property
    def changed(self) -> frozenset[str]:
        """Return the jobs whose views are to be written."""
        return frozenset(self._changed)

    async def refresh(self) -> None:
        """Write the views of jobs changed since the last call; those that cannot be written are kept for the next."""
        changed, self._changed = self._changed, set()
        if not changed:
            return
        try:
            await self._view.write(await self._ledger.jobs.many(list(changed)))
        except (RedisError, OSError, DependencyError) as error:
            self._changed |= changed
            log.warning("job views not written; will try again", extra={"error": type(error).__name__})
