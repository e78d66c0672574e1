"""Calls of the limiter's scripts: together in one round trip, whatever else befalls one of them."""

from __future__ import annotations

import asyncio
import signal

import pytest
import redis.asyncio as redis
from redis.exceptions import RedisError, ResponseError

from orchestrator import keys
from orchestrator.limits import scripts as limit_scripts
from orchestrator.limits.book import Book
from orchestrator.limits.scripts import Scripts
from orchestrator.sources.redis_client import connect
from tests.support.calls import calls_of
from tests.support.hosts import endpoint
from tests.support.servers import redis_server
from tests.support.wait import wait_until

HELD = keys.limit_held(endpoint().id)


async def renew(scripts: Scripts, ticket: str) -> None:
    """Call one of the scripts."""
    await scripts.call("renew", [HELD], [60_000, ticket])


async def test_calls_that_come_together_are_one_round_trip(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty were forty, on forty connections."""
    scripts = Scripts(client)
    await renew(scripts, "first")
    sent = calls_of(monkeypatch, Scripts, "_send")
    await asyncio.gather(*(renew(scripts, f"t{n}") for n in range(40)))
    assert sent.begun == 1
    assert await client.zcard(HELD) == 41


async def test_who_comes_while_one_is_under_way_goes_with_the_next(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten that come one after another need two; and none overtakes another, on whatever connection."""
    scripts = Scripts(client)
    await renew(scripts, "first")
    sent, tasks = calls_of(monkeypatch, Scripts, "_send"), []
    for n in range(10):
        tasks.append(asyncio.create_task(renew(scripts, f"t{n}")))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert sent.begun <= 5, "many less than ten, however the loop's turns fell"


async def test_a_redis_that_forgot_the_scripts_is_told_them_again(client: redis.Redis) -> None:
    """As after each of its starts."""
    scripts = Scripts(client)
    await renew(scripts, "a")
    await client.script_flush()
    await asyncio.gather(*(renew(scripts, f"t{n}") for n in range(3)))
    assert await client.zcard(HELD) == 4


async def test_a_call_that_is_refused_fails_alone(client: redis.Redis) -> None:
    """Also when the script had to be loaded first."""
    scripts = Scripts(client)
    await client.set("text", "no sorted set")
    for _ in range(2):
        await client.script_flush()
        wrong = scripts.call("renew", ["text"], [60_000, "a"])
        found = await asyncio.gather(wrong, renew(scripts, "b"), return_exceptions=True)
        assert isinstance(found[0], ResponseError) and found[1] is None


async def test_a_caller_that_is_cancelled_takes_nobody_with_it(client: redis.Redis) -> None:
    """The round trip is everybody's."""
    scripts = Scripts(client)
    tasks = [asyncio.create_task(renew(scripts, f"t{n}")) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(f) for f in found] == [type(None), asyncio.CancelledError, type(None)]
    await renew(scripts, "after")


async def test_a_dead_redis_is_found_out_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks while the first round trip fails is not made to find out by another one."""
    with redis_server() as server:
        client = connect(server.url)
        scripts = Scripts(client)
        await renew(scripts, "a")
        server.kill()
        sent = calls_of(monkeypatch, Scripts, "_send")
        first = asyncio.create_task(renew(scripts, "b"))
        await asyncio.sleep(0)
        found = await asyncio.gather(first, *(renew(scripts, "c") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(f, (RedisError, OSError)) for f in found) and sent.begun == 1
        server.start()

        async def answers() -> bool:
            try:
                await renew(scripts, "d")
            except (RedisError, OSError):
                return False
            return True

        await wait_until(answers)
        await client.aclose()


async def test_an_answer_that_comes_too_late_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is stopped for longer than it is waited for: the next call gets its own answer, not the former's."""
    with redis_server() as server:
        client = connect(server.url)
        scripts, book = Scripts(client), Book(Scripts(client), endpoint())
        await book.acquire("a", 1)
        await renew(scripts, "a")
        monkeypatch.setattr(limit_scripts, "ANSWER_SECONDS", 0.1)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await scripts.call("settle", [keys.limit(endpoint().id), HELD], ["a", "nothing", 0, "", 0, 0, 0, 16, 60])
        server.process.send_signal(signal.SIGCONT)
        monkeypatch.setattr(limit_scripts, "ANSWER_SECONDS", 5.0)
        assert await scripts.call("renew", [HELD], [60_000, "b"]) is None, "a settle answers with a list"
        assert (await book.acquire("c", 1)).granted
        await client.aclose()
