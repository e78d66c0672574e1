"""What goes to standard output: plain text with nothing untrusted unescaped, tables, or JSON alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.logs import escape


def emit(document: Any) -> None:
    """Print one JSON document on one line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(*words: object) -> None:
    """Print a line; control characters in it are escaped."""
    sys.stdout.write(escape(" ".join(map(str, words))) + "\n")
    sys.stdout.flush()


def say_text(text: str) -> None:
    """Print text of several lines; what is not printable in a line is escaped."""
    for line in text.splitlines():
        say(line)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns of numbers are set right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[("" if cell is None else cell) for cell in row] for row in rows]
    shown = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) for row in cells)
        shown.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(Text(escape(str(cell))) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width: cut nothing
        console = Console(highlight=False, width=240)
    console.print(shown)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values, aligned; what is None is left out."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        if value is not None:
            say(f"{name:<{width}}  {value}")


def duration(seconds: float | None) -> str:
    """Return a duration as people read it."""
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"
