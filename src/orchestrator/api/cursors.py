"""Opaque cursors of pages. Pure."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

import orjson

from orchestrator.api.problems import invalid

MAX_INT = 2**31
MAX_BIGINT = 2**63


def encode(first: datetime | int, second: str) -> str:
    """Return a cursor that stands after this row."""
    return base64.urlsafe_b64encode(orjson.dumps([first, second])).decode().rstrip("=")


def job_cursor(text: str | None) -> tuple[datetime, str] | None:
    """Return (created_at, job_id). Raises a 422 problem for a cursor that is none of ours."""
    if text is None:
        return None
    first, second = _decode(text)
    try:
        created = datetime.fromisoformat(first if isinstance(first, str) else "")
    except ValueError:
        raise _wrong() from None
    if created.tzinfo is None:
        raise _wrong()
    return created, second


def chunk_cursor(text: str | None) -> tuple[int, str] | None:
    """Return (seq, chunk_id). Raises a 422 problem for a cursor that is none of ours."""
    if text is None:
        return None
    first, second = _decode(text)
    if type(first) is not int or not 0 <= first < MAX_INT:
        raise _wrong()
    return first, second


def letter_cursor(text: str | None) -> int | None:
    """Return the id of a dead letter. Raises a 422 problem for a cursor that is none of ours."""
    if text is None:
        return None
    first, _ = _decode(text)
    if type(first) is not int or not 0 <= first < MAX_BIGINT:
        raise _wrong()
    return first


def _decode(text: str) -> tuple[object, str]:
    try:
        decoded = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise _wrong() from None
    match decoded:
        case [first, str(second)] if "\x00" not in second:
            return first, second
    raise _wrong()


def _wrong() -> Exception:
    return invalid(("cursor", "is not a cursor of this list; leave it out to begin at the first page"))
