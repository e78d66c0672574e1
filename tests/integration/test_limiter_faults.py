"""The limiter when workers die and Redis does: no permit is lost for good, and no call fails for want of Redis."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import redis.asyncio as redis

from orchestrator.errors import ThrottledError
from orchestrator.limits import book, limiter, local, scripts
from orchestrator.limits.limiter import Limiter
from orchestrator.limits.scripts import Scripts
from orchestrator.sources.redis_client import connect
from tests.support.calls import calls_of
from tests.support.hosts import Hosts, endpoint
from tests.support.servers import Server, redis_server
from tests.support.wait import wait_until


@pytest.fixture
async def hosts(redis_url: str) -> AsyncIterator[Hosts]:
    """A cluster."""
    async with AsyncExitStack() as stack:
        yield Hosts(redis_url, stack)


async def test_permits_of_a_killed_worker_come_back(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives them back: their leases end. A live worker's are renewed for as long as its calls take."""
    for module in (book, limiter):
        monkeypatch.setattr(module, "LEASE_SECONDS", 5.0)
    dead, alive = hosts.host(endpoint(ceiling=2)), hosts.host(endpoint(ceiling=2))
    killed = dead.permit(1, patience=5)
    await killed.__aenter__()
    assert dead._keeper is not None
    dead._keeper.cancel()  # a killed process renews nothing
    lapsing = await hosts.leases()
    over, said = asyncio.Event(), list[str]()
    slow = asyncio.create_task(hosts.call(alive, until=over))
    await wait_until(lambda: hosts.has_held(2))
    [ticket] = (first := await hosts.leases()).keys() - lapsing.keys()
    async with alive.permit(1, patience=20, waiting=said.append):
        assert said, "it waited for the lease"
        assert not slow.done(), "and not for the slow call"

    async def renewed() -> bool:
        return (await hosts.leases()).get(ticket, 0.0) > first[ticket]

    await wait_until(renewed)
    over.set()
    await slow


async def test_a_cancelled_wait_and_a_cancelled_call_leave_nothing(hosts: Hosts) -> None:
    """At whatever moment the cancellation comes."""
    host = hosts.host()
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.005, 0.02) * 4:
        tasks = [asyncio.create_task(hosts.call(host, seconds=0.01)) for _ in range(10)]
        await asyncio.sleep(delay)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until(hosts.nothing_held)
    await hosts.call(host)


async def test_an_emptied_redis_starts_again(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls under way are counted again as soon as their permits are renewed; nobody hangs."""
    for module in (book, limiter):
        monkeypatch.setattr(module, "LEASE_SECONDS", 3.0)
    a, b = hosts.host(), hosts.host()
    over = asyncio.Event()
    slow = [asyncio.create_task(hosts.call(a, until=over)) for _ in range(3)]
    await wait_until(lambda: hosts.has_held(3))
    waiting = asyncio.create_task(hosts.call(b))
    await hosts.client.flushall()
    await waiting
    await wait_until(lambda: hosts.has_held(3), what="the renewal of what was forgotten")
    over.set()
    await asyncio.gather(*slow)
    await wait_until(hosts.nothing_held)
    assert await hosts.state("limit") == "3"


async def test_a_dead_redis_stops_no_call(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Calls go on under the process's own limit, which is said once; when Redis is back, the limit is shared again."""
    monkeypatch.setattr(limiter, "AWAY_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "orchestrator.limits")
    with redis_server() as server:
        async with AsyncExitStack() as stack:
            hosts = Hosts(server.url, stack)
            a = hosts.host()
            await hosts.call(a)
            over = asyncio.Event()
            under_way = asyncio.create_task(hosts.call(a, until=over))
            await wait_until(lambda: hosts.has_held(1))
            server.kill()
            await asyncio.gather(*(hosts.call(a) for _ in range(20)))
            over.set()
            await under_way
            assert hosts.most <= 3
            assert [r.message for r in caplog.records if "away" in r.message] == [
                "Redis is away: model calls are limited by each process alone"
            ]
            server.start()

            async def shared_again() -> bool:
                await hosts.call(a)
                return any("back" in r.message for r in caplog.records)

            await wait_until(shared_again)
            await wait_until(hosts.nothing_held)


async def test_a_silent_redis_holds_a_call_up_only_for_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped, and answers nothing: the first call finds that out for all."""
    with redis_server() as server:
        async with AsyncExitStack() as stack:
            hosts = Hosts(server.url, stack)
            a = hosts.host()
            await hosts.call(a)
            await wait_until(hosts.nothing_held)
            monkeypatch.setattr(scripts, "ANSWER_SECONDS", 0.2)
            monkeypatch.setattr(limiter, "AWAY_SECONDS", 1000)
            asked = calls_of(monkeypatch, book.Book, "acquire")
            _signal(server, "SIGSTOP")
            try:
                for _ in range(10):
                    await hosts.call(a)
                assert asked.begun == 1
            finally:
                _signal(server, "SIGCONT")


def _signal(server: Server, name: str) -> None:
    assert server.process is not None
    server.process.send_signal(getattr(signal, name))


async def test_alone_it_goes_by_the_same_rules(redis_url: str) -> None:
    """A process without Redis, as in a test of a handler."""
    alone = Limiter(endpoint(initial=8, ceiling=8, requests_per_minute=6000))
    most, under_way = 0, 0

    async def call(refuse: bool = False) -> None:
        nonlocal most, under_way
        async with alone.permit(5, patience=10) as permit:
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            permit.refused() if refuse else permit.answered(5)

    await asyncio.gather(*(call(refuse=True) for _ in range(8)))
    assert most == 8
    most = 0
    await asyncio.gather(*(call() for _ in range(8)))
    assert most in {4, 5}
    async with alone.permit(5, patience=1) as permit:
        permit.refused(60)
    with pytest.raises(ThrottledError):
        async with alone.permit(5, patience=1):
            pass
    await alone.close()
    assert isinstance(local.LocalBook(endpoint()).limit, int)


async def test_a_redis_that_refuses_the_user_is_a_redis_that_is_away(redis_url: str) -> None:
    """An ACL of before the upgrade: the calls are made all the same."""
    client = redis.Redis.from_url(redis_url)
    await client.acl_setuser("narrow", enabled=True, nopass=True, keys=["job:*"], commands=["+@all"])
    narrow = connect(redis_url.replace("redis://", "redis://narrow:x@"))
    alone = Limiter(endpoint(), Scripts(narrow))
    async with alone.permit(1, patience=2) as permit:
        permit.answered(1)
    await alone.close()
    await narrow.aclose()
    await client.acl_deluser("narrow")
    await client.aclose()
