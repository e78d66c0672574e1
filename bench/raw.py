"""The bare thing: a redis-py loop that reads entries and acks them, and knows nothing of jobs."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import asyncpg
import redis.asyncio as redis

from bench.report import Cost
from orchestrator.sources.redis_stream import publish

STREAM, GROUP = "bench:raw", "g"
FILL = 1000


async def read_and_ack(url: str, count: int, batch: int) -> Cost:
    """Read `count` references in batches; ack and delete each batch in one round trip."""
    client: Any = redis.Redis.from_url(url)  # its reply types are unions of every protocol's
    try:
        await client.delete(STREAM)
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        job_id = str(uuid4())
        for first in range(0, count, FILL):
            await publish(client, STREAM, [(job_id, f"chunk-{n:06d}", "w") for n in range(first, first + FILL)])
        done, began, cpu = 0, time.perf_counter(), time.process_time()
        while done < count:
            [(_, entries)] = await client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=batch)
            ids = [entry_id for entry_id, _ in entries]
            async with client.pipeline(transaction=True) as pipe:
                pipe.xack(STREAM, GROUP, *ids)
                pipe.xdel(STREAM, *ids)
                await pipe.execute()
            done += len(ids)
        return Cost(done, time.perf_counter() - began, time.process_time() - cpu)
    finally:
        await client.aclose()


async def latencies(url: str, count: int) -> list[float]:
    """Return seconds from XADD to a blocked reader having the entry, one entry at a time."""
    reader: Any = redis.Redis.from_url(url)
    writer = redis.Redis.from_url(url)
    found: list[float] = []
    try:
        await writer.delete(STREAM)
        await writer.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        for _ in range(count):
            waiting = asyncio.create_task(reader.xreadgroup(GROUP, "c", {STREAM: ">"}, count=1, block=5000))
            await asyncio.sleep(0.005)  # until it blocks
            began = time.perf_counter()
            await writer.xadd(STREAM, {"v": 1})
            await waiting
            found.append(time.perf_counter() - began)
    finally:
        await reader.aclose()
        await writer.aclose()
    return found


async def commits(dsn: str, count: int) -> list[float]:
    """Return seconds that PostgreSQL takes to put one row on the disk, one at a time."""
    connection = await asyncpg.connect(dsn)
    found: list[float] = []
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS bench_commits (n int)")
        for n in range(count):
            await asyncio.sleep(0.005)  # as often as the entries above
            began = time.perf_counter()
            await connection.execute("INSERT INTO bench_commits VALUES ($1)", n)
            found.append(time.perf_counter() - began)
    finally:
        await connection.close()
    return found
