"""Dead letters of a queue that is not ours: asked for in the ledger, put back there by a worker of their type."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError
from orchestrator.ledger import Ledger
from orchestrator.ledger.letters import LetterStatus, Selection
from tests.support.jobs import delivery_of, ended_job, nothing_of_ours


async def test_what_is_asked_of_another_queue_is_put_back_once(ledger: Ledger) -> None:
    """By one of the workers of its type; what is gone there is dead again, and says so."""
    job, _ = await ended_job(ledger, 3, 3, worker_type="sync"), await ended_job(ledger, 1, 1, worker_type="chat")
    receipts = [delivery_of(job, n).receipt for n in range(3)]
    asked: list[Sequence[str]] = []

    async def put_back(wanted: Sequence[str]) -> list[str]:
        asked.append(wanted)
        return [wanted[1]]

    async def away(wanted: Sequence[str]) -> list[str]:
        raise DependencyError("SQS does not answer")

    no_entries = await ledger.dead_letters.retry(
        Selection(worker_type="sync"), actor="ops", put_back=nothing_of_ours, elsewhere=["sync", "chat"]
    )
    assert (no_entries.letters, no_entries.asked, no_entries.stuck) == ([], 3, 0)
    with pytest.raises(DependencyError):
        await ledger.dead_letters.redrive("sync", "q", away, 10)
    done = await asyncio.gather(*(ledger.dead_letters.redrive("sync", "q", put_back, 10) for _ in range(3)))
    assert (sorted(done), asked) == ([0, 0, 3], [receipts])
    assert await ledger.dead_letters.redrive("sync", "q", put_back, 10) == 0
    letters = {x.receipt: x for x in await ledger.dead_letters.page(worker_type="sync")}
    first, gone, last = (letters[receipt] for receipt in receipts)
    assert (first.status, gone.status, last.status) == (LetterStatus.RETRIED, LetterStatus.DEAD, LetterStatus.RETRIED)
    assert (
        gone.reason == "model said 400; not put back: its queue has no such failed message, or it was put back before"
    )
    assert first.resolved_at is not None and gone.resolved_at is None
    [other] = await ledger.dead_letters.page(worker_type="chat")
    assert other.status is LetterStatus.DEAD


async def test_a_malformed_message_that_comes_back_as_bad_is_dead_again(ledger: Ledger) -> None:
    """It has the same receipt: its second burial was taken for the first one, and nobody heard of it."""
    wrong = Delivery("17", "h", "", "", problem="not JSON")

    async def put_back(wanted: Sequence[str]) -> list[str]:
        return []

    async def statuses() -> list[LetterStatus]:
        return [letter.status for letter in await ledger.dead_letters.page()]

    await ledger.dead_letters.bury("sync", "q", [(wrong, "not JSON")])
    asked = Selection(worker_type="sync")
    await ledger.dead_letters.retry(asked, actor="ops", put_back=nothing_of_ours, elsewhere=["sync"])
    assert await ledger.dead_letters.redrive("sync", "another", put_back, 10) == 0
    assert await statuses() == [LetterStatus.RETRYING]
    assert await ledger.dead_letters.redrive("sync", "q", put_back, 10) == 1
    assert await statuses() == [LetterStatus.RETRIED]
    await ledger.dead_letters.bury("sync", "q", [(wrong, "still not JSON")])
    [letter] = await ledger.dead_letters.page()
    assert (letter.status, letter.reason, letter.resolved_at) == (LetterStatus.DEAD, "still not JSON", None)
