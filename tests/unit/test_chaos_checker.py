"""The checker of the nemesis has teeth: each rule finds what it is for, and nothing in a sound ledger."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import chaos
import pytest
from chaos import mutants
from chaos.__main__ import MUTATIONS
from chaos.accepted import Accepted
from chaos.checker import check_history, expected, judge
from chaos.facts import Facts
from chaos.findings import Finding, totals
from chaos.plan import LARGEST, MALFORMED, Plan, make
from chaos.producer import MALFORMED as MADE

TEXTS = {"c0": "ok 0", "c1": "fail:1 1", "c2": "reject 2"}
STREAM = "s"


def sound() -> tuple[Facts, dict[str, Accepted]]:
    """Return a ledger in which all is well: a job of three chunks, one of which is dead."""
    job = {
        "job_id": "j",
        "status": "failed",
        "failure_policy": "strict",
        "chunks_total": 3,
        "processed": 2,
        "failed": 1,
        "cancelled": 0,
        "running": 0,
        "started_at": 1,
    }
    ends = {"c0": ("processed", 1), "c1": ("processed", 2), "c2": ("failed", 1)}
    chunks = [
        {
            "job_id": "j",
            "chunk_id": c,
            "status": s,
            "attempts": a,
            "deliveries": a,
            "error": None,
            "content": TEXTS[c],
        }
        for c, (s, a) in ends.items()
    ]
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("queued", {}),
        ("started", {}),
        ("progress", {"chunks_processed": 1, "chunks_total": 3}),
        ("progress", {"chunks_processed": 2, "chunks_total": 3}),
        ("failed", {"chunks_processed": 2}),
    ]
    events = [
        {"seq": n, "job_id": "j", "type": f"ingestion.{kind}", "data": data} for n, (kind, data) in enumerate(kinds)
    ]
    letters: list[dict[str, Any]] = [
        {"id": 1, "job_id": "j", "chunk_id": "c2", "receipt": None, "reason": "rejected", "payload": {}},
        {"id": 2, "job_id": None, "chunk_id": None, "receipt": "7-0", "reason": "malformed", "payload": {}},
    ]
    runs = Counter({("done", "j", "c0"): 1, ("done", "j", "c1"): 1, ("failed", "j", "c1"): 1})
    facts = Facts(
        jobs=[job],
        chunks=chunks,
        events=events,
        letters=letters,
        runs=runs,
        keys={"s": -1, "s:dead": -1, "job:j": 900},
        views={"j": {"status": "failed", "chunks_processed": "2"}},
    )
    return facts, {"j": Accepted("j", dict(TEXTS))}


def found(facts: Facts, accepted: dict[str, Accepted], kept_after_ms: int = 0) -> dict[str, int]:
    """Return what the checker finds, without the kinds of which there is nothing."""
    findings = judge(
        facts, accepted, malformed={"7-0": "nul"}, kept_after_ms=kept_after_ms, stream=STREAM, max_deliveries=8
    )
    return {kind: count for kind, count in totals(findings).items() if count}


def test_a_sound_ledger_has_nothing_wrong() -> None:
    """The rules agree with each other."""
    assert found(*sound()) == {}


def changed(rows: Iterable[Any], index: int, **values: Any) -> list[Any]:
    """Return rows of which one has other values."""
    return [{**row, **values} if n == index else row for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"processed": 3}, "counted_twice"),
        ({"processed": 1}, "lost"),
        ({"status": "processing"}, "stuck"),
        ({"status": "completed"}, "lost"),
        ({"chunks_total": 4}, "lost"),
        ({"chunks_total": 2}, "counted_twice"),
        ({"job_id": "other"}, "lost"),
    ],
)
def test_a_wrong_job_is_found(values: dict[str, Any], kind: str) -> None:
    """Counters, totals and states have to follow from the chunks."""
    facts, accepted = sound()
    facts.jobs = changed(facts.jobs, 0, **values)
    assert kind in found(facts, accepted)


@pytest.mark.parametrize(
    ("index", "values", "kind"),
    [
        (0, {"attempts": 2}, "penalised"),
        (0, {"attempts": 0}, "lost"),
        (0, {"status": "failed"}, "penalised"),
        (0, {"status": "queued"}, "lost"),
        (0, {"status": "cancelled"}, "lost"),
        (0, {"chunk_id": "c9"}, "counted_twice"),
        (0, {"content": "another"}, "lost"),
        (1, {"attempts": 3}, "penalised"),
        (2, {"deliveries": 10}, "stuck"),
    ],
)
def test_a_wrong_chunk_is_found(index: int, values: dict[str, Any], kind: str) -> None:
    """Each chunk ends as its text says, after as many attempts as that takes: a crash or a deploy is none."""
    facts, accepted = sound()
    facts.chunks = changed(facts.chunks, index, **values)
    assert kind in found(facts, accepted)


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


def test_what_was_processed_without_a_run_is_lost() -> None:
    """The handlers write down their runs themselves."""
    facts, accepted = sound()
    facts.runs = Counter()
    assert found(facts, accepted) == {"lost": 2}


def test_what_is_left_is_found() -> None:
    """Entries, pending ones, keys that live for ever, views that have stopped: somebody waits for each of them."""
    facts, accepted = sound()
    left = replace(facts, stream=2, pending=1, delayed=1, outbox=1, keys={**facts.keys, "limit:x": -1})
    assert found(left, accepted) == {"stuck": 6}
    facts.views = {"j": {"status": "processing", "chunks_processed": "1"}}
    assert found(facts, accepted) == {"stuck": 1}


def test_letters_are_counted() -> None:
    """A dead chunk has one letter, a malformed entry too, unless it went with Redis."""
    facts, accepted = sound()
    letters = facts.letters
    facts.letters = letters[:1]
    assert found(facts, accepted) == {"lost": 1}
    assert found(facts, accepted, kept_after_ms=7) == {}
    facts.letters = letters[1:]
    assert found(facts, accepted) == {"lost": 1}
    facts.letters = [*letters, letters[0]]
    assert found(facts, accepted) == {"counted_twice": 1}


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


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("ok 1", ("processed", 1)),
        ("slow:1.5 2", ("processed", 1)),
        ("fail:2 3", ("processed", 3)),
        ("fail:9 4", ("failed", 3)),
        ("hang 5", ("failed", 3)),
        ("poison 6", ("failed", 0)),
    ],
)
def test_a_text_says_how_its_chunk_ends(text: str, end: tuple[str, int]) -> None:
    """What a deadly chunk does to its worker is no attempt."""
    assert expected(text) == end


def test_a_plan_is_repeated_by_its_seed() -> None:
    """The same seed, the same run; another one, another run; and every run has the largest job and a deadly chunk."""
    plans: list[Plan] = [make(7, 60), make(7, 60), make(8, 60)]
    assert plans[0] == plans[1] != plans[2]
    for plan in plans:
        assert len(plan.faults) == 60
        assert max(len(job.chunks) for job in plan.jobs) == LARGEST
        assert any("poison" in job.chunks for job in plan.jobs)
    assert {fault.kind for fault in make(7, 60, only=frozenset({"clock"})).faults} == {"clock"}
    assert set(MALFORMED) < set(MADE)


def test_findings_are_added_up() -> None:
    """A finding may stand for many chunks."""
    assert totals([Finding("lost", "a", 3), Finding("lost", "b"), Finding("stuck", "c")]) == {
        "lost": 4,
        "counted_twice": 0,
        "stuck": 1,
        "penalised": 0,
    }


def test_the_checker_shares_no_code_with_the_product() -> None:
    """Only what runs inside a worker process imports the product."""
    inside = {"handler.py", "mutants.py", "run_worker.py"}
    for path in Path(chaos.__file__).parent.glob("*.py"):
        names = {n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)}
        assert path.name in inside or not any(n.startswith("orchestrator") for n in names), path.name


def test_every_mutant_is_tried() -> None:
    """The names stand where the product is not imported, and where it is."""
    assert set(MUTATIONS) == set(mutants.MUTANTS)
