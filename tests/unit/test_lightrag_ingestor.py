"""The ingestor when LightRAG or its database misbehaves in ways the real ones cannot be made to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, cast

import asyncpg
import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import DependencyError, RetryError
from orchestrator.handlers.lightrag import completion, lock, pump
from orchestrator.handlers.lightrag.identity import Document
from orchestrator.handlers.lightrag.ingestor import Ingestor
from orchestrator.settings import LightRAGSettings
from tests.support.wait import wait_until


class Status:
    """A row of doc_status."""

    def __init__(self, state: str, reason: str = "") -> None:
        self.state = state
        self.reason = reason


class ShakyEngine:
    """An engine that does its work unless told otherwise."""

    def __init__(self) -> None:
        self.rows: dict[str, Status] = {}
        self.bad: dict[str, Exception] = {}  # by document: enqueuing a batch with it raises this
        self.on_process: Callable[[], None] = self.finish
        self.on_status: Callable[[], None] = lambda: None
        self.on_end: Callable[[str], None] = lambda _: None
        self.asked: list[list[str]] = []  # whose status was asked for, each time
        self.runs = 0
        self.closed = False

    def finish(self) -> None:
        """Process what is pending."""
        for row in self.rows.values():
            row.state = "processed"

    async def statuses(self, ids: Sequence[str]) -> dict[str, Status]:
        """Return the rows."""
        self.on_status()
        self.asked.append(list(ids))
        return {i: self.rows[i] for i in ids if i in self.rows}

    async def holder(self, digest: str, *, besides: str) -> None:
        """No text is there twice."""

    async def enqueue(self, documents: Sequence[Document]) -> None:
        """Store rows, all or none."""
        for document in documents:
            if document.id in self.bad:
                raise self.bad[document.id]
        self.rows.update({d.id: Status("pending") for d in documents})

    async def process(self) -> None:
        """Run."""
        self.runs += 1
        self.on_process()

    async def counts(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return ones."""
        return dict.fromkeys(ids, (1, 1))

    async def drop(self) -> None:
        """Fail."""
        raise DependencyError("a storage is away")

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


class Lock:
    """A lock that is held."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.released = False

    async def release(self) -> None:
        """Remember it."""
        self.released = True


class Fixture:
    """An ingestor, and what it works on."""

    def __init__(self) -> None:
        self.engine, self.lock = ShakyEngine(), Lock()
        settings = LightRAGSettings(micro_batch_linger_seconds=0.01)
        self.ingestor = Ingestor(cast(Any, self.engine), cast(Any, self.lock), settings)

    async def submit(self, *names: str) -> list[Result | BaseException]:
        """Submit documents at once."""
        documents = [Document(n, n, n, n) for n in names]
        return await asyncio.gather(*(self.ingestor.submit(d) for d in documents), return_exceptions=True)


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fixture]:
    """An ingestor that hurries."""
    for module, name in ((pump, "CAP_SECONDS"), (completion, "POLL_SECONDS")):
        monkeypatch.setattr(module, name, 0.005)
    fixture = Fixture()
    fixture.ingestor.start()
    yield fixture
    await fixture.ingestor.close()
    assert fixture.engine.closed and fixture.lock.released


async def test_a_document_that_cannot_be_handed_over_fails_alone(made: Fixture) -> None:
    """LightRAG refuses the whole batch for one."""
    made.engine.bad["b"] = ValueError("no such text")
    a, b, c = await made.submit("a", "b", "c")
    assert a == c == Result(1, 1)
    assert isinstance(b, RetryError) and b.counts and "ValueError: no such text" in str(b)


@pytest.mark.parametrize("error", [OSError("gone"), RetryError("LightRAG is busy", counts=False, delay_seconds=2)])
async def test_a_batch_that_nobody_takes_burns_no_attempt(made: Fixture, error: Exception) -> None:
    """The database is away, or LightRAG takes no documents now."""
    made.engine.bad["b"] = error
    ends = await made.submit("a", "b")
    assert all(isinstance(e, RetryError) and not e.counts and e.delay_seconds for e in ends)


async def test_a_pipeline_run_that_raises_is_repeated(made: Fixture) -> None:
    """With a growing pause."""

    def shaky() -> None:
        if made.engine.runs < 3:
            raise RuntimeError("out of order")
        made.engine.finish()

    made.engine.on_process = shaky
    assert await made.submit("a") == [Result(1, 1)] and made.engine.runs >= 3


async def test_a_pipeline_that_runs_in_vain_ends_the_attempt(made: Fixture) -> None:
    """And the ingestor is as good as before."""

    def broken() -> None:
        raise RuntimeError("out of order")

    for futile, reason in ((broken, "RuntimeError: out of order"), (lambda: None, "documents did not end")):
        made.engine.on_process = futile
        (end,) = await made.submit("a")
        assert isinstance(end, RetryError) and end.counts and reason in str(end)
    made.engine.on_process = made.engine.finish
    assert await made.submit("a") == [Result(1, 1)]


async def test_ends_that_are_told_are_looked_up_together_and_alone(
    made: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the run goes on with others: each look is a statement and a settle, and all that wait are many."""
    monkeypatch.setattr(completion, "POLL_SECONDS", 60)
    over = asyncio.Event()
    monkeypatch.setattr(made.engine, "process", over.wait)
    names = [f"d{i}" for i in range(20)]
    waiting = {n: asyncio.create_task(made.ingestor.submit(Document(n, n, n, n))) for n in names}

    async def admitted() -> bool:
        return sorted(names) in made.engine.asked[1:]  # once before they were stored, once after

    await wait_until(admitted)
    made.engine.asked.clear()
    for name in names[:3]:
        made.engine.rows[name].state = "processed"
        made.engine.on_end(name)
    assert await asyncio.wait_for(asyncio.gather(*(waiting[n] for n in names[:3])), 5) == [Result(1, 1)] * 3
    assert made.engine.asked == [names[:3]] and not any(waiting[n].done() for n in names[3:])
    monkeypatch.setattr(completion, "GATHER_SECONDS", 60)  # for a quarter of those that wait it is not waited
    for name in names[3:8]:
        made.engine.rows[name].state = "processed"
        made.engine.on_end(name)
    assert await asyncio.wait_for(asyncio.gather(*(waiting[n] for n in names[3:8])), 5) == [Result(1, 1)] * 5
    made.engine.finish()
    over.set()
    assert await asyncio.gather(*waiting.values()) == [Result(1, 1)] * 20


