"""The workers table: who is alive, what he has done, how fast he is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a slot says of itself at a heartbeat."""

    consumer: str
    tasks_processed: int
    busy: int  # deliveries in its hands
    chunks_per_second: float  # over the last minute
    step: str = ""  # of the delivery that it has held for longest
    step_job: str = ""  # the job of that delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A consumer as the ledger last saw it."""

    consumer: str
    host: str
    worker_type: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    tasks_processed: int
    busy: int
    chunks_per_second: float
    step: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What waits, runs and has died, of one worker type."""

    queued: int = 0
    running: int = 0
    dead: int = 0


class Workers:
    """Workers in the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self, host: str, worker_type: str, pid: int, version: str, pulses: Sequence[Pulse]) -> None:
        """Write the heartbeat of a process and its slots, in one round trip."""
        await self._database.execute(
            "worker_seen",
            host,
            worker_type,
            pid,
            version,
            [p.consumer for p in pulses],
            [p.tasks_processed for p in pulses],
            [p.busy for p in pulses],
            [p.chunks_per_second for p in pulses],
            [p.step for p in pulses],
            [p.step_job for p in pulses],
        )

    async def stopped(self, consumers: Sequence[str]) -> None:
        """Write that these consumers have stopped in order."""
        await self._database.execute("worker_stopped", list(consumers))

    async def announce(self, kind: str, consumers: Sequence[str], tasks_processed: Sequence[int]) -> None:
        """Append `worker.started` or `worker.stopped` for each consumer (E-21)."""
        data = [{"worker_id": c, "tasks_processed": n} for c, n in zip(consumers, tasks_processed, strict=True)]
        nothing = [None] * len(data)
        await self._database.execute("append_events", nothing, nothing, [f"worker.{kind}"] * len(data), data)

    async def alive(self, within_seconds: float) -> list[Worker]:
        """Return the workers seen within that time."""
        fields = tuple(Worker.__dataclass_fields__)
        rows = await self._database.fetch("workers", within_seconds)
        return [Worker(**{name: row[name] for name in fields}) for row in rows]

    async def backlog(self, worker_type: str) -> int:
        """Return how many chunks of a type wait."""
        return int(await self._database.value("backlog", worker_type))

    async def totals(self) -> dict[str, Totals]:
        """Return what waits, runs and has died, by worker type."""
        busy = {r["worker_type"]: r for r in await self._database.fetch("queue_totals")}
        dead = {r["worker_type"]: int(r["dead"]) for r in await self._database.fetch("dead_totals")}
        return {
            name: Totals(
                queued=int(busy[name]["queued"]) if name in busy else 0,
                running=int(busy[name]["running"]) if name in busy else 0,
                dead=dead.get(name, 0),
            )
            for name in busy.keys() | dead.keys()
        }
