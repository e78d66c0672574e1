"""What of a document is its payload, as JSON can hold it, and what is ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bson.datetime_ms import DatetimeMS

OURS = "orchestrator"
STATE = frozenset({"_id", "status", "priority", "created_at", "updated_at", "not_before", "result", "error", OURS})
"""Fields that are the queue's and not the payload's, in a document without a field for the payload."""


def payload_of(document: Mapping[str, Any], field: str) -> Any:
    """Return what is in that field; without a name for it, the document.

    Times become ISO 8601 texts, and ids of MongoDB their hexadecimal digits. A time outside of the years 1 to 9999
    becomes its milliseconds since 1970.
    """
    if field:
        return _plain(document.get(field))
    return {name: _plain(value) for name, value in document.items() if name not in STATE}


def state_of(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what we wrote into a document; None when another wrote there what refuses our fields."""
    state = document.get(OURS, {})
    life = state.get("life", 0) if isinstance(state, Mapping) else None
    return state if isinstance(life, int | float) and not isinstance(life, bool) else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, DatetimeMS):
        return int(value)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return str(value)
