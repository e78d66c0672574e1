"""What the checker reads: rows of the ledger, what Redis holds, what the handlers wrote down. Reads, judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import redis.asyncio as redis

Row = Mapping[str, Any]


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
    """(what, job, chunk) -> how often: start, done, failed, cut."""
    stream: int = 0
    delayed: int = 0
    pending: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)
    """Key -> its lifetime in seconds, -1 when it has none."""
    views: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Job -> its fast view."""


async def read(dsn: str, redis_url: str, stream: str, group: str, runs: Path) -> Facts:
    """Return the facts; the product's workers have ended."""
    facts = Facts(runs=_runs(runs))
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
    await read_redis(facts, redis_url, stream, group)
    return facts


async def read_redis(facts: Facts, url: str, stream: str, group: str) -> None:
    """Read what Redis holds."""
    client = redis.Redis.from_url(url)
    try:
        await _fill(facts, client, stream, group)
    finally:
        await client.aclose()


async def _fill(facts: Facts, client: redis.Redis, stream: str, group: str) -> None:
    facts.stream = await client.xlen(stream)
    facts.delayed = await client.zcard(f"{stream}:delayed")
    groups = await client.xinfo_groups(stream) if facts.stream or await client.exists(stream) else []
    facts.pending = sum(int(g["pending"]) for g in groups if g["name"].decode() == group)
    lives: dict[str, int] = {}
    views: dict[str, dict[str, str]] = {}
    async for key in client.scan_iter(count=1000):
        name = _text(key)
        lives[name] = int(await client.ttl(key))
        if name.startswith("job:"):
            raw = await client.hgetall(key)
            views[name.removeprefix("job:")] = {_text(k): _text(v) for k, v in raw.items()}
    facts.keys, facts.views = lives, views


def _runs(path: Path) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    if path.exists():
        for line in path.read_text().splitlines():
            what, job_id, chunk_id, _ = line.split("\t")
            found[what, job_id, chunk_id] += 1
    return found


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
