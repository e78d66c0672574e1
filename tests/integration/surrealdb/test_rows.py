"""What a row of SurrealDB says, in either spelling, and ids that come back to their rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from surrealdb import RecordID

from orchestrator.sources.surrealdb_rows import payload_of, receipt_of, record_of, storable

SEED = {"id": "command:1", "app": "lab", "command": "double", "input": {"x": 1}, "output": None, "error": None}
LIBRARY = {"id": "command:1", "app": "lab", "name": "double", "args": {"x": 1}, "result": {}, "error_message": ""}
KEYS = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.uuids(), st.lists(st.text() | st.booleans()))


@pytest.mark.parametrize("row", [SEED, LIBRARY])
def test_both_spellings_are_read_as_one(row: dict[str, Any]) -> None:
    """The queue's own columns are left out."""
    state = {"status": "new", "created": datetime.now(UTC), "orchestrator": {"life": 1}}
    assert payload_of({**row, **state}, "") == {"app": "lab", "name": "double", "args": {"x": 1}}
    assert payload_of(row, "args") == payload_of(row, "input") == {"x": 1}
    assert payload_of(row, "name") == "double"
    assert payload_of(row, "context") is None


def test_a_column_of_its_own_is_shown_as_json_can_hold_it() -> None:
    """Times in ISO 8601, ids of records as their text."""
    row = {"id": 1, "user": RecordID("user", "ann"), "seen": [datetime(2026, 1, 2, tzinfo=UTC)], "deep": {"n": 1.5}}
    expected = {"user": "user:ann", "seen": ["2026-01-02T00:00:00+00:00"], "deep": {"n": 1.5}}
    assert payload_of(row, "") == expected


@given(KEYS)
def test_a_receipt_leads_back_to_its_row(key: Any) -> None:
    """Whatever kind of id it has."""
    assert record_of("command", receipt_of(RecordID("command", key))).id == key


@given(KEYS, KEYS)
def test_no_two_rows_have_one_receipt(one: Any, other: Any) -> None:
    """The work of the second would be taken for done."""
    if (type(one), one) != (type(other), other):
        assert receipt_of(RecordID("command", one)) != receipt_of(RecordID("command", other))


def test_an_ordinary_id_is_its_own_receipt() -> None:
    """Operators see it in job ids and dead letters."""
    assert receipt_of(RecordID("command", "01hzy3q5b7k9")) == "01hzy3q5b7k9"
    assert receipt_of(RecordID("command", "5")) == '"5"'
    assert receipt_of(RecordID("command", UUID(int=0))) == "uuid:00000000-0000-0000-0000-000000000000"


def test_numbers_that_the_engine_would_change_become_texts() -> None:
    """Of 2**64 - 1 it made -1, and a larger one it refused together with all that was settled with it."""
    assert storable({"a": [2**63, 2**63 - 1, True, None, 1.5]}) == {"a": [str(2**63), 2**63 - 1, True, None, 1.5]}
