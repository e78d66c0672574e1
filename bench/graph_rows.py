"""The rows about LightRAG: through the queue, alone at equal settings, and alone with its own defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench import graph
from bench.report import Cost, emit, middle
from orchestrator.ledger import Ledger

TEXTS = 100
RUNS = 3
SECONDS = 1.0  # a call of the language model that is none of the instant ones
NAMES = {"lightrag_direct", "lightrag_queue", "lightrag_defaults", "lightrag_direct_1s", "lightrag_queue_1s"}


async def run(names: set[str], ledger: Ledger, directory: Path, *, redis_url: str, dsn: str, lightrag_dsn: str) -> None:
    """Measure what is named, each with what it is compared with, run by run in turn."""
    for suffix, seconds in (("", 0.0), ("_1s", SECONDS)):
        if not {name for name in names & NAMES if name.endswith("_1s") == bool(suffix)}:
            continue
        found: dict[str, list[Cost]] = {}
        async with graph.model(seconds) as port:
            options = graph.settings(
                directory, redis_url=redis_url, dsn=dsn, lightrag_dsn=lightrag_dsn, model_port=port
            )
            for _ in range(RUNS):
                alone = await graph.direct(directory, lightrag_dsn, TEXTS)
                ours = await graph.queued(ledger, redis_url, directory, options, TEXTS)
                found.setdefault("lightrag_direct", []).append(alone)
                found.setdefault("lightrag_queue", []).append(ours)
                if "lightrag_defaults" in names and not suffix:
                    plain = await graph.direct(directory, lightrag_dsn, TEXTS, "defaults")
                    found.setdefault("lightrag_defaults", []).append(plain)
        _emit({name: middle(costs) for name, costs in found.items()}, suffix)


def _emit(costs: Mapping[str, Cost], suffix: str) -> None:
    """Print the lines; of the defaults also how many times faster the queue is."""
    bare, ours = costs["lightrag_direct"], costs["lightrag_queue"]
    for name, cost in costs.items():
        more = {"queue_is_faster": round(cost.seconds / ours.seconds, 2)} if name == "lightrag_defaults" else {}
        ratio, cpu_ratio = cost.seconds / bare.seconds, round(cost.cpu_us / bare.cpu_us, 3)
        emit(
            name + suffix,
            per_second=cost.per_second,
            cpu_us=cost.cpu_us,
            ratio=ratio,
            cpu_ratio=cpu_ratio,
            chunks=cost.chunks,
            **more,
        )
