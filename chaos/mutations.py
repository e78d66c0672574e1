"""The deliberate bugs of chaos.mutants: the faults that bring each to light, and what the checker has to say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chaos.findings import Finding


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug is caught by a finding of its own kind, in its own words: not by whatever goes wrong in its wake."""

    faults: frozenset[str]
    kind: str
    words: str

    def caught_by(self, finding: Finding) -> bool:
        """Return whether a finding says what this bug does."""
        return finding.kind == self.kind and re.search(self.words, finding.what) is not None


BUGS = {
    "ack-before-settle": Bug(
        frozenset({"cut postgres", "postgres kill", "worker kill"}), "lost", r"^entry .* left before it was settled"
    ),
    "no-fencing": Bug(
        frozenset({"worker freeze", "cut redis"}),
        "counted_twice",
        r"^chunk .* by w\d(, but w\d held it|, by a run that had lost its lease)$",
    ),
    "count-on-redelivery": Bug(
        frozenset({"worker kill", "worker freeze"}), "counted_twice", r"^job .* counted other than it had processed"
    ),
    "renewal-counts": Bug(
        frozenset({"worker kill", "cut postgres"}), "penalised", r"^entry .* was delivered \d+ times to .* that held it"
    ),
    "delete-consumers": Bug(frozenset({"worker stop"}), "lost", r"^entry .* was read and is pending with nobody"),
}
