"""Run the nemesis: `python -m chaos [--mutation NAME | --mutations]`; $CHAOS_FAULTS and $CHAOS_SEED say which run."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys

import uvloop

from chaos.run import Report, run

MUTATIONS: dict[str, frozenset[str]] = {
    "ack-before-settle": frozenset({"cut postgres", "postgres kill", "worker kill"}),
    "no-fencing": frozenset({"worker freeze", "cut redis"}),
    "count-on-redelivery": frozenset({"worker kill", "worker freeze"}),
    "renewal-counts": frozenset({"worker kill", "cut postgres"}),
    "delete-consumers": frozenset({"worker stop"}),
}
"""The bugs, and the faults that bring them to light."""
FAULTS, FAULTS_OF_MUTANT = 200, 40


def main() -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--mutation", choices=MUTATIONS, help="put this bug into the workers")
    parser.add_argument("--mutations", action="store_true", help="put in each of them; all have to be caught")
    chosen = parser.parse_args()
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))  # noqa: S311 - to be repeated, no secret
    if chosen.mutations:
        return _mutations(seed)
    faults = int(os.environ.get("CHAOS_FAULTS") or FAULTS)
    report = uvloop.run(run(seed, faults, mutant=chosen.mutation))
    _print(report)
    return 1 if report.wrong else 0


def _mutations(seed: int) -> int:
    faults = int(os.environ.get("CHAOS_FAULTS") or FAULTS_OF_MUTANT)
    caught: dict[str, bool] = {}
    for name, only in MUTATIONS.items():
        report = uvloop.run(run(seed, faults, mutant=name, until_found=True, only=only))
        caught[name] = report.wrong
        _print(report, mutation=name, caught=report.wrong)
    print(json.dumps({"mutations": len(caught), "caught": sum(caught.values())}), flush=True)
    return 0 if all(caught.values()) else 1


def _print(report: Report, **more: object) -> None:
    for line in report.notes:
        print(line, file=sys.stderr)
    print(json.dumps({**more, **report.line}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
