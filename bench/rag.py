"""LightRAG through the queue, beside LightRAG alone at equal settings and with its own defaults, run by run in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import graph
from bench.report import Cost, middle
from bench.stage import Stage, database, fresh

RUNS = 3
TEXTS = 100
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
            for _ in range(RUNS):
                alone = await graph.direct(it.directory, own, TEXTS)
                ours = await graph.queued(it.ledger, it.redis_url, it.directory, options, TEXTS)
                found.setdefault("lightrag_direct", []).append(alone)
                found.setdefault("lightrag_queue", []).append(ours)
                if "lightrag_defaults" in wanted and not suffix:
                    plain = await graph.direct(it.directory, own, TEXTS, "defaults")
                    found.setdefault("lightrag_defaults", []).append(plain)
        _emit(on, {name: middle(costs) for name, costs in found.items()}, suffix)


def _emit(on: Stage, costs: Mapping[str, Cost], suffix: str) -> None:
    """Print the lines; of the defaults also how many times faster the queue is."""
    bare, ours = costs["lightrag_direct"], costs["lightrag_queue"]
    for name, cost in costs.items():
        more: dict[str, Any] = {"cpu_ratio": round(cost.cpu_us / bare.cpu_us, 3), "chunks": cost.chunks}
        if name == "lightrag_defaults":
            more["queue_is_faster"] = round(cost.seconds / ours.seconds, 2)
        ratio = cost.seconds / bare.seconds
        on.report.emit(name + suffix, per_second=cost.per_second, cpu_us=cost.cpu_us, ratio=ratio, **more)
