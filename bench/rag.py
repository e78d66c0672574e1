"""LightRAG through the queue, beside LightRAG alone at equal settings and with its own defaults, run by run in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from bench import graph
from bench.report import Cost, middle, of_neighbours
from bench.stage import Stage, database, fresh

RUNS = 7
RUNS_SLOW = 3  # they wait for the model most of the time, and so differ little
TEXTS = 200  # of half as many the processor time differs by a third from run to run
TEXTS_SLOW = 100
SLOW, SECONDS = "_1s", 1.0  # a language model whose calls take a second
NAMES = ("lightrag_direct", "lightrag_queue", "lightrag_defaults", "lightrag_direct_1s", "lightrag_queue_1s")


async def compare(on: Stage, wanted: Sequence[str]) -> None:
    """Compare the time of the same list, with a model that answers at once and with a slow one."""
    own = await database(on.postgres.url, "lightrag")
    for suffix, seconds in (("", 0.0), (SLOW, SECONDS)):
        if not any(name.endswith(SLOW) == bool(suffix) for name in wanted):
            continue
        found: dict[str, list[Cost]] = {}
        async with fresh(on) as it, graph.model(seconds) as port:
            where: dict[str, Any] = {"redis_url": it.redis_url, "dsn": it.dsn, "lightrag_dsn": own, "model_port": port}
            options = graph.settings(it.directory, **where)
            count = TEXTS_SLOW if suffix else TEXTS
            runs: dict[str, Callable[[], Awaitable[Cost]]] = {
                "lightrag_direct": partial(graph.direct, it.directory, own, count),
                "lightrag_queue": partial(graph.queued, it.ledger, it.redis_url, it.directory, options, count),
            }
            if "lightrag_defaults" in wanted and not suffix:
                runs["lightrag_defaults"] = partial(graph.direct, it.directory, own, count, "defaults")
            for n in range(RUNS_SLOW if suffix else RUNS):
                for name in list(runs)[:: -1 if n % 2 else 1]:
                    found.setdefault(name, []).append(await runs[name]())
        _emit(on, found, suffix)


def _emit(on: Stage, found: Mapping[str, Sequence[Cost]], suffix: str) -> None:
    """Print the lines; of the defaults also how many times faster the queue is."""
    bare, wall, cpu = found["lightrag_direct"], attrgetter("seconds"), attrgetter("cpu_us")
    for name, costs in found.items():
        cost = middle(costs)
        more: dict[str, Any] = {"cpu_ratio": round(of_neighbours(costs, bare, cpu), 3), "chunks": cost.chunks}
        if name == "lightrag_defaults":
            more["queue_is_faster"] = round(of_neighbours(costs, found["lightrag_queue"], wall), 2)
        ratio = of_neighbours(costs, bare, wall)
        on.report.emit(name + suffix, per_second=cost.per_second, cpu_us=cost.cpu_us, ratio=ratio, **more)
