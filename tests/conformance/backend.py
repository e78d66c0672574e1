"""What the suite needs to know of a queue: one backend a source, and the tests are the same for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tests.support.servers import Server


@dataclass(frozen=True, slots=True)
class Message:
    """What a producer of this queue sends. A `payload` of text or bytes goes out as it is, were it no JSON."""

    payload: Mapping[str, Any] | str | bytes


class Backend(Protocol):
    """A real queue with its server, used by the suite as its producers and its own tools would use it.

    One backend lives as long as the test session; each test has a queue of its own name.
    """

    source: str  # the module of orchestrator.sources
    rules: Mapping[str, Any]  # source_options under which a payload needs `content`; none where it always does
    too_large: int  # bytes of a `content` that is too much, under these rules
    many: int  # how many deliveries its server can bear in a test: 10,000, unless it is a slow stand-in

    def settings(self, queue: str) -> dict[str, Any]:
        """Return the keys of the worker type that reach this queue: stream, group, source_options."""

    def credentials(self) -> dict[str, str]:
        """Return credential name -> content for the worker."""

    async def start(self) -> None:
        """Start the server on a free port; raises when it cannot."""

    async def stop(self) -> None:
        """Stop the server by its process id."""

    async def prepare(self, queue: str) -> None:
        """Make the queue, where that is not the source's own to do."""

    async def put(self, queue: str, messages: Sequence[Message]) -> list[str]:
        """Send messages; return their receipts in order. 10,000 of them take seconds, not minutes."""

    async def left(self, queue: str) -> int:
        """Return how many messages wait, are delayed or are in flight, as the queue's own tools see it."""

    async def dead(self, queue: str) -> list[str]:
        """Return the reasons of the buried messages, as the queue's own tools see them; ten of them at least."""


@runtime_checkable
class Restarts(Protocol):
    """A backend whose server has everything again after a restart."""

    async def restart(self) -> None:
        """Kill the server and start it again on the same port."""


class ServerBackend:
    """A backend whose server is one process; `serve` makes it."""

    rules: Mapping[str, Any] = {"required": ["content"], "largest_bytes": 100_000}  # SQS itself may stop at 256 KiB
    too_large = 100_000

    def __init__(self, serve: Callable[[], AbstractContextManager[Server]]) -> None:
        self._serve = serve
        self._stack = ExitStack()
        self.server: Server

    async def start(self) -> None:
        """Start the server on a free port; raises when it cannot."""
        self.server = self._stack.enter_context(self._serve())

    async def stop(self) -> None:
        """Stop the server by its process id."""
        self._stack.close()
