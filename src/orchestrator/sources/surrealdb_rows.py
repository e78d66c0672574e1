"""What a row says: its payload as JSON can hold it, and its id as a text that can be read back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from surrealdb import RecordID

STATE = frozenset(
    {
        *("id", "status", "created", "updated", "completed_at", "not_before", "progress"),
        *("result", "output", "error", "error_message", "orchestrator"),
    }
)
"""Columns that are the queue's and not the payload's."""

SPELLINGS = {"command": "name", "input": "args"}
"""As some write it -> as surreal-commands does; the latter is what a row is read as."""

UUID_MARK = "uuid:"
LARGEST = 2**63 - 1


def payload_of(row: Mapping[str, Any], field: str) -> Any:
    """Return what is in that column, whichever its spelling; without a name for it, the row as surreal-commands spells.

    Times become ISO 8601 texts, and ids of records their text.
    """
    others = {there: here for here, there in SPELLINGS.items()}
    if field:
        other = SPELLINGS.get(field) or others.get(field, field)
        return plain(row[field] if row.get(field) is not None else row.get(other))
    shown = {name: value for name, value in row.items() if name not in STATE and name not in SPELLINGS}
    for here, there in SPELLINGS.items():
        if here in row and shown.get(there) is None:
            shown[there] = row[here]
    return plain(shown)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot hold becomes a text."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    return str(value)


def storable(value: Any) -> Any:
    """Return a value of JSON as the engine can hold it: a larger number would be another one there, and is a text."""
    if isinstance(value, dict):
        return {name: storable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner) for inner in value]
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return str(value)
    return value


def receipt_of(record: RecordID) -> str:
    """Return the id within its table: a text as it is, unless it reads like another kind of id; others as JSON."""
    key: Any = record.id
    if isinstance(key, UUID):
        return f"{UUID_MARK}{key}"
    if isinstance(key, str) and _key_of(key) == key:
        return key
    return orjson.dumps(plain(key)).decode()


def record_of(table: str, receipt: str) -> RecordID:
    """Return the record that has this receipt."""
    return RecordID(table, _key_of(receipt))


def _key_of(receipt: str) -> Any:
    try:
        if receipt.startswith(UUID_MARK):
            return UUID(receipt.removeprefix(UUID_MARK))
        return orjson.loads(receipt)
    except ValueError:
        return receipt
