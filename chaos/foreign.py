"""A queue that is not ours: the backends of the conformance suite are its producers and its own tools.

Each message is a job of one chunk. Its text is unlike any other's, so that what became of it is told by its text, with
nothing of the product's rules for the ids of jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from tests.conformance.backend import Backend, Message, Restarts, ServerBackend
from tests.conformance.conftest import BACKENDS

from chaos.accepted import Accepted
from chaos.facts import Facts
from chaos.findings import Finding
from chaos.fleet import Fleet, Reach
from chaos.plan import LARGEST, Job, Noise, Shape
from chaos.sending import Sending
from chaos.watch import Watch

NAME = "chaos"
PATIENCE_SECONDS = 20.0
PAUSE_SECONDS = 0.4
MALFORMED: Mapping[str, Any] = {
    "not JSON": "not JSON at all",
    "a list": "[1, 2]",
    "a text": '"text"',
    "metadata no object": {"content": "x", "metadata": [1]},
    "content no text": {"content": 5},
    "workspace no name": {"content": "x", "workspace": "No Name!"},
    "deep": {
        "content": "x",
        "metadata": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
    },
    "nul": '{"content": "a\\u0000b"}',
}
SOURCES = tuple(name for name in BACKENDS if name != "redis_stream")
"""Its own stream the suite fills as external producers would, in a Redis that keeps all: here it is chaos.own."""
ALL_REASONS = 10
"""So many reasons a backend shows at least; of one more it may know only that it is there."""
FORGETS = frozenset({"queue kill"})
"""A stand-in that forgets everything when it ends is not killed, for what it had would be lost indeed: it is frozen."""


class ForeignQueue:
    """Implements Queue over a backend."""

    permanent: frozenset[str] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name
        self._backend: Backend = BACKENDS[name]()
        self.shape = Shape(
            lacks=frozenset({"api kill"}),  # in the middle of a submission: there is none
            noise=tuple(MALFORMED),
            largest=min(LARGEST, self._backend.many // 10),
            left_out=frozenset() if isinstance(self._backend, Restarts) else FORGETS,
        )

    async def open(self) -> Reach:
        """Start its server and make the queue."""
        await self._backend.start()
        await self._backend.prepare(NAME)
        if not isinstance(self._backend, ServerBackend):
            raise TypeError(
                f"the backend of {self.name} must be a ServerBackend: its server is to be frozen and killed"
            )
        settings = {"source": self._backend.source, **self._backend.settings(NAME)}
        return Reach(settings, self._backend.credentials(), self._backend.server)

    async def close(self) -> None:
        """Stop its server."""
        await self._backend.stop()

    def producers(self, fleet: Fleet) -> MessageProducers:
        """Return its producers."""
        return MessageProducers(self._backend)

    def watch(self, fleet: Fleet) -> Watch:
        """Return what looks at the ledger: of the queue no two looks are the same moment."""
        return Watch(fleet)

    async def left(self, fleet: Fleet) -> Mapping[str, int]:
        """Return what waits or is in flight."""
        return {"messages on the queue": await self._backend.left(NAME)}

    async def look(self, facts: Facts) -> Sequence[Finding]:
        """Compare its dead letters with the ledger's: each has its reason there, too."""
        reasons, letters = await self._backend.dead(NAME), len(facts.letters)
        found = [Finding("lost", f"a dead letter of {self.name} has no reason") for reason in reasons if not reason]
        if len(reasons) < min(ALL_REASONS, letters):
            found.append(Finding("lost", f"{self.name} has {len(reasons)} dead letters, the ledger {letters}"))
        return found


class MessageProducers:
    """Everybody who sends messages. Implements Producers."""

    def __init__(self, backend: Backend) -> None:
        self.sending = Sending()
        self.wrong: list[Finding] = []
        self._backend = backend
        self._numbers = count()
        self._sent: set[str] = set()
        self._malformed: dict[str, str] = {}

    async def submit(self, job: Job) -> None:
        """Send a message a chunk; what may have been sent or not is followed by others."""
        while True:
            texts = [f"{what} {next(self._numbers)}" for what in job.chunks]
            if await self._put([Message({"content": text}) for text in texts]) is not None:
                self._sent.update(texts)
                return

    async def disturb(self, noise: Noise) -> None:
        """Send a message that is none."""
        while True:
            receipts = await self._put([Message(MALFORMED[noise.kind])])
            if receipts is not None:
                self._malformed |= dict.fromkeys(receipts, noise.kind)
                return

    async def calm(self, jobs: Sequence[Job]) -> None:
        """What was put on the queue is there."""

    def accepted(self, facts: Facts) -> Mapping[str, Accepted]:
        """Return a job a message that was sent: whichever has its text. Of a lost one nothing but the text is known."""
        ids: dict[str, list[str]] = {}
        for chunk in facts.chunks:
            ids.setdefault(chunk["content"], []).append(chunk["job_id"])
        for text, jobs in ids.items():
            if len(jobs) > 1:
                self.wrong.append(Finding("counted_twice", f"message {text!r} has become jobs {', '.join(jobs)}"))
        made = ((ids.get(text, [f"of message {text!r}"])[0], text) for text in self._sent)
        return {job_id: Accepted(job_id, {"0": text}) for job_id, text in made}

    def malformed(self) -> Mapping[str, str]:
        """Return those that were sent."""
        return self._malformed

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _put(self, messages: Sequence[Message]) -> list[str] | None:
        """Send messages; None when nobody knows which of them have been."""
        try:
            with self.sending:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    return await self._backend.put(NAME, messages)
        except Exception:  # whatever its client raises while its server is away
            await asyncio.sleep(PAUSE_SECONDS)
            return None
