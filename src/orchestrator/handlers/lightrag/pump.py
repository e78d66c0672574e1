"""The one task of a workspace that runs LightRAG's pipeline.

There must be no second: LightRAG lets a second call return at once while the first does its work for it, and two
processes undo each other's. It is stopped by cancellation. LightRAG's own `cancellation_requested` would mark every
queued document FAILED, also those never begun; what a cancelled run had begun is resumed by the next.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orchestrator.backoff import full_jitter
from orchestrator.errors import RetryError
from orchestrator.handlers.lightrag.completion import OUTAGE_SECONDS, Completion
from orchestrator.handlers.lightrag.lock import UNREACHABLE

if TYPE_CHECKING:  # importing it imports LightRAG
    from orchestrator.handlers.lightrag.engine import Engine

log = logging.getLogger("orchestrator.lightrag")

FUTILE_RUNS = 3
BASE_SECONDS = 0.25
CAP_SECONDS = 8.0


class Pump:
    """Runs the pipeline when woken, and again while documents are waited for that have not ended."""

    def __init__(self, engine: Engine, completion: Completion) -> None:
        self.running = False
        self._engine = engine
        self._completion = completion
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is work. A run that is under way takes it in by itself."""
        self._wake.set()

    async def run(self) -> None:
        """Pump. Ends only by cancellation: after some futile runs those who wait are told to come again later."""
        futile = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            error = await self._once()
            if error is None and (self._wake.is_set() or not self._completion.waiting):
                futile = 0
                continue
            futile += 1
            if futile >= FUTILE_RUNS:
                futile = 0
                self._completion.fail_all(_in_vain(error))
                continue
            await asyncio.sleep(full_jitter(futile, base_seconds=BASE_SECONDS, cap_seconds=CAP_SECONDS))
            self.wake()

    async def _once(self) -> Exception | None:
        """Run the pipeline once; return why it failed."""
        self.running = True
        try:
            await self._engine.process()
            await self._completion.check(at_rest=True)
        except Exception as error:
            log.warning("pipeline run failed", extra={"error": f"{type(error).__name__}: {error}"[:500]})
            return error
        finally:
            self.running = False
        return None


def _in_vain(error: Exception | None) -> RetryError:
    reason = "documents did not end" if error is None else f"{type(error).__name__}: {error}"
    message = f"the pipeline ran {FUTILE_RUNS} times in vain: {reason}"
    if isinstance(error, UNREACHABLE):  # the database was away: no document is to blame
        return RetryError(message, counts=False, delay_seconds=OUTAGE_SECONDS)
    return RetryError(message)
