"""The checker of the nemesis looks at dead letters, too: one for each dead chunk, one for each malformed entry."""

from __future__ import annotations

import pytest
from chaos.checker import judge
from chaos.findings import totals

from tests.unit.test_chaos_checker import MOST, PERMANENT, changed, found, sound


def test_letters_are_counted() -> None:
    """A dead chunk has one letter, a malformed entry too; each says why."""
    facts, accepted = sound()
    letters = facts.letters
    facts.letters = letters[:1]
    assert found(facts, accepted) == {"lost": 1}
    facts.letters = letters[1:]
    assert found(facts, accepted) == {"lost": 1}
    facts.letters = [*letters, letters[0]]
    assert found(facts, accepted) == {"counted_twice": 1}
    facts.letters = changed(letters, 1, reason="")
    assert found(facts, accepted) == {"lost": 1}


@pytest.mark.parametrize(
    ("receipt", "reason", "lost"),
    [("9-0", "malformed", 0), ("9-0", "another", 1), ("6-0", "malformed", 1), ("job-9", "malformed", 1)],
)
def test_an_entry_that_a_drain_gave_back_is_buried_under_another_id(receipt: str, reason: str, lost: int) -> None:
    """Read by a worker that was just told to stop, it was called lost. But its letter has to be its own."""
    facts, accepted = sound()
    facts.letters.append({**facts.letters[1], "id": 3, "receipt": receipt, "reason": reason})  # type: ignore[attr-defined]
    malformed = {"7-0": "nul", "8-0": "nul"}
    findings = judge(facts, accepted, malformed=malformed, permanent=PERMANENT, max_deliveries=MOST)
    assert totals(findings)["lost"] == lost
