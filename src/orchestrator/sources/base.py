"""The seam between a pool and a queue: what every source promises (design 3, docs/sources.md).

One delivery is in one pair of hands at a time, as far as the queue can tell; where it cannot, the ledger's lease token
decides, and the second settle is refused. In the words all sources share:

- At least once. What was claimed and not settled comes back when its lease has run out.
- `receipt` names the message and is the same at every delivery of it. `handle` is what this delivery is settled with:
  a settle whose handle is no longer good writes nothing and raises nothing, for the new owner settles it.
- A crash counts as a delivery (towards the poison cap) and not as an attempt; a release counts as neither. The counts
  are the ledger's: a queue that counts for itself must not act on its count before we do.
- What is cancelled at the queue shows as a lease that `renew` could not renew.
- A claim in flight is never cancelled: it may have taken work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from orchestrator.deliveries import Delivery
from orchestrator.settings.credentials import Credentials


class Source(Protocol):
    """A queue we consume.

    Settling methods take batches, and cost one round trip where the queue has one for it. Methods raise
    DependencyError when the queue does not answer; the pool tries again.
    """

    async def open(self, consumers: Sequence[str]) -> None:
        """Connect, make the queue and what it needs where that is ours to do, and register every consumer by name."""

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Take at most `limit` deliveries; wait for the first at most `wait_seconds`.

        Never cancel a claim in flight: it may have taken work. Malformed entries come too, with `problem` set.
        """

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Take what is there for several consumers, for each at most as many as its room, without waiting."""

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew the leases. Does not count as a delivery. Return those that are no longer ours.

        Those that were cancelled or removed at the queue have `ended_as` set to CANCELLED.
        """

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Take over at most `limit` deliveries whose lease has run out; also moves due retries back to the queue.

        Called first of all for every consumer, until it returns less than `limit`: what its former life had in hand.
        """

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """End the deliveries and free what they held in the queue.

        `ended_as` says how: PROCESSED with its `result`, or, when the ledger knew the end before (a crash between the
        two settles, a cancelled job), FAILED or CANCELLED with its `reason`; the queue is then told the same.
        """

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Give the deliveries back, each due after its delay in seconds, not earlier.

        `reason` is that of a failed attempt; it is empty when a delivery is only put off.
        """

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Move the deliveries to the dead letters, each with its reason."""

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give the deliveries back at once and untouched."""

    async def depth(self) -> int:
        """Return how many deliveries wait (delayed ones included) or are in flight."""

    async def close(self) -> None:
        """Close the connections. Consumers stay registered: removing one would drop what it still holds (X-48)."""


@runtime_checkable
class Foreign(Protocol):
    """A source whose queue is not ours: others put work there, and the ledger learns of it at its first delivery.

    The queue is then the truth about who holds a delivery: a lease lost there interrupts the handler.
    """

    async def redrive(self, receipts: Sequence[str]) -> list[str]:
        """Put ended messages back to be delivered again, as new work; return those that are gone or have not failed.

        `orchestrator dead-letters retry` asks for it, and a worker of the type does it (tracker/redrive.py).
        """

    async def check(self) -> str:
        """Prove the way to the queue by a claim round trip that takes nothing; return what was found, in one line."""


@runtime_checkable
class Progress(Protocol):
    """A source whose queue can show how far a delivery is."""

    async def progress(self, steps: Sequence[tuple[Delivery, str]]) -> None:
        """Show which step each delivery is at; best effort."""


@dataclass(slots=True, frozen=True)
class SourceSetup:
    """What a source is made from: `orchestrator.sources.<name>.create(setup)` returns it.

    `options` is the type's `source_options`; secrets are in the credentials, by the names the source documents.
    """

    worker_type: str
    queue: str
    options: Mapping[str, Any]
    lease_seconds: float
    credentials: Credentials
    group: str = ""  # of consumers; Redis Streams only
    read_block_seconds: float = 1.0  # how long a claim waits at most
