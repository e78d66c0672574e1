"""Run the benches: `python -m bench [name …]`; all of them when none is named. Starts Redis and PostgreSQL itself."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import asyncpg
import redis.asyncio as redis
import uvloop
from tests.support.servers import postgres_server, redis_server

from bench import durable, graph_rows, raw
from bench.report import Cost, emit, middle, percentiles
from orchestrator.ledger import Ledger
from orchestrator.ledger.schema import migrate

CHUNKS = 40_000
RUNS = 3
BATCHES = (100, 10)  # the first is the headline
JOBS = 200
HOT, LATENCY, LIGHTRAG = {"raw_loop", "noop_path"}, {"start_latency"}, graph_rows.NAMES
NAMES = HOT | LATENCY | LIGHTRAG


async def database(server: str, name: str) -> str:
    """Create a database and return its DSN."""
    admin = await asyncpg.connect(f"{server}/postgres")
    await admin.execute(f'CREATE DATABASE "{name}"')
    await admin.close()
    return f"{server}/{name}"


async def hot_path(ledger: Ledger, dsn: str, redis_url: str, directory: Path) -> None:
    """Compare the durable path with the bare loop, run by run in turn."""
    bare: dict[int, list[Cost]] = {batch: [] for batch in BATCHES}
    ours: dict[int, list[Cost]] = {batch: [] for batch in BATCHES}
    for _ in range(RUNS):
        for batch in BATCHES:
            bare[batch].append(await raw.read_and_ack(redis_url, CHUNKS, batch))
            ours[batch].append(await durable.throughput(ledger, dsn, redis_url, directory, count=CHUNKS, batch=batch))
    for name, found in (("raw_loop", bare), ("noop_path", ours)):
        lines = [_line(batch, middle(found[batch]), middle(bare[batch])) for batch in BATCHES]
        first, second = lines
        emit(name, **first, batch_10=second)


def _line(batch: int, cost: Cost, bare: Cost) -> dict[str, float]:
    return {
        "per_second": round(cost.per_second, 1),
        "cpu_us": round(cost.cpu_us, 2),
        "ratio": round(cost.cpu_us / bare.cpu_us, 3),
        "batch": batch,
        "chunks": cost.chunks,
    }


async def start_latency(ledger: Ledger, dsn: str, redis_url: str, directory: Path) -> None:
    """Compare the time from submission to start with that from XADD to a blocked reader."""
    bare = percentiles(await raw.latencies(redis_url, JOBS))
    found, cost = await durable.latencies(ledger, dsn, redis_url, directory, JOBS)
    ours = percentiles(found)
    ratio = ours["p50_ms"] / bare["p50_ms"]
    emit("start_latency", per_second=cost.per_second, cpu_us=cost.cpu_us, ratio=ratio, **ours, raw=bare)


async def run(names: set[str]) -> None:
    """Run the named benches."""
    with redis_server() as cache, postgres_server() as sql, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        dsn = await database(sql.url, "orchestrator")
        await migrate(dsn)
        ledger = await Ledger.open(dsn)
        try:
            if names & HOT:
                await hot_path(ledger, dsn, cache.url, Path(folder))
            client = redis.Redis.from_url(cache.url)
            await client.flushall()
            await client.aclose()
            if names & LATENCY:
                await start_latency(ledger, dsn, cache.url, Path(folder))
            if names & LIGHTRAG:
                own = await database(sql.url, "lightrag")
                await graph_rows.run(names, ledger, Path(folder), redis_url=cache.url, dsn=dsn, lightrag_dsn=own)
        finally:
            await ledger.close()


def main() -> None:
    """Read the names and run."""
    names = set(sys.argv[1:]) or NAMES
    if unknown := names - NAMES:
        sys.exit(f"bench: no bench {', '.join(sorted(unknown))}; known: {', '.join(sorted(NAMES))}")
    uvloop.run(run(names))


if __name__ == "__main__":
    main()
