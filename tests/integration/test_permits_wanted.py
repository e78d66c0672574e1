"""Permits that somebody else wants: given back at once, and nobody is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from orchestrator import keys
from orchestrator.limits import limiter, permit, spares
from orchestrator.limits.book import Book
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


async def test_a_host_that_goes_on_lets_others_in(hosts: Hosts) -> None:
    """It began when there was room; there is none when the other one comes, who waits for eight calls at most."""
    two = endpoint(ceiling=2, initial=2)
    busy, third, other = hosts.host(two), hosts.host(two), hosts.host(two)
    made, enough = 0, asyncio.Event()
    await hosts.call(other)  # it is connected
    await other.close()

    async def work() -> None:
        nonlocal made
        while not enough.is_set():
            await hosts.call(busy, seconds=0)
            made += 1

    working = asyncio.create_task(work())

    async def at_work() -> bool:
        return made > 0

    await wait_until(at_work)
    for _ in range(5):
        async with third.permit(1, patience=30):
            asked_at = made
            async with other.permit(1, patience=30):
                assert made <= asked_at + 2 * permit.CALLS, "those of one ticket, and of one granted before it asked"
    enough.set()
    await working


async def test_who_waits_in_the_same_process_is_served_first(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What he waits for is given back at once, and nobody comes before him."""
    a, over, order = hosts.host(ONE), asyncio.Event(), list[str]()
    asked = calls_of(monkeypatch, Book, "acquire")

    async def call(name: str, until: asyncio.Event | None = None) -> None:
        async with a.permit(1, patience=20) as granted:
            order.append(name)
            if until:
                await until.wait()
            granted.answered(1)

    first = asyncio.create_task(call("first", over))
    await wait_until(lambda: hosts.has_held(1))
    second = asyncio.create_task(call("second"))
    await wait_until(hosts.has_waiting)
    over.set()
    third = asyncio.create_task(call("third"))
    await asyncio.gather(first, second, third)
    assert order == ["first", "second", "third"] and asked.begun >= 3


async def test_who_waits_in_the_same_process_is_told_at_once(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """He need not look again by himself."""
    for name in ("POLL_SECONDS", "LONGEST_POLL_SECONDS"):
        monkeypatch.setattr(limiter, name, 600.0)
    a, over = hosts.host(ONE), asyncio.Event()
    first = asyncio.create_task(hosts.call(a, until=over))
    await wait_until(lambda: hosts.has_held(1))
    second = asyncio.create_task(hosts.call(a, patience=600))
    await wait_until(hosts.has_waiting)
    over.set()
    await asyncio.wait_for(asyncio.gather(first, second), 15)  # or ten minutes


async def test_a_permit_that_others_waited_for_is_kept_by_nobody(hosts: Hosts) -> None:
    """Three hosts, one call at a time: who had to wait knows that another one does, and gives his back at once."""
    a, b, c = (hosts.host(ONE) for _ in range(3))
    over = asyncio.Event()
    first = asyncio.create_task(hosts.call(a, until=over))
    await wait_until(lambda: hosts.has_held(1))
    others = [asyncio.create_task(hosts.call(host, patience=600)) for host in (b, c)]

    async def both_wait() -> bool:
        return bool(await hosts.client.zcard(keys.limit_waiting(ONE.id)) == 2)

    await wait_until(both_wait)
    over.set()
    await first
    await a.close()
    await asyncio.wait_for(asyncio.gather(*others), 15)  # or the minute for which one would be kept


async def test_a_call_that_ends_while_another_asks_serves_that(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its permit was kept for a next call, and the other one had been refused for want of it."""
    a, asking, go_on, over = hosts.host(ONE), asyncio.Event(), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(hosts.call(a, until=over))
    await wait_until(lambda: hosts.has_held(1))
    acquire = Book.acquire

    async def slowly(book: Book, ticket: str, tokens: int) -> Any:
        found = await acquire(book, ticket, tokens)
        asking.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(Book, "acquire", slowly)
    second = asyncio.create_task(hosts.call(a))
    await asking.wait()
    over.set()
    await first
    assert await hosts.held() == 1, "kept"
    go_on.set()
    await second
