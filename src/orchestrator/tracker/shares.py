"""Whose chunks go to the stream next: bands by weight, tenants of a band in turn, jobs of a tenant by age. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.jobs import Priority
from orchestrator.ledger.outbox import Plan, Run, Turn, Waiting

WEIGHTS: Mapping[Priority, int] = {Priority.HIGH: 16, Priority.NORMAL: 4, Priority.LOW: 1}
"""Chunks a band may send before the bands below it have had theirs: none starves."""


@dataclass(slots=True)
class _Job:
    index: int
    left: int


class _Band:
    """The tenants of a band in the order of their turns, each with its jobs."""

    def __init__(self, priority: Priority, credit: int, last: str) -> None:
        self.weight = WEIGHTS[priority]
        self.credit = credit
        self.last = last  # the tenant whose turn was last
        self._of: dict[str, deque[_Job]] = {}
        self._turns: deque[str] = deque()

    def add(self, tenant: str, job: _Job) -> None:
        """Put a job behind the tenant's others."""
        self._of.setdefault(tenant, deque()).append(job)

    def begin(self) -> None:
        """Put the tenants into the order of their names, beginning after the one whose turn was last."""
        names = sorted(self._of)
        self._turns.extend([n for n in names if n > self.last] + [n for n in names if n <= self.last])

    @property
    def waits(self) -> bool:
        """Return whether it has chunks to send."""
        return bool(self._turns)

    def send(self, most: int, runs: list[Run]) -> int:
        """Append what the tenants send, a chunk each in turn, one that is alone all at once; return how many chunks."""
        room, turns = most, self._turns
        while room and turns:
            tenant = self.last = turns[0]
            jobs = self._of[tenant]
            job = jobs[0]
            count = 1 if len(turns) > 1 else min(room, job.left)
            room -= count
            job.left -= count
            if not job.left:
                jobs.popleft()
            turns.rotate(-1)
            if not jobs:
                turns.pop()
            _append(runs, job.index, count)
        return most - room


def share(waiting: Sequence[Waiting], turns: Mapping[Priority, Turn], room: int) -> Plan:
    """Return what goes to the stream, in its order, and how far the rounds have come then.

    `waiting` holds each tenant's jobs of a band by age. Deficit round robin: a chunk costs its band one credit; when no
    band with work has any left, each gets its weight; a band without work keeps none. The tenants of a band take turns,
    a chunk each. What was begun goes on in the next call, so that the shares hold for any room.
    """
    bands = _bands(waiting, turns)
    runs: list[Run] = []
    while room > 0 and (busy := [band for band in bands if band.waits]):
        band = next((b for b in busy if b.credit > 0), None)
        if band is None:
            for each in busy:
                each.credit += each.weight
            continue
        # nobody else to be fair to: no need to go round
        sent = band.send(room if len(busy) == 1 else min(room, band.credit), runs)
        band.credit = max(0, band.credit - sent)
        room -= sent
    order = tuple(WEIGHTS)
    found = {p: Turn(band.credit if band.waits else 0, band.last) for p, band in zip(order, bands, strict=True)}
    return Plan(runs, found)


def _bands(waiting: Sequence[Waiting], turns: Mapping[Priority, Turn]) -> list[_Band]:
    none = Turn(0, "")
    bands = {p: _Band(p, turns.get(p, none).credit, turns.get(p, none).tenant) for p in WEIGHTS}
    for index, job in enumerate(waiting):
        bands[job.priority].add(job.tenant, _Job(index, max(1, job.left)))
    for band in bands.values():
        band.begin()
        if not band.waits:
            band.credit = 0
    return list(bands.values())


def _append(runs: list[Run], job: int, chunks: int) -> None:
    if runs and runs[-1].job == job:
        chunks += runs.pop().chunks
    runs.append(Run(job, chunks))
