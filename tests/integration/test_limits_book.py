"""The permits as Redis keeps them, asked by a client that asks again when an answer was lost on its way."""

from __future__ import annotations

import pytest
import redis.asyncio as redis

from orchestrator import keys
from orchestrator.limits.book import Book, Ended, Outcome
from orchestrator.limits.scripts import Scripts
from tests.support.hosts import endpoint

ONE = endpoint(ceiling=1, tokens_per_minute=60_000)
SEVERAL = endpoint(tokens_per_minute=60_000)


async def state(client: redis.Redis, name: str) -> float:
    """Return a field of the endpoint's state."""
    found = await client.hget(keys.limit(ONE.id), name)
    return float(found or 0)


async def test_who_asks_again_does_not_wait_for_himself(client: redis.Redis) -> None:
    """He once found his own permit, took it for another's, and waited until its lease of 15 s had ended."""
    book = Book(Scripts(client), ONE)
    first, again = await book.acquire("a", 60), await book.acquire("a", 60)
    assert first.granted and again.granted and (first.used, again.used) == (1, 1)
    assert not (await book.acquire("b", 60)).granted, "it is one permit"
    left = await state(client, "tokens")
    await book.acquire("a", 60)
    assert await state(client, "tokens") == left, "its tokens are taken once"


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.REFUSED])
async def test_what_is_told_again_counts_once(client: redis.Redis, outcome: Outcome) -> None:
    """One answer, one refusal, and what was not used is given back once."""
    book = Book(Scripts(client), SEVERAL)
    granted = await book.acquire("a", 300)
    before = await state(client, "tokens")
    ended = Ended("a", outcome, granted.at, took=0.5, tokens_left=100, earlier=(0.5,))
    for _ in range(2):
        await book.settle(ended)
    assert await state(client, "tokens") == before + 100
    told = (await state(client, "answers"), await state(client, "refused"))
    assert told == ((2, 0) if outcome is Outcome.ANSWERED else (0, 1))  # a decrease begins to count anew
    assert await client.zcard(keys.limit_held(SEVERAL.id)) == 0, "the permit is free"


async def test_a_pause_that_is_asked_for_outlives_what_redis_knew(client: redis.Redis) -> None:
    """Redis was emptied while the call was under way; nobody calls the endpoint before all the same."""
    book = Book(Scripts(client), endpoint())
    granted = await book.acquire("a", 1)
    await client.flushall()
    await book.settle(Ended("a", Outcome.REFUSED, granted.at, took=0.1, blocked_seconds=60))
    reply = await book.acquire("b", 1)
    assert not reply.granted and 50 < reply.blocked_seconds <= 60 and reply.limit == 3


async def test_answers_that_took_equally_long_are_counted_each(client: redis.Redis) -> None:
    """As those of a quick endpoint do, to the millisecond."""
    book = Book(Scripts(client), endpoint(initial=50, ceiling=50))
    for ticket in ("a", "b", "c"):
        granted = await book.acquire(ticket, 1)
        await book.settle(Ended(ticket, Outcome.ANSWERED, granted.at, took=0.003, earlier=(0.003, 0.003)))
    assert await state(client, "answers") == 9
