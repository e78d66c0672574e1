"""The Redis Stream source against a real Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis.asyncio as redis

from orchestrator.deliveries import Delivery
from orchestrator.errors import DependencyError
from orchestrator.sources.redis_stream import RedisStreamSource, publish

LEASE = 3600.0
A, B = "h-x-0", "h-x-1"


@pytest.fixture
async def source(client: redis.Redis) -> RedisStreamSource:
    """A source with two consumers."""
    made = RedisStreamSource(client, stream="q", group="g", lease_seconds=LEASE)
    await made.open([A, B])
    return made


async def put(client: redis.Redis, count: int) -> None:
    """Publish chunks c0, c1, …"""
    await publish(client, "q", [("job", f"c{i}", "w") for i in range(count)])


async def times_delivered(client: redis.Redis) -> list[int]:
    """Return Redis's own delivery counts of what is pending."""
    rows: Any = await client.xpending_range("q", "g", "-", "+", 100)
    return [row["times_delivered"] for row in rows]


async def test_x35_what_was_queued_before_the_group_is_served(client: redis.Redis) -> None:
    """A group made at `$` loses it."""
    await put(client, 2)
    late = RedisStreamSource(client, stream="q", group="g", lease_seconds=LEASE)
    await late.open([A])
    await late.open([A])
    assert [d.chunk_id for d in await late.claim(A, 10, 0.05)] == ["c0", "c1"]


async def test_x11_consumers_are_registered_before_any_read(source: RedisStreamSource) -> None:
    """XINFO shows every slot as soon as the worker is ready."""
    assert [(c.name, c.pending) for c in await source.consumers()] == [(A, 0), (B, 0)]


async def test_x33_acked_entries_leave_the_stream(client: redis.Redis, source: RedisStreamSource) -> None:
    """XACK alone frees nothing."""
    await put(client, 3)
    await source.ack(await source.claim(A, 10, 0.05))
    assert await client.xlen("q") == 0 and await times_delivered(client) == []


async def test_x33_only_acked_entries_leave_the_stream(client: redis.Redis, source: RedisStreamSource) -> None:
    """Of what ends out of its order, and beside entries in other hands and such as nobody has read yet."""
    await put(client, 8)
    first, second = await source.claim(A, 3, 0.05), await source.claim(B, 3, 0.05)
    for delivery in (*first, *second):
        delivery.lease_token = 1
    steps = [([second[1]], "c0 c1 c2 c3 c5 c6 c7"), ([first[0], second[0]], "c1 c2 c5 c6 c7"),
             ([first[1], first[2]], "c5 c6 c7"), ([second[2]], "c6 c7")]  # fmt: skip
    for acked, left in steps:
        await source.ack(acked)
        found: Any = await client.xrange("q")
        assert " ".join(fields[b"chunk_id"].decode() for _, fields in found) == left
    assert [d.chunk_id for d in await source.claim(A, 10, 0.05)] == ["c6", "c7"]


async def test_a_late_ack_takes_nothing_from_whoever_is_at_work(client: redis.Redis, source: RedisStreamSource) -> None:
    """A worker finds a chunk in other hands, and is stopped for longer than a lease before it acks its own entry of it.

    Another one has taken that entry over by then, and with it the chunk.
    """
    await put(client, 1)
    (stopped,) = await source.claim(A, 10, 0.05)
    await age(client, stopped, 2 * LEASE)
    (taken,) = await source.recover(B, 10)
    await source.ack([stopped])
    assert await client.xlen("q") == 1
    taken.lease_token = 1  # the ledger's
    await source.ack([taken])
    assert await client.xlen("q") == 0


@pytest.mark.parametrize("way", ["release", "retry", "pass"])
async def test_what_is_carried_out_late_ends_no_later_delivery(
    client: redis.Redis, source: RedisStreamSource, way: str
) -> None:
    """Sent, and held up in a cut: by then the entry was delivered again, to the same consumer, who works under it."""
    await put(client, 1)
    await source.recover(A, 10)
    (late,) = await source.claim(A, 10, 0.05)
    await age(client, late, 2 * LEASE)
    (again,) = await source.recover(A, 10)
    for delivery, left in ((late, 1), (again, 0)):
        if way == "pass":
            await source.ack([delivery])
        elif way == "retry":
            await source.retry([(delivery, 3600)])
        else:
            await source.release([delivery])
        assert await client.xlen("q") - (await client.xinfo_groups("q"))[0]["pending"] == (
            way == "release" and not left
        )
        assert (await client.xinfo_groups("q"))[0]["pending"] == left


async def idle(client: redis.Redis) -> float:
    """Return for how many seconds nobody has renewed what is pending."""
    (row,) = await client.xpending_range("q", "g", "-", "+", 100)
    return float(row["time_since_delivered"]) / 1000


