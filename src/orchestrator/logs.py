"""Log lines for the journal: one line a record, the fields of `extra` as key=value, nothing untrusted unescaped."""

from __future__ import annotations

import logging
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_NEEDS_QUOTES = frozenset(' "=')


def escape(text: str) -> str:
    """Return the text with every character that could move a cursor, end a line or hide another as \\xNN or \\uNNNN."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class JournalFormatter(logging.Formatter):
    """Writes `level area: message key=value …`; lines of a traceback follow, each behind a bar.

    `priorities` puts `<4>` and the like in front, which journald takes for the record's priority.
    """

    def __init__(self, *, priorities: bool = False) -> None:
        super().__init__()
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines when there is a traceback. No text of a record can begin a line."""
        area = record.name.removeprefix("orchestrator.")
        words = [f"{record.levelname.lower()} {escape(area)}: {escape(record.getMessage())}"]
        words += [f"{escape(k)}={_value(v)}" for k, v in vars(record).items() if k not in _STANDARD]
        lines = [" ".join(words)]
        if record.exc_info:
            lines += [f"    | {escape(line)}" for line in self.formatException(record.exc_info).splitlines()]
        prefix = f"<{_PRIORITY.get(record.levelno, 5)}>" if self._priorities else ""
        return "\n".join(prefix + line for line in lines)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if not text or not text.isprintable() or _NEEDS_QUOTES & set(text):
        return '"' + escape(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
    return text


def set_up(stream: TextIO, *, priorities: bool = False) -> None:
    """Send our records from INFO and everybody else's from WARNING to the stream, in place of what was set up."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JournalFormatter(priorities=priorities))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("orchestrator").setLevel(logging.INFO)
    logging.captureWarnings(True)
