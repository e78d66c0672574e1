"""docs/defects.md against the tests: every fault has its row, and every test it names exists."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs/defects.md"


def rows() -> dict[int, list[str]]:
    """Return the tests that each row names, by the number of the fault."""
    found: dict[int, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"\| X-(\d\d) \|", line):
            assert int(match[1]) not in found, f"two rows for X-{match[1]}"
            found[int(match[1])] = re.findall(r"`(test_\w+)`", line)
    return found


def all_tests() -> set[str]:
    """Return the name of every test function."""
    pages = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py")]
    return set(re.findall(r"^(?:async )?def (test_\w+)", "\n".join(pages), re.MULTILINE))


def test_every_fault_has_its_row_and_a_test_of_its_number() -> None:
    found = rows()
    assert list(found) == list(range(1, 51))
    assert [number for number, names in found.items() if not any(f"_x{number:02}_" in name for name in names)] == []


def test_every_test_that_is_named_exists() -> None:
    known = all_tests()
    assert [(number, name) for number, names in rows().items() for name in names if name not in known] == []