async def age(client: redis.Redis, held: Delivery, seconds: float) -> None:
    """Let it look as if nobody had renewed it for so long."""
    await client.xclaim("q", "g", held.consumer, 0, [held.receipt], idle=int(seconds * 1000), justid=True)


async def test_a_renewed_lease_is_kept_and_counts_no_delivery(client: redis.Redis, source: RedisStreamSource) -> None:
    """Past twice its length nobody takes it over; without renewal somebody does, and the loser hears of it."""
    await put(client, 1)
    await source.recover(B, 10)
    held = await source.claim(A, 10, 0.05)
    for _ in range(3):
        await age(client, held[0], 0.9 * LEASE)
        assert await idle(client) >= 0.9 * LEASE
        assert await source.renew(held) == [] and await idle(client) < 0.1 * LEASE
        assert await source.recover(B, 10) == []
    assert await times_delivered(client) == [1]
    await age(client, held[0], 1.1 * LEASE)
    taken = await source.recover(B, 10)
    assert [d.receipt for d in taken] == [held[0].receipt]
    assert await source.renew(held) == held


async def test_entries_of_a_former_life_come_back_at_once(client: redis.Redis, source: RedisStreamSource) -> None:
    """A restarted worker need not wait for its own lease to run out."""
    await put(client, 2)
    await source.claim(A, 10, 0.05)
    again = RedisStreamSource(client, stream="q", group="g", lease_seconds=3600)
    await again.open([A, B])
    assert len(await again.recover(A, 10)) == 2


async def test_a_former_life_is_read_again_when_redis_goes_away_in_the_middle(
    client: redis.Redis, source: RedisStreamSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entries were read and not yet handed out: they come with the next call, not when their lease has run out."""
    await put(client, 2)
    await source.claim(A, 10, 0.05)
    again = RedisStreamSource(client, stream="q", group="g", lease_seconds=3600)
    await again.open([A, B])

    async def away(*_: Any, **__: Any) -> Any:
        raise ConnectionError

    with monkeypatch.context() as patched, pytest.raises(DependencyError):
        patched.setattr(client, "evalsha", away)
        await again.recover(A, 10)
    assert [d.handle for d in await again.recover(A, 10)] == [3, 3]


async def test_x47_the_depth_counts_what_waits_and_nothing_that_has_ended(
    client: redis.Redis, source: RedisStreamSource
) -> None:
    """A retry is not early; given back twice by one receipt it is still one. XLEN alone counted what was acked."""
    await put(client, 1)
    held = await source.claim(A, 10, 0.05)
    await source.retry([(held[0], 3600)])
    await source.retry([(held[0], 3600)])
    await source.recover(A, 10)
    assert await source.claim(A, 10, 0.05) == [] and await source.depth() == 1
    found: Any = await client.zrange("q:delayed", 0, -1, withscores=True)
    ((waiting, due_ms),) = found
    assert 3000 < due_ms / 1000 - time.time() <= 3600
    await client.zadd("q:delayed", {waiting: 0}, xx=True)  # its time has come
    await source.recover(A, 10)
    again = await source.claim(A, 10, 0.05)
    assert [d.chunk_id for d in again] == ["c0"]
    assert await client.zcard("q:delayed") == 0 and await source.depth() == 1
    await source.ack(again)
    assert await source.depth() == 0


async def test_release_and_bury(client: redis.Redis, source: RedisStreamSource) -> None:
    """Released at once for anybody; buried with its reason, and out of the way."""
    await put(client, 1)
    await source.release(await source.claim(A, 10, 0.05))
    held = await source.claim(B, 10, 0.05)
    assert [d.chunk_id for d in held] == ["c0"]
    await source.bury([(held[0], "no good")])
    assert await source.depth() == 0
    found: Any = await client.xrange("q:dead")
    (dead,) = found
    assert dead[1][b"dead_reason"] == b"no good" and dead[1][b"chunk_id"] == b"c0"


async def test_x48_only_consumers_that_hold_nothing_are_removed(client: redis.Redis, source: RedisStreamSource) -> None:
    """DELCONSUMER drops what is pending."""
    await put(client, 1)
    await source.claim(A, 1, 0.05)
    assert await source.retire([A, B, "nobody"]) == [B]
    assert [(c.name, c.pending) for c in await source.consumers()] == [(A, 1)]


async def test_an_emptied_redis_is_furnished_again(client: redis.Redis, source: RedisStreamSource) -> None:
    """FLUSHALL, then the next call of any kind goes on."""
    await client.flushall()
    assert await source.claim(A, 10, 0.05) == []
    await put(client, 1)
    assert len(await source.claim(B, 10, 0.05)) == 1
