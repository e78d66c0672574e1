"""The limiter over a real Redis: shared by all hosts, in order, within its caps, and seen by operators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from orchestrator import keys
from orchestrator.errors import ThrottledError
from orchestrator.limits.view import limits_of
from tests.support.hosts import Hosts, endpoint
from tests.support.wait import wait_until


@pytest.fixture
async def hosts(redis_url: str) -> AsyncIterator[Hosts]:
    """A cluster."""
    async with AsyncExitStack() as stack:
        yield Hosts(redis_url, stack)


async def test_two_hosts_share_one_limit(hosts: Hosts) -> None:
    """Forty calls of two processes, and never more than three at once."""
    a, b = hosts.host(), hosts.host()
    await asyncio.gather(*(hosts.call(host) for host in (a, b) for _ in range(20)))
    assert hosts.most == 3
    await wait_until(hosts.nothing_held)


async def test_who_waits_is_served_in_order(hosts: Hosts) -> None:
    """Across hosts: a busy one does not push in before the other."""
    a, b = hosts.host(endpoint(ceiling=1)), hosts.host(endpoint(ceiling=1))
    order: list[int] = []

    async def one(number: int) -> None:
        async with (a if number % 2 else b).permit(1, patience=20):
            order.append(number)

    tasks = []
    async with a.permit(1, patience=20):  # until all have their ticket
        for number in range(8):
            tasks.append(asyncio.create_task(one(number)))
            await wait_until(lambda n=number: _tickets(hosts, n + 1))  # type: ignore[misc]
    await asyncio.gather(*tasks)
    assert order == list(range(8))


async def _tickets(hosts: Hosts, number: int) -> bool:
    return await hosts.state("tickets") == str(number)


async def test_a_retry_after_blocks_the_endpoint_for_all_hosts(hosts: Hosts) -> None:
    """Nobody asks again before; what waits says why, and for how long."""
    a, b = hosts.host(), hosts.host()
    async with a.permit(1, patience=5) as permit:
        permit.refused(60)
    await wait_until(hosts.is_blocked)
    said = list[str]()

    async def call() -> None:
        async with b.permit(1, patience=90, waiting=said.append):
            assert said

    async def told() -> bool:
        return bool(said)

    waiting = asyncio.create_task(call())
    await wait_until(told)
    assert said[0].startswith("waiting for the model limiter (llm: throttled for") and not waiting.done()
    await hosts.client.hset(keys.limit(endpoint().id), "blocked", "0")  # the block is over
    await waiting


async def test_a_wait_that_would_be_too_long_is_not_begun(hosts: Hosts) -> None:
    """The caller hears at once when to come again, and its place is free."""
    a = hosts.host()
    async with a.permit(1, patience=5) as permit:
        permit.refused(120)
    await wait_until(hosts.is_blocked)
    began = time.monotonic()
    with pytest.raises(ThrottledError, match="again in 1") as raised:
        async with a.permit(1, patience=60):
            pass
    assert time.monotonic() - began < 30 and 100 < raised.value.delay_seconds <= 120
    await wait_until(hosts.nothing_held)


async def test_a_wait_ends_with_its_patience(hosts: Hosts) -> None:
    """Somebody holds the only permit for longer."""
    a = hosts.host(endpoint(ceiling=1))
    async with a.permit(1, patience=5):
        with pytest.raises(ThrottledError, match="1 of 1 calls under way"):
            async with a.permit(1, patience=3):
                pass
    assert a.stalled_seconds > 0.1
    await wait_until(hosts.nothing_held)


async def test_refusals_lower_the_limit_and_answers_raise_it(hosts: Hosts) -> None:
    """For all hosts: what one learns, the others know."""
    wide = endpoint(ceiling=20, initial=8)
    a, b = hosts.host(wide), hosts.host(wide)
    async with AsyncExitStack() as stack:
        for _ in range(8):
            (await stack.enter_async_context(a.permit(1, patience=5))).refused()
    await wait_until(lambda: _limit(hosts, 4))
    await asyncio.gather(*(hosts.call(b, seconds=0.01) for _ in range(40)))
    await wait_until(hosts.nothing_held)
    assert 5 <= int(await hosts.state("limit")) <= 8
    assert await hosts.state("refused") == "8"


async def _limit(hosts: Hosts, limit: int) -> bool:
    return await hosts.state("limit") == str(limit)


@pytest.mark.parametrize("caps", [{"requests_per_minute": 600}, {"tokens_per_minute": 6000}])
async def test_caps_per_minute_hold_for_all_hosts_together(hosts: Hosts, caps: dict[str, int]) -> None:
    """Ten a second after the first sixty: what goes through in two seconds is counted."""
    capped = endpoint(ceiling=50, initial=50, **caps)
    a, b = hosts.host(capped), hosts.host(capped)
    began, calls = time.monotonic(), 75
    await asyncio.gather(*(hosts.call((a, b)[i % 2], seconds=0, tokens=10) for i in range(calls)))
    took = time.monotonic() - began
    assert took >= (calls - 60) / 9 * 0.9, "nine a second are refilled once the first sixty are spent"
    assert took < 15


async def test_tokens_that_were_not_used_are_given_back(hosts: Hosts) -> None:
    """An estimate is one: the caps count what the endpoint says it used."""
    capped = endpoint(ceiling=5, initial=5, tokens_per_minute=1000)
    a = hosts.host(capped)
    for _ in range(5):
        async with a.permit(100, patience=5) as permit:
            permit.answered(0)
        await wait_until(hosts.nothing_held)
    async with a.permit(1, patience=5) as permit:
        permit.answered(200)  # and used more than it said: the next one waits for it
    await wait_until(hosts.nothing_held)
    with pytest.raises(ThrottledError, match="cap per minute"):
        async with a.permit(100, patience=1):
            pass


async def test_every_key_has_a_lifetime(hosts: Hosts) -> None:
    """An endpoint nobody calls any more leaves nothing in Redis."""
    a = hosts.host(endpoint(ceiling=1))
    async with a.permit(1, patience=5):
        waiting = asyncio.create_task(hosts.call(a))
        await wait_until(hosts.has_waiting)
        names = [name.decode() for name in await hosts.client.keys("*") if isinstance(name, bytes)]
        assert len(names) == 5 and all(name.startswith("limit:") for name in names)
        for name in names:
            assert 0 < await hosts.client.ttl(name) <= 3600, name
    await waiting


async def test_an_operator_sees_what_waits_and_why(hosts: Hosts) -> None:
    """Without the credentials that a URL may hold."""
    a = hosts.host(endpoint(ceiling=1, requests_per_minute=600))
    async with a.permit(1, patience=5) as permit:
        waiting = asyncio.create_task(hosts.call(a))
        await wait_until(hosts.has_waiting)
        (found,) = await limits_of(hosts.client)
        assert (found.kind, found.url, found.model) == ("llm", "http://host:1/v1", "m")
        assert (found.limit, found.ceiling, found.in_use, found.waiting) == (1, 1, 1, 1)
        assert (found.requests_per_minute, found.throttled_until) == (600, None)
        permit.refused(60)  # longer than who waits has patience
    await wait_until(hosts.is_blocked)
    (found,) = await limits_of(hosts.client)
    assert found.throttled_until is not None and found.refused == 1
    with pytest.raises(ThrottledError):
        await waiting


async def test_keys_of_another_endpoint_are_others() -> None:
    """One limiter a model and server; the host that asks plays no part."""
    assert endpoint().id == endpoint(ceiling=9).id
    assert len({endpoint().id, endpoint(model="n").id, endpoint(kind="embedding").id, endpoint(url="http://x").id}) == 4
