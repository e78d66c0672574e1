"""What the lines must keep to, where the project has set itself a target: key of the line -> rule. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

COMPARE: Mapping[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}

# Where the target is a word, it is a number here: constant memory is 32 MB more at most, flat 15 %, near-linear 25 %.
LIMITS: Mapping[str, Mapping[str, str]] = {
    "noop_path": {"per_second": ">= 30000", "ratio": "<= 3", "batch_10.per_second": ">= 10000"},
    "start_latency": {"p99_ms": "<= 20"},
    "lightrag_queue": {"ratio": "<= 1.05"},
    "lightrag_queue_1s": {"ratio": "<= 1.05"},
    "lightrag_defaults": {"queue_is_faster": ">= 1.5"},
    "ingest": {"per_second": ">= 5000", "job_100000_seconds": "<= 10", "job_growth_mb": "<= 32"},
    "progress_read": {"p99_ms": "<= 10", "per_second": ">= 10000"},
    "flat_queue": {"ratio": "<= 1.35", "rss_ratio": "<= 1.15"},  # 1.15 / 0.85: worst against best of ± 15 %
    "workers_2": {"ratio": "<= 1.25"},
    "workers_4": {"ratio": "<= 1.25"},
}


def met(line: Mapping[str, Any], rules: Mapping[str, str]) -> bool:
    """Return whether a line keeps to all its rules. A value that is not there breaks them."""
    return all(_holds(_find(line, key), rule) for key, rule in rules.items())


def _find(line: Any, key: str) -> Any:
    """Return the value of a key; a dot leads into an object inside."""
    for part in key.split("."):
        line = line.get(part) if isinstance(line, Mapping) else None
    return line


def _holds(value: Any, rule: str) -> bool:
    sign, number = rule.split()
    return isinstance(value, int | float) and COMPARE[sign](value, float(number))
