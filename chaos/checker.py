"""The checker: what must be true after any run. Pure, over rows; it shares no code with the product."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from chaos.accepted import Accepted
from chaos.events import check_events
from chaos.facts import Facts, Row
from chaos.findings import Finding
from chaos.plan import RETRY_ATTEMPTS

ENDED = ("completed", "failed", "cancelled")
CHUNK_ENDED = ("processed", "failed", "cancelled")
RUN_ENDED = ("done", "failed", "cut")
COUNTERS = ("processed", "failed", "cancelled", "running")


def judge(
    facts: Facts,
    accepted: Mapping[str, Accepted],
    *,
    malformed: Mapping[str, str],
    permanent: Collection[str],
    max_deliveries: int,
) -> list[Finding]:
    """Return everything that is wrong.

    `malformed`: receipts of what had to be buried. `permanent`: the keys of Redis that may live for ever; there is no
    other, and none of the limiter's either, for these handlers call no model.
    """
    rows: dict[str, list[Row]] = defaultdict(list)
    for chunk in facts.chunks:
        rows[chunk["job_id"]].append(chunk)
    found: list[Finding] = []
    jobs = {job["job_id"]: job for job in facts.jobs}
    for job_id, wanted in accepted.items():
        if job_id not in jobs:
            found.append(Finding("lost", f"job {job_id} was accepted and is not there", len(wanted.chunks)))
    events: dict[str, list[Row]] = defaultdict(list)
    for event in facts.events:
        events[event["job_id"]].append(event)
    for job_id, job in jobs.items():
        wanted = accepted.get(job_id) or _unknown(job, rows[job_id])
        found += _check_job(job, wanted, rows[job_id])
        found += check_events(job, events[job_id])
        found += _check_chunks(wanted, rows[job_id], facts, max_deliveries)
    found += _check_letters(facts)
    found += _check_entries(facts.letters, malformed)
    found += check_history(facts.history)
    found += _check_rest(facts, jobs, permanent)
    return found


def _unknown(job: Row, chunks: Sequence[Row]) -> Accepted:
    """Return what a job is that was taken and whose producer did not hear of it: the ledger says what it is made of."""
    texts = {chunk["chunk_id"]: chunk["content"] for chunk in chunks}
    return Accepted(job["job_id"], texts, policy=job["failure_policy"], max_failed=job["max_failed"])


def _check_job(job: Row, wanted: Accepted, chunks: Sequence[Row]) -> Iterator[Finding]:
    name, counted = job["job_id"], Counter(chunk["status"] for chunk in chunks)
    if (has := (job["failure_policy"], job["max_failed"])) != (asked := (wanted.policy, wanted.max_failed)):
        yield Finding("lost", f"job {name} has policy {has}, was submitted with {asked}")
    for counter in COUNTERS:
        more = job[counter] - counted[counter]
        if more:
            kind = "counted_twice" if more > 0 else "lost"
            yield Finding(kind, f"job {name} counts {job[counter]} {counter}, has {counted[counter]}", abs(more))
    if job["status"] not in ENDED:
        yield Finding("stuck", f"job {name} is {job['status']}: {dict(counted)} of {job['chunks_total']}")
    else:
        yield from _check_ended(job, wanted, chunks, counted)


def _check_ended(job: Row, wanted: Accepted, chunks: Sequence[Row], counted: Counter[str]) -> Iterator[Finding]:
    name = job["job_id"]
    if left := [c["chunk_id"] for c in chunks if c["status"] not in CHUNK_ENDED]:
        yield Finding("lost", f"job {name} has ended as {job['status']} without {left[:5]}", len(left))
    if job["chunks_total"] != len(chunks):
        kind = "lost" if job["chunks_total"] > len(chunks) else "counted_twice"
        yield Finding(kind, f"job {name} has {len(chunks)} chunks of {job['chunks_total']}")
    if job["status"] != (right := _status(wanted, counted)):
        yield Finding("lost", f"job {name} is {job['status']}, should be {right}: {dict(counted)}")


def _status(wanted: Accepted, counted: Counter[str]) -> str:
    best = wanted.policy == "best_effort" and counted["processed"] + counted["cancelled"] > 0
    borne = wanted.policy == "threshold" and counted["failed"] <= wanted.max_failed
    failed = counted["failed"] > 0 and not best and not borne
    return "failed" if failed else "cancelled" if counted["cancelled"] else "completed"


def expected(text: str) -> tuple[str, int]:
    """Return how a chunk that does as its text says has to end, and after how many attempts."""
    what, _, amount = text.partition(" ")[0].partition(":")
    if what == "fail":
        attempts = int(amount) + 1
        return ("processed", attempts) if attempts <= RETRY_ATTEMPTS else ("failed", RETRY_ATTEMPTS)
    return {"reject": ("failed", 1), "hang": ("failed", RETRY_ATTEMPTS), "poison": ("failed", 0)}.get(
        what, ("processed", 1)
    )


def _check_chunks(wanted: Accepted, chunks: Sequence[Row], facts: Facts, max_deliveries: int) -> Iterator[Finding]:
    have = {chunk["chunk_id"]: chunk for chunk in chunks}
    for chunk_id in wanted.chunks.keys() - have.keys():
        yield Finding("lost", f"chunk {wanted.job_id}/{chunk_id} is not there")
    for chunk_id in have.keys() - wanted.chunks.keys():
        yield Finding("counted_twice", f"chunk {wanted.job_id}/{chunk_id} was never submitted")
    may_cancel = wanted.cancelled or wanted.given_up(sum(chunk["status"] == "failed" for chunk in chunks))
    for chunk_id, chunk in have.items():
        if chunk_id in wanted.chunks and chunk["status"] in CHUNK_ENDED:
            text = wanted.chunks[chunk_id]
            yield from _check_end(chunk, text, may_cancel)
            yield from _check_runs(chunk, text, facts, max_deliveries)


def _check_end(chunk: Row, text: str, may_cancel: bool) -> Iterator[Finding]:
    status, attempts = expected(text)
    name = _name(chunk, text)
    if chunk["content"] != text:
        yield Finding("lost", f"{name} has another text")
    if chunk["status"] == "cancelled":
        if not may_cancel:
            yield Finding("lost", f"{name} was cancelled by nobody")
        most = max(0, attempts - 1)  # the last one would have ended it otherwise, and whoever cancels counts none
        if chunk["attempts"] > most:
            yield Finding("penalised", f"{name} has {chunk['attempts']} attempts, may have {most}")
    elif chunk["status"] != status:
        kind = "penalised" if chunk["status"] == "failed" else "lost"
        yield Finding(kind, f"{name} is {chunk['status']}, should be {status}: {chunk['error']}")
    elif chunk["attempts"] != attempts:  # fewer when it was buried as poison before it could fail of itself
        kind = "penalised" if chunk["attempts"] > attempts else "lost"
        yield Finding(kind, f"{name} has {chunk['attempts']} attempts, should have {attempts}: {chunk['error']}")


def _check_runs(chunk: Row, text: str, facts: Facts, max_deliveries: int) -> Iterator[Finding]:
    """Check what its handlers wrote down: a processed chunk was run to its end, a deadly one as often as it may.

    Past `max_deliveries` a chunk is handed out once more, not to be run but to be buried; again when whoever buries it
    dies. It may never be run then, and has to be buried in the end.
    """
    key, name = (chunk["job_id"], chunk["chunk_id"]), _name(chunk, text)
    if chunk["status"] == "processed" and not facts.runs["done", *key]:
        yield Finding("lost", f"{name} is processed and was never run to its end")
    buried = chunk["status"] == "failed" and (chunk["error"] or "").startswith("poison:")
    if chunk["deliveries"] > max_deliveries and not buried:
        yield Finding("stuck", f"{name} was handed out {chunk['deliveries']} times, may be {max_deliveries} times")
    deaths = facts.runs["start", *key] - sum(facts.runs[end, *key] for end in RUN_ENDED)
    if deaths > max_deliveries:
        yield Finding("stuck", f"{name} was run {deaths} times to no end, may be {max_deliveries} times")


def _name(chunk: Row, text: str) -> str:
    return f"chunk {chunk['job_id']}/{chunk['chunk_id']} ({text})"


def _check_letters(facts: Facts) -> Iterator[Finding]:
    of_chunks = Counter((r["job_id"], r["chunk_id"]) for r in facts.letters if r["job_id"] is not None)
    failed = {(c["job_id"], c["chunk_id"]) for c in facts.chunks if c["status"] == "failed"}
    for key in failed - of_chunks.keys():
        yield Finding("lost", f"chunk {'/'.join(key)} is dead without a letter")
    for key, count in of_chunks.items():
        if count > 1 or key not in failed:
            yield Finding("counted_twice", f"chunk {'/'.join(key)} has {count} letters")


def _check_entries(letters: Sequence[Row], malformed: Mapping[str, str]) -> Iterator[Finding]:
    of_entries = Counter(r["receipt"] for r in letters if r["job_id"] is None)
    given_back = _given_back(letters, malformed)
    for entry in malformed.keys() - of_entries.keys():
        if given_back[malformed[entry]]:
            given_back[malformed[entry]] -= 1
        else:
            yield Finding("lost", f"entry {entry} ({malformed[entry]}) was not buried")
    for entry, count in of_entries.items():
        if count > 1:
            yield Finding("counted_twice", f"entry {entry} was buried {count} times")
    for letter in letters:
        if not letter["reason"]:
            yield Finding("lost", f"dead letter {letter['id']} says no reason")


def _given_back(letters: Sequence[Row], malformed: Mapping[str, str]) -> Counter[str]:
    """Return how many of each kind were buried under another id: what a drain gives back is a new entry.

    Nothing but what was given back has an id that nobody was told, younger than the oldest that had to be buried.
    """
    kinds = {r["reason"]: malformed[r["receipt"]] for r in letters if r["receipt"] in malformed}
    oldest = min((_place(entry) for entry in malformed), default=(0, 0))
    younger = (r for r in letters if r["job_id"] is None and _place(r["receipt"]) > oldest)
    return Counter(kinds[r["reason"]] for r in younger if r["receipt"] not in malformed and r["reason"] in kinds)


def _place(entry: str) -> tuple[int, int]:
    """Return where an id of a stream stands; of another queue's, before all."""
    time, _, number = entry.partition("-")
    return (int(time), int(number)) if time.isdigit() and number.isdigit() else (0, 0)


