"""The durable path beside the bare loop and the least a record costs, run by run in turn, at the two batch sizes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from bench import durable, floor, raw
from bench.report import Cost, middle, of_neighbours
from bench.stage import Stage, fresh

CHUNKS = 40_000
RUNS = 5
BATCHES = (100, 10)  # the first is the headline


async def path(on: Stage, wanted: Sequence[str]) -> None:
    """Compare throughput and processor time."""
    bare: dict[int, list[Cost]] = {batch: [] for batch in BATCHES}
    least: dict[int, list[Cost]] = {batch: [] for batch in BATCHES}
    ours: dict[int, list[Cost]] = {batch: [] for batch in BATCHES}
    async with fresh(on) as it:
        for _ in range(RUNS):
            for batch in BATCHES:
                bare[batch].append(await raw.read_and_ack(it.redis_url, CHUNKS, batch))
                least[batch].append(await floor.settle_and_ack(it.redis_url, it.dsn, CHUNKS, batch))
                ours[batch].append(await durable.throughput(it, count=CHUNKS, batch=batch))
    for name, found in (("raw_loop", bare), ("durable_floor", least), ("noop_path", ours)):
        first, second = (_line(batch, found[batch], bare[batch]) for batch in BATCHES)
        on.report.emit(name, **first, batch_10=second)


def _line(batch: int, costs: Sequence[Cost], bare: Sequence[Cost]) -> dict[str, float]:
    cost = middle(costs)
    return {
        "per_second": round(cost.per_second, 1),
        "cpu_us": round(cost.cpu_us, 2),
        "ratio": round(of_neighbours(costs, bare, attrgetter("cpu_us")), 3),
        "batch": batch,
        "chunks": cost.chunks,
    }
