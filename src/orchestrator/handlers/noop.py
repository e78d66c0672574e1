"""A handler that does nothing, or fails on request: for benches, drills and tests of a deployment."""

from __future__ import annotations

import asyncio

from orchestrator.deliveries import NOTHING, Delivery, Result
from orchestrator.errors import RejectError, RetryError
from orchestrator.handlers.base import Context, Handler, HandlerSetup


class NoopHandler:
    """Obeys the chunk's metadata.

    `hang` this many deliveries, `sleep` seconds, `reject`, `fail` this many attempts, each to be tried again in `later`
    seconds or with the pool's backoff.
    """

    async def open(self) -> None:
        """Nothing to connect."""

    async def __call__(self, delivery: Delivery, context: Context) -> Result:
        """Return at once, or do as the metadata says."""
        wish = delivery.metadata
        if not wish:
            return NOTHING
        if delivery.deliveries <= int(wish.get("hang", 0)):
            context.step("hanging")
            await asyncio.Event().wait()
        if "sleep" in wish:
            context.step("sleeping")
            await asyncio.sleep(float(wish["sleep"]))
        if wish.get("reject"):
            raise RejectError("rejected on request")
        if delivery.attempt <= int(wish.get("fail", 0)):
            later = wish.get("later")
            raise RetryError("failed on request", delay_seconds=None if later is None else float(later))
        return NOTHING

    async def close(self) -> None:
        """Nothing to close."""


def create(setup: HandlerSetup) -> Handler:
    """Return the handler; it has no options."""
    return NoopHandler()
