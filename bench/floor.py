"""The least a record in SQL costs: one guarded update of a batch with its event, then the ack, by hand.

No claim, so no fence and nobody who notices a death; no states, counters, tenants or text. A yardstick of the machine:
what it makes is what the disk, PostgreSQL and Redis allow one process that waits for each of its statements.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import asyncpg
import redis.asyncio as redis

from bench.raw import FILL, GROUP
from bench.report import Cost
from orchestrator.sources.redis_stream import publish

STREAM = "bench:floor"
TABLES = """
DROP TABLE IF EXISTS floor_chunks, floor_events;
CREATE TABLE floor_chunks (job_id text, chunk_id text, status text NOT NULL DEFAULT 'queued', ended_at timestamptz,
    PRIMARY KEY (job_id, chunk_id)) WITH (fillfactor = 70);
CREATE TABLE floor_events (event_id bigserial PRIMARY KEY, job_id text, count bigint, at timestamptz DEFAULT now());
"""
SETTLE = """
WITH done AS (
    UPDATE floor_chunks c SET status = 'processed', ended_at = now()
    FROM unnest($1::text[], $2::text[]) AS x (job_id, chunk_id)
    WHERE c.job_id = x.job_id AND c.chunk_id = x.chunk_id AND c.status = 'queued' RETURNING c.job_id
)
INSERT INTO floor_events (job_id, count) SELECT job_id, count(*) FROM done GROUP BY job_id
"""
ACK = "redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2)) return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))"


async def settle_and_ack(redis_url: str, dsn: str, count: int, batch: int) -> Cost:
    """Take `count` references from a stream in batches, write each batch down, and ack it."""
    client: Any = redis.Redis.from_url(redis_url)
    connection = await asyncpg.connect(dsn)
    try:
        job_id = str(uuid4())
        names = [f"chunk-{n:06d}" for n in range(count)]
        await connection.execute(TABLES)
        records = [(job_id, name) for name in names]
        await connection.copy_records_to_table("floor_chunks", records=records, columns=["job_id", "chunk_id"])
        await client.delete(STREAM)
        await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        for first in range(0, count, FILL):
            await publish(client, STREAM, [(job_id, name, "w") for name in names[first : first + FILL]])
        settle, ack = await connection.prepare(SETTLE), client.register_script(ACK)
        done, began, cpu = 0, time.perf_counter(), time.process_time()
        while done < count:
            [(_, entries)] = await client.xreadgroup(GROUP, "c", {STREAM: ">"}, count=batch)
            jobs = [fields[b"job_id"].decode() for _, fields in entries]
            chunks = [fields[b"chunk_id"].decode() for _, fields in entries]
            await settle.fetch(jobs, chunks)
            await ack(keys=[STREAM], args=[GROUP, *(entry_id for entry_id, _ in entries)])
            done += len(entries)
        cost = Cost(done, time.perf_counter() - began, time.process_time() - cpu)
        written = await connection.fetchval("SELECT sum(count) FROM floor_events")
        assert written == count, f"{written} of {count} chunks written down"
        return cost
    finally:
        await connection.close()
        await client.aclose()
