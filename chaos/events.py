"""The events of one job: complete, in order, each state once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from chaos.facts import Row
from chaos.findings import Finding

ENDS = ("completed", "failed", "cancelled")


def check_events(job: Row, events: Sequence[Row]) -> Iterator[Finding]:
    """Check the events of a job, in the order of their seq."""
    name, kinds = job["job_id"], [event["type"].rpartition(".")[2] for event in events]
    counted = Counter(kinds)
    wanted = {"queued": 1, "started": int(job["started_at"] is not None)}
    wanted |= {end: int(job["status"] == end) for end in ENDS}
    for kind, count in wanted.items():
        if counted[kind] != count:
            wrong = "counted_twice" if counted[kind] > count else "lost"
            yield Finding(wrong, f"job {name} has {counted[kind]} events {kind}, should have {count}")
    if kinds and kinds[0] != "queued":
        yield Finding("lost", f"job {name} begins with {kinds[0]}")
    if "progress" in kinds and "started" not in kinds[: kinds.index("progress")]:
        yield Finding("lost", f"job {name} had progress before it was started")
    if job["status"] in ENDS and kinds and kinds[-1] != job["status"]:
        yield Finding("lost", f"job {name} goes on with {kinds[-1]} after its end")
    yield from _check_progress(job, events, kinds)


def _check_progress(job: Row, events: Sequence[Row], kinds: Sequence[str]) -> Iterator[Finding]:
    name, last = job["job_id"], 0
    for event, kind in zip(events, kinds, strict=True):
        if kind != "progress":
            continue
        done, total = event["data"]["chunks_processed"], event["data"]["chunks_total"]
        if not last < done <= total:
            yield Finding("counted_twice", f"job {name} went from {last} to {done} of {total}")
        last = done
    if last != job["processed"]:
        kind = "lost" if last < job["processed"] else "counted_twice"
        yield Finding(kind, f"the events of job {name} end at {last}, it has {job['processed']} processed")
    for event, kind in zip(events, kinds, strict=True):
        if kind in ENDS and event["data"]["chunks_processed"] != job["processed"]:
            said = event["data"]["chunks_processed"]
            yield Finding("counted_twice", f"job {name} ended with {said} processed, has {job['processed']}")
