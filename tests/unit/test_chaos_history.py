"""The history that the database keeps of chunks shows whoever settled what was not his."""

from __future__ import annotations

from typing import Any

import pytest
from chaos.checker import check_history


def change(was: str, is_: str, **values: Any) -> dict[str, Any]:
    """Return a row of the history."""
    row = {"job_id": "j", "chunk_id": "c", "who": "w0", "held_by": "w0", "held_token": "1", "claim_token": None}
    return {**row, "said_token": None, "attempts": 0, "deliveries": 0, "was": was, "is_": is_, **values}


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([change("queued", "running"), change("running", "processed", attempts=1, said_token="1")], 0),
        ([change("running", "queued", who="w1")], 0),  # the reconciler of another worker: its own is dead
        ([change("running", "cancelled", who="w1")], 0),
        ([change("running", "processed", attempts=1, who="w1")], 1),
        ([change("running", "queued", deliveries=-1, who="w1")], 1),
        ([change("running", "processed", attempts=1, said_token="0")], 1),
        ([change("running", "processed"), change("processed", "processed")], 1),
    ],
)
def test_the_history_shows_who_settled(rows: list[dict[str, Any]], count: int) -> None:
    """Settled once, by whoever held the chunk, under the lease that it had then."""
    assert len(list(check_history(rows))) == count
