"""One JSON line a bench: {"bench", "per_second", "cpu_us", "ratio", …, "limit", "met"}."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from statistics import median
from typing import Any

from bench.limits import LIMITS, met


@dataclass(frozen=True, slots=True)
class Cost:
    """What so many chunks cost: wall time, and processor time of the process that did the work."""

    chunks: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Chunks per second."""
        return self.chunks / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time a chunk."""
        return self.cpu_seconds / self.chunks * 1e6


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the run whose wall time is the median."""
    return sorted(costs, key=lambda c: c.seconds / c.chunks)[len(costs) // 2]


def middle_p99(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the run whose p99 is the median: in one of several a disk may think of something else."""
    return sorted(runs, key=itemgetter("p99_ms"))[len(runs) // 2]


def of_neighbours(costs: Sequence[Cost], others: Sequence[Cost], of: Callable[[Cost], float]) -> float:
    """Return the middle one of the ratios of runs that were neighbours: the machine was as fast for both."""
    return median(of(a) / of(b) for a, b in zip(costs, others, strict=True))


@dataclass(slots=True)
class Report:
    """Prints the lines, and remembers which of them missed their limits, and what broke."""

    missed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def emit(self, bench: str, *, per_second: float, cpu_us: float | None, ratio: float | None, **more: object) -> None:
        """Print a line. `ratio` is cost against what it is compared with in the same run; 1.0 is as good as that."""
        line: dict[str, Any] = {
            "bench": bench,
            "per_second": round(per_second, 1),
            "cpu_us": None if cpu_us is None else round(cpu_us, 2),
            "ratio": None if ratio is None else round(ratio, 3),
            **more,
        }
        if rules := LIMITS.get(bench):
            line |= {"limit": rules, "met": met(line, rules)}
            if not line["met"]:
                self.missed.append(bench)
        self.tell(line)

    def fail(self, bench: str, error: BaseException | str) -> None:
        """Print that a bench could not be run, and why."""
        self.broken.append(bench)
        self.tell({"bench": bench, "error": error if isinstance(error, str) else f"{type(error).__name__}: {error}"})

    def tell(self, line: dict[str, Any]) -> None:
        """Print a line as it is."""
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50_ms": round(median(ordered) * 1000, 2), "p99_ms": round(last * 1000, 2)}
