"""A handler of the product that does as the text of a chunk says, and writes down every run on its worker's disk."""

from __future__ import annotations

import asyncio
import contextlib
import os

from orchestrator.deliveries import NOTHING, Delivery, Result
from orchestrator.errors import RejectError, RetryError
from orchestrator.handlers.base import Context, Handler, HandlerSetup

FOREVER = 3600.0
FULL_SECONDS = 0.3
"""When a chunk is looked at again that found the disk full: that is no failure of the chunk."""
KILLED = 137
DISK_FULL = "no room to write down the run"
LAST_WORDS = 0.2
"""How long a deadly chunk takes to kill its worker: it is at work with others."""


class ChaosHandler:
    """`ok`, `slow:SECONDS`, `fail:ATTEMPTS`, `reject`, `hang` or `poison`, and a number."""

    def __init__(self, runs: str) -> None:
        self._runs = os.open(runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def open(self) -> None:
        """Nothing to connect."""

    async def __call__(self, delivery: Delivery, context: Context) -> Result:
        """Do as the text says."""
        self._note("start", delivery)
        try:
            result = await self._act(delivery)
        except asyncio.CancelledError:
            self._note("cut", delivery)
            raise
        except Exception:
            self._note("failed", delivery)
            raise
        self._note("done", delivery)
        return result

    async def close(self) -> None:
        """Close the file."""
        os.close(self._runs)

    async def _act(self, delivery: Delivery) -> Result:
        words, _, number = (delivery.content or "").partition(" ")
        what, _, amount = words.partition(":")
        match what:
            case "slow":
                await asyncio.sleep(float(amount))
            case "fail" if delivery.attempt <= int(amount):
                raise RetryError("failed on request")
            case "reject":
                raise RejectError("rejected on request")
            case "hang":
                await asyncio.sleep(FOREVER)
            case "poison":
                await asyncio.sleep(LAST_WORDS)
                os._exit(KILLED)
        # half of the results say which run they are of: the ledger has another statement for those that say nothing
        return Result(detail={"token": str(delivery.lease_token)}) if int(number) % 2 else NOTHING

    def _note(self, what: str, delivery: Delivery) -> None:
        """Write a line. One that finds no room, or for a part of it only, counts for nothing: raises RetryError."""
        line = f"\n{what}\t{delivery.job_id}\t{delivery.chunk_id}\t{delivery.lease_token}\t.\n".encode()
        with contextlib.suppress(OSError):
            if os.write(self._runs, line) == len(line):
                return
        raise RetryError(DISK_FULL, delay_seconds=FULL_SECONDS, counts=False)


def create(setup: HandlerSetup) -> Handler:
    """Return the handler; its option `runs` names the file that it appends to."""
    return ChaosHandler(str(setup.options["runs"]))
