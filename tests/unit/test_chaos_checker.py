"""The checker of the nemesis has teeth: each rule finds what it is for, and nothing in a sound ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from chaos.accepted import Accepted
from chaos.checker import expected, judge
from chaos.facts import Facts
from chaos.findings import Finding, totals

TEXTS = {"c0": "ok 0", "c1": "fail:1 1", "c2": "reject 2"}
PERMANENT = frozenset({"s", "s:dead"})
MOST = 8


def sound() -> tuple[Facts, dict[str, Accepted]]:
    """Return a ledger in which all is well: a job of three chunks, one of which is dead."""
    job = {
        "job_id": "j",
        "status": "failed",
        "failure_policy": "strict",
        "max_failed": 0,
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


def found(facts: Facts, accepted: dict[str, Accepted]) -> dict[str, int]:
    """Return what the checker finds, without the kinds of which there is nothing."""
    findings = judge(facts, accepted, malformed={"7-0": "nul"}, permanent=PERMANENT, max_deliveries=MOST)
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
        (0, {"deliveries": 9}, "stuck"),
        (2, {"deliveries": 10}, "stuck"),
    ],
)
def test_a_wrong_chunk_is_found(index: int, values: dict[str, Any], kind: str) -> None:
    """Each chunk ends as its text says, after as many attempts as that takes: a crash or a deploy is none."""
    facts, accepted = sound()
    facts.chunks = changed(facts.chunks, index, **values)
    assert kind in found(facts, accepted)


@pytest.mark.parametrize(
    ("text", "attempts", "kinds"),
    [
        ("ok 0", 0, {}),
        ("ok 0", 1, {"penalised": 1}),
        ("fail:2 0", 2, {}),
        ("fail:2 0", 3, {"penalised": 1}),
        ("hang 0", 2, {}),
        ("hang 0", 3, {"penalised": 1}),
        ("poison 0", 0, {}),
        ("poison 0", 1, {"penalised": 1}),
    ],
)
def test_a_cancelled_chunk_has_only_attempts_that_failed(text: str, attempts: int, kinds: dict[str, int]) -> None:
    """Whatever was counted on a cancelled chunk passed, were it a crash or the cut itself.

    Its last attempt ends a chunk: one that was cancelled had fewer, each of them a run that failed.
    """
    facts, accepted = sound()
    facts.chunks = changed(facts.chunks, 0, status="cancelled", attempts=attempts, content=text)
    facts.jobs = changed(facts.jobs, 0, processed=1, cancelled=1)
    facts.events = [*facts.events[:3], {**facts.events[4], "data": {"chunks_processed": 1}}]
    facts.views = {"j": {"status": "failed", "chunks_processed": "1"}}
    accepted["j"] = Accepted("j", {**TEXTS, "c0": text}, cancelled=True)
    assert found(facts, accepted) == kinds


def test_what_was_processed_without_a_run_is_lost() -> None:
    """The handlers write down their runs themselves."""
    facts, accepted = sound()
    facts.runs = Counter()
    assert found(facts, accepted) == {"lost": 2}


def test_a_deadly_chunk_is_run_as_often_as_it_may() -> None:
    """Then it is handed out to be buried, twice where a death comes between: not one run more may come of that."""
    facts, accepted = sound()
    facts.chunks = changed(facts.chunks, 2, deliveries=MOST + 2, error="poison: handed out 10 times")
    facts.runs["start", "j", "c2"] = MOST
    assert found(facts, accepted) == {}
    facts.runs["start", "j", "c2"] += 1
    assert found(facts, accepted) == {"stuck": 1}
    facts.runs["cut", "j", "c2"] += 1
    assert found(facts, accepted) == {}


@pytest.mark.parametrize(
    ("policy", "failed", "status", "kinds"),
    [
        (("fail_fast", 0), 1, "failed", {}),
        (("fail_fast", 0), 0, "cancelled", {"lost": 1}),
        (("threshold", 0), 1, "failed", {}),
        (("threshold", 1), 1, "cancelled", {"lost": 1}),
        (("strict", 0), 1, "failed", {"lost": 1}),
        (("best_effort", 0), 1, "cancelled", {"lost": 1}),
    ],
)
def test_chunks_are_cancelled_by_somebody(
    policy: tuple[str, int], failed: int, status: str, kinds: dict[str, int]
) -> None:
    """By who asked for it, or by a policy whose bound was passed: never by nobody."""
    facts, accepted = sound()
    name, most = policy
    texts = {"c0": "ok 0", "c1": "ok 1", "c2": "reject 2" if failed else "ok 2"}
    accepted["j"] = Accepted("j", texts, name, most)
    counters = {"processed": 2 - failed, "failed": failed, "cancelled": 1}
    if not failed:
        counters, facts.letters = {**counters, "processed": 2}, facts.letters[1:]
        facts.chunks = changed(facts.chunks, 2, status="processed", content="ok 2")
        facts.runs["done", "j", "c2"] = 1
    chunks = changed(facts.chunks, 0, status="cancelled", attempts=0)
    facts.chunks = changed(chunks, 1, attempts=1, content="ok 1")
    facts.jobs = changed(facts.jobs, 0, failure_policy=name, max_failed=most, status=status, **counters)
    done = counters["processed"]
    events = [e for e in facts.events if e["data"].get("chunks_processed", 0) <= done and "failed" not in e["type"]]
    data = {"chunks_processed": done, "chunks_total": 3}
    facts.events = [*events, {"seq": 9, "job_id": "j", "type": f"ingestion.{status}", "data": data}]
    facts.views = {"j": {"status": status, "chunks_processed": str(done)}}
    assert found(facts, accepted) == kinds
    accepted["j"].cancelled = True
    assert found(facts, accepted) == {}


@pytest.mark.parametrize(
    ("policy", "status"),
    [(("threshold", 1), "completed"), (("threshold", 0), "failed"), (("best_effort", 0), "completed")],
)
def test_a_policy_says_how_its_job_ends(policy: tuple[str, int], status: str) -> None:
    """Two processed, one dead."""
    facts, accepted = sound()
    name, most = policy
    accepted["j"] = Accepted("j", dict(TEXTS), name, most)
    facts.jobs = changed(facts.jobs, 0, failure_policy=name, max_failed=most, status=status)
    facts.events = changed(facts.events, 4, type=f"ingestion.{status}")
    facts.views = {"j": {"status": status, "chunks_processed": "2"}}
    assert found(facts, accepted) == {}
    accepted["j"].policy = "strict"
    assert "lost" in found(facts, accepted)


def test_a_job_nobody_heard_of_is_checked_by_what_it_holds() -> None:
    """Its producer lost the reply and may not ask again; it has to end as its texts say all the same."""
    facts, _ = sound()
    assert found(facts, {}) == {}
    facts.chunks = changed(facts.chunks, 0, attempts=2)
    assert found(facts, {}) == {"penalised": 1}


def test_what_is_left_is_found() -> None:
    """Entries, pending ones, keys that live for ever, views that have stopped: somebody waits for each of them."""
    facts, accepted = sound()
    kept = {"entries": 2, "pending": 1, "delayed": 1}
    left = replace(facts, left=kept, outbox=1, keys={**facts.keys, "limit:x": -1})
    assert found(left, accepted) == {"stuck": 6}
    facts.views = {"j": {"status": "processing", "chunks_processed": "1"}}
    assert found(facts, accepted) == {"stuck": 1}


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


def test_findings_are_added_up() -> None:
    """A finding may stand for many chunks."""
    assert totals([Finding("lost", "a", 3), Finding("lost", "b"), Finding("stuck", "c")]) == {
        "lost": 4,
        "counted_twice": 0,
        "stuck": 1,
        "penalised": 0,
        "crashed": 0,
        "not_done": 0,
    }
