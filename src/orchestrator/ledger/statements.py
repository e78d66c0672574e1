"""Named SQL: each statement is a file in ledger/sql, loaded once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


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
