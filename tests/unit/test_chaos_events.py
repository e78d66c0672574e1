"""The checker of the nemesis looks at events, too: each state once, each in its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_chaos_checker import changed, found, sound


@pytest.mark.parametrize(
    ("index", "values", "kind"),
    [
        (0, {"type": "ingestion.progress"}, "lost"),
        (1, {"type": "ingestion.paused"}, "lost"),
        (2, {"type": "ingestion.started"}, "counted_twice"),
        (3, {"data": {"chunks_processed": 1, "chunks_total": 3}}, "counted_twice"),
        (3, {"type": "ingestion.failed"}, "counted_twice"),
        (4, {"type": "ingestion.completed"}, "lost"),
        (4, {"data": {"chunks_processed": 3}}, "counted_twice"),
    ],
)
def test_wrong_events_are_found(index: int, values: dict[str, Any], kind: str) -> None:
    """Each state once, in order, and progress that only grows to what was processed."""
    facts, accepted = sound()
    events = changed(facts.events, index, **{"data": {"chunks_processed": 1, "chunks_total": 3}, **values})
    facts.events = changed(events, index, **values)
    assert kind in found(facts, accepted)


@pytest.mark.parametrize(
    "order",
    [
        "queued progress started progress failed",
        "queued progress progress started failed",
        "queued started progress failed progress",
        "started queued progress progress failed",
    ],
)
def test_events_out_of_order_are_found(order: str) -> None:
    """The checker counted `started` and did not look where it stood: progress before it passed."""
    facts, accepted = sound()
    data = iter(({"chunks_processed": 1, "chunks_total": 3}, {"chunks_processed": 2, "chunks_total": 3}))
    last = {"failed": {"chunks_processed": 2}}
    facts.events = [
        {"seq": n, "job_id": "j", "type": f"ingestion.{k}", "data": next(data) if k == "progress" else last.get(k, {})}
        for n, k in enumerate(order.split())
    ]
    assert found(facts, accepted) == {"lost": 1}
