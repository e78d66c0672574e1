"""Run the nemesis: `python -m chaos [--mutation NAME | --mutations]`. Told to stop (SIGTERM), it clears up first.

$CHAOS_FAULTS and $CHAOS_SEED say which run, $CHAOS_SOURCE over which queue.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

import uvloop

from chaos.foreign import SOURCES, ForeignQueue
from chaos.mutations import BUGS
from chaos.own import OwnStream
from chaos.queue import Queue
from chaos.run import Report
from chaos.run import run as run_to_the_end

FAULTS, FAULTS_OF_MUTANT = 200, 40


def main() -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--mutation", choices=BUGS, help="put this bug into the workers: it has to be caught")
    parser.add_argument("--mutations", action="store_true", help="put in each of them; all have to be caught")
    chosen = parser.parse_args()
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))  # noqa: S311 - to be repeated, no secret
    if chosen.mutations or chosen.mutation:
        return _mutations(seed, [chosen.mutation] if chosen.mutation else list(BUGS))
    source = os.environ.get("CHAOS_SOURCE") or OwnStream.name
    if source not in (names := (OwnStream.name, *SOURCES)):
        parser.error(f"CHAOS_SOURCE must be one of {', '.join(names)}, got {source!r}")
    queue: Queue = OwnStream() if source == OwnStream.name else ForeignQueue(source)
    report = _run(seed, _faults(FAULTS), queue)
    _print(report)
    return 1 if report.wrong else 0


def _run(seed: int, faults: int, queue: Queue, **more: Any) -> Report:
    async def run() -> Report:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run_to_the_end(seed, faults, queue, **more)

    return uvloop.run(run())


def _mutations(seed: int, names: list[str]) -> int:
    """Run each bug until it is caught, and the same without it, which has to find nothing."""
    caught = clean = 0
    for name in names:
        bug, faults = BUGS[name], _faults(FAULTS_OF_MUTANT)
        report = _run(seed, faults, OwnStream(), mutant=name, until=bug.caught_by, only=bug.faults)
        hit = next((finding for finding in report.found if bug.caught_by(finding)), None)
        caught += hit is not None
        _print(report, mutation=name, caught=hit is not None, by=hit.what if hit else None)
        control = _run(seed, faults, OwnStream(), only=bug.faults)
        clean += not control.wrong
        _print(control, control=name, clean=not control.wrong)
    print(json.dumps({"mutations": len(names), "caught": caught, "controls_clean": clean}), flush=True)
    return 0 if caught == clean == len(names) else 1


def _faults(default: int) -> int:
    return int(os.environ.get("CHAOS_FAULTS") or default)


def _print(report: Report, **more: object) -> None:
    for line in report.notes:
        print(line, file=sys.stderr)
    print(json.dumps({**more, **report.line}), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except asyncio.CancelledError:
        sys.exit("chaos: told to stop")
