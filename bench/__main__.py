"""Run the benches: `python -m bench [--check] [name …]`; all of them when none is named.

Starts Redis and PostgreSQL itself. With --check it ends with 1 when a limit was missed.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence

import uvloop

from bench import flat, hot, ingest, latency, progress, rag, scale, sources
from bench.peers import compare
from bench.report import Report
from bench.stage import Stage, stage

Bench = Callable[[Stage, Sequence[str]], Awaitable[None]]
"""Gets the names of its lines that are wanted."""

BENCHES: Mapping[str, Bench] = {
    "raw_loop": hot.path,
    "noop_path": hot.path,
    "start_latency": latency.start,
    "ingest": ingest.stream,
    "progress_read": progress.read,
    **dict.fromkeys(scale.NAMES, scale.workers),
    "flat_queue": flat.queue,
    **dict.fromkeys(rag.NAMES, rag.compare),
    **dict.fromkeys(sources.NAMES, sources.all_of),
    **dict.fromkeys(compare.NAMES, compare.all_of),
}


async def run(names: Sequence[str]) -> Report:
    """Run the named benches, in the order of the table."""
    with stage() as on:
        await on.describe()
        for bench in dict.fromkeys(BENCHES.values()):
            wanted = [name for name in names if BENCHES[name] is bench]
            if not wanted:
                continue
            try:
                await bench(on, wanted)
            except Exception as error:  # the others are measured all the same
                traceback.print_exc()
                on.report.fail(", ".join(wanted), error)
        return on.report


def main() -> None:
    """Read the names and run."""
    words = sys.argv[1:]
    names = [word for word in words if word != "--check"] or list(BENCHES)
    if unknown := set(names) - BENCHES.keys():
        sys.exit(f"bench: no bench {', '.join(sorted(unknown))}; known: {', '.join(BENCHES)}")
    report = uvloop.run(run(names))
    if report.broken:
        sys.exit(f"bench: could not be run: {', '.join(report.broken)}")
    if "--check" in words and report.missed:
        sys.exit(f"bench: limits missed: {', '.join(report.missed)}")


if __name__ == "__main__":
    main()
