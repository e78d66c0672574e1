"""Who is told of a document's end, and of which of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.errors import RetryError
from orchestrator.handlers.lightrag.completion import Completion


@dataclass
class Row:
    """A row of doc_status."""

    state: str
    reason: str = ""


@dataclass
class SlowEngine:
    """Stands for an engine whose answer is long on its way; it knows doc_status alone, as nothing else is asked."""

    rows: dict[str, Row]
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def statuses(self, ids: Sequence[str]) -> dict[str, Row]:
        """Read now, answer later."""
        found = {i: Row(self.rows[i].state, self.rows[i].reason) for i in ids}
        self.asked.set()
        await self.answer.wait()
        return found

    async def counts(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Nothing was found in any."""
        return dict.fromkeys(ids, (0, 0))


def completion(engine: Any) -> Completion:
    """Return a completion over the stand-in."""
    return Completion(engine)


async def test_a_look_from_before_the_retry_says_nothing_of_it() -> None:
    """Two looks are under way when a document fails. The first tells its chunk, which is admitted anew at once.

    The second had read the old row as well; it must not end the new run with the failure of the old one.
    """
    engine = SlowEngine({"d": Row("failed", "the old failure")})
    told = completion(engine)
    first = told.expect("d")
    told.watch("d", "d")
    look = asyncio.create_task(told.check())
    await engine.asked.wait()
    told.fail("d", RetryError("the other look was quicker"))
    with pytest.raises(RetryError, match="quicker"):
        await first
    second = told.expect("d")
    engine.rows["d"].state = "pending"
    told.watch("d", "d")
    engine.answer.set()
    assert await look == 0
    assert not second.done()
    engine.rows["d"].state = "processed"
    assert await told.check() == 1
    assert (await second).entities == 0
