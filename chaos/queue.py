"""The queue under test: what a run has to know of it. Everything else of a run is the same for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chaos.accepted import Accepted
from chaos.facts import Facts
from chaos.findings import Finding
from chaos.fleet import Fleet, Reach
from chaos.plan import Job, Noise, Shape
from chaos.sending import Sending
from chaos.watch import Watch


class Producers(Protocol):
    """Everybody who puts work on the queue."""

    sending: Sending
    wrong: list[Finding]  # what they found themselves

    async def submit(self, job: Job) -> None:
        """Submit a job until it is accepted."""

    async def disturb(self, noise: Noise) -> None:
        """Put something on the queue that is no new work."""

    async def calm(self, jobs: Sequence[Job]) -> None:
        """Nothing goes wrong any more: do what is left to do."""

    def accepted(self, facts: Facts) -> Mapping[str, Accepted]:
        """Return what the ledger has to have, by job."""

    def malformed(self) -> Mapping[str, str]:
        """Return what had to be buried: receipt -> what is wrong with it."""

    async def close(self) -> None:
        """Close the connections."""


class Queue(Protocol):
    """A queue that the workers consume. Implemented by chaos.own and chaos.foreign."""

    name: str
    shape: Shape
    permanent: frozenset[str]  # keys of our Redis that may live for ever

    async def open(self) -> Reach:
        """Start what it needs; return how workers reach it."""

    async def close(self) -> None:
        """Stop what it needs."""

    def producers(self, fleet: Fleet) -> Producers:
        """Return its producers."""

    def watch(self, fleet: Fleet) -> Watch:
        """Return what looks at it during the run."""

    async def left(self, fleet: Fleet) -> Mapping[str, int]:
        """Return what it still holds, as its own tools see it."""

    async def look(self, facts: Facts) -> Sequence[Finding]:
        """Return what its own tools find wrong at the end."""