def check_history(history: Sequence[Row]) -> Iterator[Finding]:
    """Check every change of a chunk: settled once, by whoever held it, under the lease that it had."""
    ended: set[tuple[str, str]] = set()
    for row in history:
        key = (row["job_id"], row["chunk_id"])
        name = f"chunk {'/'.join(key)}: {row['was']} to {row['is_']} by {row['who']}"
        if key in ended:
            yield Finding("counted_twice", f"{name}, after its end")
        if row["is_"] in CHUNK_ENDED:
            ended.add(key)
        yield from check_settle(row)


def check_settle(row: Row) -> Iterator[Finding]:
    """Check that a chunk was settled by whoever held it, under the lease that it had."""
    if row["was"] != "running" or row["is_"] in ("running", "cancelled"):
        return
    name = f"chunk {row['job_id']}/{row['chunk_id']}: {row['was']} to {row['is_']} by {row['who']}"
    settled = row["is_"] != "queued" or row["attempts"] or row["deliveries"]
    if settled and row["held_by"] != row["who"]:
        yield Finding("counted_twice", f"{name}, but {row['held_by']} held it")
    elif row["said_token"] is not None and row["said_token"] != row["held_token"]:
        yield Finding("counted_twice", f"{name}, by a run that had lost its lease")


def _check_rest(facts: Facts, jobs: Mapping[str, Row], permanent: Collection[str]) -> Iterator[Finding]:
    left = {**facts.left, "jobs in the outbox": facts.outbox, "pauses": facts.pauses}
    yield from (Finding("stuck", f"{count} {what} left", count) for what, count in left.items() if count)
    for key, life in facts.keys.items():
        if life < 0 and key not in permanent:
            yield Finding("stuck", f"key {key} has no lifetime")
    for job_id, view in facts.views.items():
        job = jobs.get(job_id)
        if job is None:
            yield Finding("counted_twice", f"a view of job {job_id}, which is not there")
        elif view["status"] != job["status"] or int(view["chunks_processed"]) != job["processed"]:
            has = f"{view['status']} {view['chunks_processed']}, is {job['status']} {job['processed']}"
            yield Finding("stuck", f"the view of job {job_id} says {has}")
