"""What we read of a BullMQ job. Its producer is a stranger: nothing it wrote may raise here, or in the library."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bullmq import Job

from orchestrator.sources.bullmq_jobs import attempts_left, backoff_seconds, generation, sound

HOSTILE: list[Any] = [
    None, True, -1, 0, 1.5, 10**30, -(10**30), "", "x", "5", [], [1], {}, {"a": 1}, {"delay": "x"},
    {"age": "old", "count": -1}, {"type": 7, "delay": []}, {"type": "fixed", "delay": True}, {"id": [], "queue": {}},
]  # fmt: skip
OPTIONS = (
    "attempts", "backoff", "delay", "priority", "timestamp", "removeOnComplete", "removeOnFail", "lifo", "parent",
    "jobId", "fpof", "failParentOnFailure", "kl", "keepLogs", "de", "deduplication", "stackTraceLimit", "repeat",
)  # fmt: skip
NO_JSON = ["", "not JSON", "[1]", "null", "7", '"text"', "{", "[" * 5000, '{"attempts": 1e999}', "\ufffd"]


def job(made: int = 0, **options: Any) -> dict[str, str]:
    """A job's hash as a producer of Node leaves it."""
    return {"opts": json.dumps({"attempts": 0, **options}), "atm": str(made), "data": "{}"}


def read(fields: dict[str, str]) -> Any:
    """Let the library read it, after us."""

    class Queue:
        backend = None
        qualifiedName = "bull:q"

    return Job.fromJSON(Queue(), sound(fields), "1")


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        (job(), None),
        ({}, None),
        (job(attempts=3), 3),
        (job(made=2, attempts=3), 1),
        (job(made=9, attempts=3), 1),  # whoever put it back wants it tried
        (job(attempts=-3), None),
        (job(attempts="3"), None),
        (job(attempts=True), None),
        ({"opts": '{"attempts": 4}', "attemptsMade": "1"}, 3),  # as older libraries wrote it
        ({"opts": '{"attempts": 4}', "atm": "many"}, 4),
    ],
)
def test_the_attempts_that_the_producer_still_allows(fields: dict[str, str], left: int | None) -> None:
    """Those that others have made count; None leaves it to our own settings."""
    assert attempts_left(fields) == left


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (job(), None),
        (job(attempts=3), 0.0),  # attempts and no backoff: no pause
        (job(attempts=3, backoff=250), 0.25),
        (job(attempts=3, backoff=0), 0.0),
        (job(backoff={"type": "fixed", "delay": 1500}), 1.5),
        (job(backoff={"type": "fixed", "delay": 1500.5}), 1.5005),
        (job(made=5, backoff={"type": "fixed", "delay": 100}), 0.1),
        (job(made=0, backoff={"type": "exponential", "delay": 100}), 0.1),
        (job(made=3, backoff={"type": "exponential", "delay": 100}), 0.8),
        (job(made=10**6, backoff={"type": "exponential", "delay": 100}), 1e9),
        (job(backoff={"type": "their own", "delay": 100}), None),
        (job(backoff={"type": "fixed"}), None),
        (job(backoff={"type": "fixed", "delay": -1}), None),
        (job(backoff={"type": "fixed", "delay": 10**15}), None),
        (job(backoff={"type": "fixed", "delay": 100, "jitter": "much"}), 0.1),
    ],
)
def test_the_pause_that_the_producer_wants(fields: dict[str, str], seconds: float | None) -> None:
    """As Node calculates it; None leaves it to our own settings."""
    assert backoff_seconds(fields) == seconds


def test_jitter_shortens_the_pause_by_at_most_its_share() -> None:
    """As in Node: between (1 - jitter) and all of it."""
    fields = job(backoff={"type": "fixed", "delay": 1000, "jitter": 0.5})
    drawn = [backoff_seconds(fields) for _ in range(200)]
    assert all(seconds is not None and 0.5 <= seconds <= 1 for seconds in drawn)
    assert len(set(drawn)) > 100


def test_a_job_that_ended_and_comes_again_is_another_generation() -> None:
    """So is a new job that has the id of one that was removed."""
    first = {"timestamp": "1700000000000"}
    lives = [first, {**first, "orchestrator:life": "1"}, {"timestamp": "1700000000001"}, {"timestamp": "soon"}, {}]
    assert [generation(fields) for fields in lives] == ["1700000000000-0", "1700000000000-1", "1700000000001-0"] + (
        ["0-0"] * 2
    )


def test_what_settling_needs_is_kept() -> None:
    """How many ended jobs are kept, where it goes back to, and what becomes of its parent."""
    options = {"attempts": 5, "removeOnComplete": True, "removeOnFail": {"age": 60, "count": 9}, "lifo": True}
    found = read({**job(2, **options, fpof=True), "data": '{"large": 1}'})
    assert (found.id, found.attemptsMade, found.attempts, found.data) == ("1", 2, 5, {})
    kept = {**options, "failParentOnFailure": True}
    assert {name: found.opts[name] for name in kept} == kept


@pytest.mark.parametrize("name", OPTIONS)
def test_no_option_of_a_stranger_raises(name: str) -> None:
    """Neither here nor in the library, which would leave the job locked and unheard of."""
    for value in HOSTILE:
        fields = job(**{name: value})
        read(fields)
        attempts_left(fields)
        backoff_seconds(fields)


@pytest.mark.parametrize("field", ["opts", "data", "parent", "stacktrace", "progress", "atm", "stc", "timestamp"])
def test_no_field_of_a_stranger_raises(field: str) -> None:
    """Nor one that is no JSON, or no number."""
    for text in NO_JSON:
        fields = {**job(), field: text}
        read(fields)
        attempts_left(fields)
        backoff_seconds(fields)
        generation(fields)


def test_parents_that_contradict_themselves_are_read_as_none() -> None:
    """The library raises on two of them."""
    found = read(job(fpof=True, rdof=True))
    assert not found.opts.get("failParentOnFailure")
