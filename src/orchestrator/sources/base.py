"""The seam between a pool and a queue: what every source promises (design 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.deliveries import Delivery


class Source(Protocol):
    """A queue we consume. Delivery is at least once; the ledger's lease token makes the accounting exactly once.

    Settling methods take batches and cost one round trip. A receipt that is no longer ours is skipped, never
    an error: its new owner settles it. Methods raise DependencyError when the queue does not answer.
    """

    async def open(self, consumers: Sequence[str]) -> None:
        """Connect, make the queue and its group where they are missing, and register every consumer by name."""

    async def claim(self, consumer: str, limit: int, wait_seconds: float) -> list[Delivery]:
        """Take at most `limit` deliveries; wait for the first at most `wait_seconds`.

        Never cancel a claim in flight: it may have taken work. Malformed entries come too, with `problem` set.
        """

    async def poll(self, rooms: Mapping[str, int]) -> list[Delivery]:
        """Take what is there for several consumers, for each at most as many as its room, without waiting."""

    async def renew(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew the leases. Does not count as a delivery. Return those that are no longer ours."""

    async def recover(self, consumer: str, limit: int) -> list[Delivery]:
        """Take over at most `limit` deliveries whose lease has run out; also moves due retries back to the queue.

        Called first of all for every consumer, until it returns less than `limit`: what its former life had in hand.
        """

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """End the deliveries and free what they held in the queue."""

    async def retry(self, deliveries: Sequence[tuple[Delivery, float]]) -> None:
        """Give the deliveries back, each due after its delay in seconds."""

    async def bury(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Move the deliveries to the dead letters, each with its reason."""

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give the deliveries back at once and untouched."""

    async def depth(self) -> int:
        """Return how many deliveries wait (delayed ones included) or are in flight."""

    async def close(self) -> None:
        """Close the connections. Consumers stay registered: removing one would drop what it still holds (X-48)."""
