"""What the checker found wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

KINDS = ("lost", "counted_twice", "stuck", "penalised", "crashed", "not_done")
"""The last two are of the run itself: a process that ended by itself, and what was planned and could not be done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    kind: str
    what: str
    count: int = 1


def totals(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how much of each kind was found."""
    found = dict.fromkeys(KINDS, 0)
    for finding in findings:
        found[finding.kind] += finding.count
    return found
