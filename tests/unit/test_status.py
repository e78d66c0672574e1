"""The status line of all worker types: only what was seen is said."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.ledger.workers import Totals, Worker
from orchestrator.status import summarise

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def worker(consumer: str, worker_type: str = "lightrag", *, busy: int = 0, rate: float = 0.0) -> Worker:
    """Return a worker as the ledger last saw it."""
    return Worker(
        consumer=consumer,
        host="h",
        worker_type=worker_type,
        pid=1,
        version="1",
        started_at=NOW,
        seen_at=NOW,
        tasks_processed=0,
        busy=busy,
        chunks_per_second=rate,
        step="",
    )


def test_a_line_says_slots_backlog_speed_and_dead() -> None:
    """E-28, X-10: the speed is the sum of what the slots measured."""
    workers = [worker("h-lightrag-0", busy=3, rate=1.25), worker("h-lightrag-1", busy=1, rate=0.5)]
    (status,) = summarise({"lightrag": 2}, workers, {"lightrag": Totals(queued=7, running=4, dead=1)})
    assert (status.busy, status.running) == (4, 4)
    assert str(status) == "lightrag 2/2 slots, 7 queued, 1.8 chunks/s, 1 dead"


def test_a_type_nobody_works_for_is_said_to_have_no_slots() -> None:
    """X-09: the seed stayed up while nobody worked."""
    (status,) = summarise({"lightrag": 4}, [], {})
    assert str(status) == "lightrag 0/4 slots, 0 queued, 0.0 chunks/s, 0 dead"


def test_types_are_kept_apart_and_strangers_left_out() -> None:
    """In the order of the settings; a type that is in the ledger alone is not ours to report."""
    workers = [worker("h-charts-0", "charts"), worker("h-lightrag-0"), worker("h-old-0", "old")]
    totals = {"old": Totals(dead=9), "charts": Totals(queued=2)}
    found = summarise({"lightrag": 1, "charts": 2}, workers, totals)
    assert [(s.name, s.alive, s.slots, s.queued, s.dead) for s in found] == [
        ("lightrag", 1, 1, 0, 0),
        ("charts", 1, 2, 2, 0),
    ]
