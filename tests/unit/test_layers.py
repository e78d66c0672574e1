"""Imports go down only: the table of levels, and what every module really imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orchestrator

PACKAGE = Path(orchestrator.__file__).parent
LEVELS: dict[str, int] = {
    **dict.fromkeys(("errors", "jobs", "deliveries", "backoff", "keys", "metadata", "tasks", "checkout"), 0),
    **dict.fromkeys(("settings",), 1),
    **dict.fromkeys(("ledger", "events"), 2),
    **dict.fromkeys(("sources", "tracker", "limits"), 3),
    **dict.fromkeys(("handlers", "why"), 4),
    **dict.fromkeys(("pool", "assembly", "stream_keeper", "announcements"), 5),
    **dict.fromkeys(("systemd", "status", "logs", "api", "models"), 6),
    **dict.fromkeys(("worker", "supervisor", "cli"), 7),
}
ROOTS = {"worker", "supervisor"}  # composed things, which only the command line may start


def parts() -> dict[str, list[Path]]:
    """Return our top-level parts and the files of each."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, part of ours) for every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by the full name"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "orchestrator" else [base]
        for name in names:
            words = name.split(".")
            if words[0] == "orchestrator" and len(words) > 1 and words[1] in LEVELS:
                yield getattr(node, "lineno", 0), words[1]


@cache
def edges() -> list[tuple[str, str, str]]:
    """Return (importing part, imported part, where) between different parts."""
    return [
        (part, imported, f"{path.relative_to(PACKAGE)}:{line}")
        for part, paths in parts().items()
        for path in paths
        for line, imported in imports(path)
        if imported != part
    ]


def test_every_part_has_a_level() -> None:
    assert set(parts()) <= set(LEVELS), "give the new part a level"


def test_the_architecture_page_shows_these_levels() -> None:
    page = Path(__file__).parents[2] / "docs/architecture.md"
    rows = re.findall(r"^\| (\d) \| (.+?) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    shown = {name: int(level) for level, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert shown == {name: level for name, level in LEVELS.items() if name in parts()}


def test_imports_go_down() -> None:
    upward = [f"{where} imports {target}" for part, target, where in edges() if LEVELS[target] > LEVELS[part]]
    assert not upward


def test_parts_of_one_level_do_not_import_each_other() -> None:
    level = {(part, target) for part, target, _ in edges() if LEVELS[part] == LEVELS[target]}
    assert not [pair for pair in level if pair[::-1] in level]


def test_nothing_but_the_command_line_imports_a_process() -> None:
    found = [where for part, target, where in edges() if target in ROOTS and part != "cli"]
    assert not found