async def test_an_end_that_is_told_is_believed_only_when_the_status_says_so(
    made: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What LightRAG's functions return, or that they return, is no success."""
    monkeypatch.setattr(completion, "GATHER_SECONDS", 0.01)
    over = asyncio.Event()
    monkeypatch.setattr(made.engine, "process", over.wait)
    waiting = asyncio.create_task(made.ingestor.submit(Document("a", "a", "a", "a")))
    for looks in (3, 6, 9):
        made.engine.on_end("a")
        await wait_until(partial(_looked, made.engine, looks))
    assert not waiting.done()
    made.engine.rows["a"].state = "processed"  # and of this nobody tells
    assert await asyncio.wait_for(waiting, 5) == Result(1, 1)
    over.set()


async def _looked(engine: ShakyEngine, times: int) -> bool:
    return len(engine.asked) >= times


async def test_a_pipeline_without_a_database_burns_no_attempt(made: Fixture) -> None:
    """No document is to blame."""

    def away() -> None:
        raise ConnectionResetError("gone")

    made.engine.on_process = away
    (end,) = await made.submit("a")
    assert isinstance(end, RetryError) and not end.counts and end.delay_seconds


async def test_a_doc_status_that_cannot_be_read_ends_the_wait(made: Fixture) -> None:
    """After some tries; no attempt is burned."""

    def away() -> None:
        if "a" in made.engine.rows:
            raise OSError("gone")

    made.engine.on_status = away
    made.engine.on_process = lambda: None
    (end,) = await made.submit("a")
    assert isinstance(end, RetryError)


async def test_a_row_that_vanishes_ends_the_wait(made: Fixture) -> None:
    """Somebody deleted the document."""
    made.engine.on_process = made.engine.rows.clear
    (end,) = await made.submit("a")
    assert isinstance(end, RetryError) and "no row" in str(end)


async def test_a_part_that_breaks_ends_the_ingestor(made: Fixture) -> None:
    """Nobody waits for a pump that is no more."""
    made.engine.bad["a"] = cast(Exception, UncaughtBug())
    (end,) = await made.submit("a")
    assert isinstance(end, RetryError) and not end.counts and not made.ingestor.alive
    (end,) = await made.submit("b")
    assert isinstance(end, RetryError) and not end.counts


class UncaughtBug(BaseException):
    """What no `except Exception` catches."""


async def test_a_workspace_that_cannot_be_dropped_is_closed_all_the_same() -> None:
    """The next opening drops it first."""
    fixture = Fixture()
    fixture.ingestor.start()
    await fixture.ingestor.close(drop=True)
    assert fixture.engine.closed and fixture.lock.released


class CancelledConnection:
    """A connection whose every statement somebody cancels."""

    def add_termination_listener(self, _: object) -> None:
        """Nobody ends it."""

    def remove_termination_listener(self, _: object) -> None:
        """As above."""

    async def fetchval(self, _: str, *, timeout: float) -> None:
        """Fail in a way that is no network's."""
        raise asyncpg.QueryCanceledError("canceling statement due to user request")

    async def close(self, *, timeout: float) -> None:
        """Nothing to close."""


async def test_a_lock_that_cannot_be_checked_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: better opened once more than written by two."""
    monkeypatch.setattr(lock, "CHECK_SECONDS", 0.01)
    held = lock.WorkspaceLock(cast(Any, CancelledConnection()), "w")
    await asyncio.wait_for(held.lost.wait(), 5)
    await held.release()
