"""What every worker type is doing, in one line and in numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.ledger.workers import Totals, Worker


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """One worker type at this moment."""

    name: str
    slots: int  # expected on this host
    alive: int  # seen lately
    busy: int
    queued: int
    running: int
    dead: int
    chunks_per_second: float

    def __str__(self) -> str:
        return (
            f"{self.name} {self.alive}/{self.slots} slots, {self.queued} queued, "
            f"{self.chunks_per_second:.1f} chunks/s, {self.dead} dead"
        )


def summarise(expected: Mapping[str, int], workers: Sequence[Worker], totals: Mapping[str, Totals]) -> list[TypeStatus]:
    """Return the status of every expected type: `expected` says how many slots each has."""
    found = []
    for name, slots in expected.items():
        mine = [w for w in workers if w.worker_type == name]
        total = totals.get(name, Totals())
        rate = sum(w.chunks_per_second for w in mine)
        busy = sum(w.busy for w in mine)
        found.append(TypeStatus(name, slots, len(mine), busy, total.queued, total.running, total.dead, rate))
    return found
