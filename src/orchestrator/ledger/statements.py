"""Named SQL: each statement is a file in ledger/sql, loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

SEPARATOR = "\x1f"
"""Stands in no id: they are printable."""


def joined(values: Sequence[str]) -> str:
    """Return ids as one value for `string_to_array`: the driver looks at each element of an array, which costs more.

    Raises ValueError when an id holds the separator.
    """
    text = SEPARATOR.join(values)
    if text.count(SEPARATOR) != max(0, len(values) - 1):
        raise ValueError(f"an id holds a control character: {text[:200]!r}")
    return text


@cache
def sql(name: str) -> str:
    """Return the statement in `sql/<name>.sql`."""
    return (files("orchestrator.ledger") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def migrations() -> tuple[tuple[int, str, str], ...]:
    """Return (version, name, text) of every migration, in order."""
    found = (files("orchestrator.ledger") / "migrations").iterdir()
    texts = {f.name: f.read_text(encoding="utf-8") for f in found if f.name.endswith(".sql")}
    return tuple((int(name.split("_", 1)[0]), name, texts[name]) for name in sorted(texts))
