"""What the checker reads: rows of the ledger, what Redis holds, what the handlers wrote down. Reads, judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import redis.asyncio as redis

Row = Mapping[str, Any]
WHOLE = "\t."
"""The end of a line in which a handler wrote down a run."""


@dataclass(slots=True)
class Facts:
    """All that is known after a run."""

    jobs: Sequence[Row] = ()
    chunks: Sequence[Row] = ()
    events: Sequence[Row] = ()
    letters: Sequence[Row] = ()
    history: Sequence[Row] = ()
    outbox: int = 0
    pauses: int = 0
    runs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(what, job, chunk) -> how often: start, done, failed, cut. What found the disk full is missing."""
    left: Mapping[str, int] = field(default_factory=dict)
    """What the queue still holds, as its own tools see it."""
    keys: Mapping[str, int] = field(default_factory=dict)
    """Key -> its lifetime in seconds, -1 when it has none."""
    views: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Job -> its fast view."""


async def read(dsn: str, redis_url: str, left: Mapping[str, int], runs: Iterable[Path]) -> Facts:
    """Return the facts; the product's workers have ended. `runs`: what their handlers wrote down."""
    facts = Facts(left=left, runs=_runs(runs))
    connection = await asyncpg.connect(dsn)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)

    async def rows(query: str) -> list[Row]:
        return [dict(row) for row in await connection.fetch(query)]

    facts.jobs = await rows("SELECT * FROM jobs ORDER BY job_id")
    facts.chunks = await rows(
        "SELECT job_id, chunk_id, status, attempts, deliveries, error, content FROM chunks ORDER BY job_id, seq"
    )
    facts.events = await rows("SELECT seq, job_id, type, data FROM events WHERE job_id IS NOT NULL ORDER BY seq")
    facts.letters = await rows("SELECT id, job_id, chunk_id, receipt, reason, payload FROM dead_letters")
    facts.history = await rows("SELECT * FROM chaos_history ORDER BY id")
    facts.outbox = await connection.fetchval("SELECT count(*) FROM outbox")
    facts.pauses = await connection.fetchval("SELECT count(*) FROM pauses")
    await connection.close()
    async with redis.Redis.from_url(redis_url) as client:
        await _read_redis(facts, client)
    return facts


async def _read_redis(facts: Facts, client: redis.Redis) -> None:
    lives: dict[str, int] = {}
    views: dict[str, dict[str, str]] = {}
    async for key in client.scan_iter(count=1000):
        name = _text(key)
        lives[name] = int(await client.ttl(key))
        if name.startswith("job:"):
            raw = await client.hgetall(key)
            views[name.removeprefix("job:")] = {_text(k): _text(v) for k, v in raw.items()}
    facts.keys, facts.views = lives, views


def _runs(paths: Iterable[Path]) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for path in paths:
        for line in path.read_text().splitlines() if path.exists() else ():
            if line.endswith(WHOLE):  # the end of one may not have found room on the disk
                what, job_id, chunk_id, _ = line.removesuffix(WHOLE).split("\t")
                found[what, job_id, chunk_id] += 1
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
