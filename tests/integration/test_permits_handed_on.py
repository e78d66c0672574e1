"""Quick calls of one process follow each other under one ticket, as long as nobody else has to wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from orchestrator.errors import ThrottledError
from orchestrator.limits import permit, spares
from orchestrator.limits.book import Book, Ended, Outcome
from orchestrator.limits.limiter import Limiter
from tests.support.calls import calls_of
from tests.support.hosts import Hosts, endpoint
from tests.support.wait import wait_until

ONE = endpoint(ceiling=1, initial=1)


@pytest.fixture
async def hosts(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hosts]:
    """A cluster whose machine may be slow: no moment passes by itself while a test looks."""
    monkeypatch.setattr(permit, "SECONDS", 60.0)
    monkeypatch.setattr(spares, "IDLE_SECONDS", 60.0)
    monkeypatch.setattr(spares, "LINGER_SECONDS", 60.0)
    async with AsyncExitStack() as stack:
        yield Hosts(redis_url, stack)


async def test_a_call_takes_over_from_the_one_before(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The book is asked once for eight of them, and hears once what came of all."""
    a, asked, told = hosts.host(), calls_of(monkeypatch, Book, "acquire"), calls_of(monkeypatch, Book, "settle")
    for _ in range(permit.CALLS):
        await hosts.call(a, seconds=0)
        assert await hosts.held() == 1
    assert (asked.begun, told.begun) == (1, 0)
    await hosts.call(a, seconds=0)
    await wait_until(lambda: hosts.has_held(1))
    assert (asked.begun, told.begun) == (2, 1)
    await a.close()
    assert told.begun == 2 and await hosts.nothing_held()
    assert len((await hosts.state("samples")).split(",")) == permit.CALLS + 1, "each answer is known"


async def test_every_answer_counts(hosts: Hosts) -> None:
    """As if each call had asked by itself."""
    a = hosts.host(endpoint(ceiling=50, initial=50))
    for _ in range(permit.CALLS + 3):
        await hosts.call(a, seconds=0)
    await a.close()
    assert await hosts.state("answers") == str(permit.CALLS + 3)


async def test_at_the_limit_nothing_is_kept(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may need it, and what only lies there must not count as a call under way."""
    a, asked = hosts.host(ONE), calls_of(monkeypatch, Book, "acquire")
    for _ in range(3):
        await hosts.call(a, seconds=0)
    assert asked.begun == 3


async def test_what_nobody_takes_over_is_given_back(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, moments later."""
    monkeypatch.setattr(spares, "IDLE_SECONDS", 0.01)
    await hosts.call(hosts.host())
    await wait_until(hosts.nothing_held)


async def test_a_refusal_is_found_by_the_next_call(hosts: Hosts) -> None:
    """Nothing is handed on that was granted before the endpoint asked for a pause."""
    a = hosts.host()
    async with a.permit(1, patience=5) as refused:
        await hosts.call(a)
        assert await hosts.held() == 2
        refused.refused(60)
    with pytest.raises(ThrottledError):
        await hosts.call(a, patience=1)
    await wait_until(hosts.nothing_held)


async def test_what_was_granted_before_a_refusal_ends_with_its_call(hosts: Hosts) -> None:
    """The caller that was refused, and tries again, must not be served by the end of another."""
    a = hosts.host()
    async with a.permit(1, patience=5) as other:
        async with a.permit(1, patience=5) as refused:
            refused.refused(60)
        other.answered(1)
    with pytest.raises(ThrottledError):
        await hosts.call(a, patience=1)
    await wait_until(hosts.nothing_held)


async def test_what_was_asked_for_before_a_refusal_ends_with_its_call(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The book granted it before it heard of the refusal, and its answer came after that."""
    a, go_on, acquire = hosts.host(), asyncio.Event(), Book.acquire
    granted = calls_of(monkeypatch, Book, "acquire")

    async def slowly(book: Book, ticket: str, tokens: int) -> Any:
        found = await acquire(book, ticket, tokens)
        granted.returned.append(found)
        await go_on.wait()
        return found

    async def is_granted() -> bool:
        return len(granted.returned) > 0

    async with a.permit(1, patience=5) as refused:
        granted.returned.clear()
        monkeypatch.setattr(Book, "acquire", slowly)
        other = asyncio.create_task(hosts.call(a))
        await wait_until(is_granted)
        refused.refused(60)
    go_on.set()
    await other
    with pytest.raises(ThrottledError):
        await hosts.call(a, patience=1)


@pytest.mark.parametrize("caps", [{"requests_per_minute": 600}, {"tokens_per_minute": 6000}])
async def test_where_calls_are_counted_each_one_asks(
    hosts: Hosts, caps: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is over goes to Redis in the round trip of the next that asks."""
    monkeypatch.setattr(spares, "LINGER_SECONDS", 60.0)
    a, asked = hosts.host(endpoint(**caps)), calls_of(monkeypatch, Book, "acquire")
    for _ in range(3):
        await hosts.call(a, seconds=0)
    assert asked.begun == 3 and await hosts.held() == 1


async def test_a_slow_call_hands_nothing_on(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real model's take seconds: others may have come to wait meanwhile."""
    monkeypatch.setattr(permit, "SECONDS", 0.0)
    a, asked = hosts.host(), calls_of(monkeypatch, Book, "acquire")
    await hosts.call(a)
    await hosts.call(a)
    assert asked.begun == 2


async def test_a_lease_that_is_handed_on_is_kept(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper had nothing to keep and ended; the call that took over is a long one."""
    a, over = hosts.host(), asyncio.Event()
    await hosts.call(a)
    assert a._keeper is not None
    a._keeper.cancel()
    await asyncio.wait({a._keeper})
    long = asyncio.create_task(hosts.call(a, until=over))
    await asyncio.sleep(0)
    assert not a._keeper.done()
    over.set()
    await long


async def test_without_redis_nothing_is_handed_on(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shared book granted counts no longer: the process has its own limit."""
    a = hosts.host()
    await _two_at_once(hosts, a)
    assert await hosts.held() == 2

    async def away(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(Book, "acquire", away)
    monkeypatch.setattr(Book, "settle", away)
    async with AsyncExitStack() as stack:
        for _ in range(3):  # the third one finds Redis away
            await stack.enter_async_context(a.permit(1, patience=5))
        with pytest.raises(ThrottledError):
            async with a.permit(1, patience=0):
                pass


async def _two_at_once(hosts: Hosts, host: Limiter) -> None:
    async with host.permit(1, patience=5) as outer:
        await hosts.call(host, seconds=0)
        outer.answered(1)


@pytest.mark.parametrize(("outcome", "answers"), [(Outcome.ANSWERED, [3.0, 2.0, 1.0]), (Outcome.REFUSED, [2.0, 1.0])])
def test_a_book_hears_of_all_answers(outcome: Outcome, answers: list[float]) -> None:
    """The latest first, as samples are kept."""
    assert Ended("a", outcome, 0.0, took=3.0, earlier=(1.0, 2.0)).answers == answers


async def test_one_overload_lowers_the_limit_once(hosts: Hosts) -> None:
    """A call that took over from one before says nothing of the new limit: more may be under way than that allows."""
    wide = endpoint(initial=8, ceiling=8)
    a, b = hosts.host(wide), hosts.host(wide)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(b.permit(1, patience=5))
        await hosts.call(a)
        async with b.permit(1, patience=5) as first:
            first.refused()
        assert await hosts.state("limit") == "3", "half of the seven there were"
        async with a.permit(1, patience=5) as second:
            second.refused()
        assert (await hosts.state("limit"), await hosts.state("refused")) == ("3", "2")
