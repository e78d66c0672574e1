"""Fail on source files of 300 lines or more: one module, one noun (style.md, rule 1)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

LIMIT = 300
FOLDERS = ("src", "tests", "lab", "tools", "bench", "chaos", "roles", "playbooks", "molecule")
ENDINGS = frozenset({".py", ".sql", ".lua", ".yml", ".yaml", ".j2", ".sh", ".mjs", ""})

NOT_OURS = frozenset({"__pycache__", "node_modules"})


def sources(root: Path) -> Iterator[Path]:
    """Yield the source files below the root."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in ENDINGS and not NOT_OURS.intersection(path.parts):
                yield path


def too_long(root: Path) -> list[tuple[Path, int]]:
    """Return the files that reach the limit, with their lines."""
    counted = [(path.relative_to(root), len(path.read_bytes().splitlines())) for path in sources(root)]
    return [(path, lines) for path, lines in counted if lines >= LIMIT]


def main() -> int:
    """Report and return the exit code."""
    found = too_long(Path(__file__).resolve().parent.parent)
    for path, lines in found:
        print(f"{path}: {lines} lines; the limit is {LIMIT - 1}: split it by nouns", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
