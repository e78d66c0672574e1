"""The seam between a pool and the work: what every handler promises (design 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.deliveries import Delivery, Result, Usage
from orchestrator.settings.credentials import Credentials


class Context:
    """What the pool gives to one run of a handler, and what the run says through it."""

    __slots__ = ("_usage", "doing")

    def __init__(self) -> None:
        self.doing = "starting"
        self._usage: Usage | None = None

    def step(self, doing: str) -> None:
        """Say where the work stands, in a few words: `orchestrator why` and status show it."""
        self.doing = doing

    @property
    def usage(self) -> Usage:
        """Return what the run uses of the models, to be added to; it is settled with the run, failed or not."""
        if self._usage is None:
            self._usage = Usage()
        return self._usage

    @property
    def used(self) -> Usage | None:
        """Return the usage, None when there was none."""
        return self._usage


@dataclass(slots=True, frozen=True)
class HandlerSetup:
    """What a handler is made from: `orchestrator.handlers.<name>.create(setup)` returns it."""

    worker_type: str
    options: Mapping[str, Any]  # the type's `options` in the pool settings
    settings_dir: Path  # /etc/orchestrator
    credentials: Credentials


class Handler(Protocol):
    """The work of one worker type. One instance serves all slots of a process."""

    async def open(self) -> None:
        """Connect. Raises DependencyError when something it needs does not answer."""

    async def __call__(self, delivery: Delivery, context: Context) -> Result:
        """Do the work of one chunk.

        Raises RetryError (again later), RejectError (never); anything else counts as a failed attempt. Cancellation
        means timeout, lost lease, cancelled job or the end of the grace period: leave nothing half done.
        """

    async def close(self) -> None:
        """Stop background work and close connections."""
