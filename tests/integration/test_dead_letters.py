"""Dead letters in the ledger: found, tried again as a new job, given up; once each, with an audit row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Outcome, Verdict
from orchestrator.errors import DependencyError, NotFoundError
from orchestrator.jobs import FailurePolicy, JobStatus, Priority
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from orchestrator.ledger.letters import WHOLE_KEPT, LetterStatus, Resolved, Selection
from tests.support.books import check_sums, events
from tests.support.jobs import delivery_of, ended_job

DONE = Outcome(Verdict.PROCESSED)
Entries = list[tuple[str, Mapping[str, Any]]]


async def failed(ledger: Ledger, size: int = 2, dead: int = 2, **changes: Any) -> NewJob:
    """Run a job to its end with its first `dead` chunks dead."""
    return await ended_job(ledger, size, dead, **changes)


async def retry(ledger: Ledger, put: Entries | None = None, limit: int = 1000, **selection: Any) -> Resolved:
    """Retry what is selected as the key `ops`; entries that are put back are appended to `put`."""

    async def put_back(queue: str, payloads: Sequence[Mapping[str, Any]]) -> None:
        (put if put is not None else []).extend((queue, payload) for payload in payloads)

    return await ledger.dead_letters.retry(Selection(**selection), actor="ops", put_back=put_back, limit=limit)


async def audited(ledger: Ledger) -> list[tuple[str, str | None, str, str, dict[str, Any]]]:
    """Return the audit in order."""
    rows = await ledger.audit.page(None, None, 100)
    return [(r.actor, r.tenant, r.action, r.target, dict(r.detail)) for r in reversed(rows)]


def late(job_id: str = "gone", **changes: Any) -> Delivery:
    """Return a sound entry of an external producer, whose job has ended."""
    values: dict[str, Any] = {"content": "hello", "metadata": {"k": [1]}, "source_uri": "file:x", "chunks_total": 3}
    return Delivery("7-1", "h", job_id, "c", "w", **{**values, **changes})


async def test_a_dead_chunk_is_a_letter_with_all_that_is_known_of_it(ledger: Ledger) -> None:
    """Its reason, how often it was tried and handed out, how long its text is; never the text."""
    job = await failed(ledger, 2, 1)
    (letter,) = await ledger.dead_letters.page()
    assert (letter.worker_type, letter.queue, letter.tenant) == ("lightrag", "q", "lab")
    assert (letter.job_id, letter.chunk_id, letter.status) == (job.job_id, "c0", LetterStatus.DEAD)
    assert (letter.reason, letter.attempts, letter.deliveries) == ("model said 400", 1, 1)
    assert letter.retriable and letter.resolved_at is None and letter.retried_as is None
    shown = await ledger.dead_letters.get(letter.id)
    assert (shown.text_length, shown.source_uri, shown.payload) == (len("text 0"), "file:0", {})


async def test_pages_go_back_in_time_and_filters_hold(ledger: Ledger) -> None:
    """Newest first, each once; by status, type, job and tenant; a tenant sees nothing of another's or of nobody's."""
    first, second = await failed(ledger, 3, 3), await failed(ledger, 1, 1, tenant="other", worker_type="charts")
    await ledger.dead_letters.bury("lightrag", "q", [(late(), "its job has ended")])
    letters = ledger.dead_letters
    everything = await letters.page()
    assert [letter.id for letter in everything] == sorted((letter.id for letter in everything), reverse=True)
    assert len(everything) == 5
    page, rest = await letters.page(limit=2), await letters.page(after=everything[1].id)
    assert page + rest == everything
    assert {letter.job_id for letter in await letters.page(job_id=first.job_id)} == {first.job_id}
    assert [letter.job_id for letter in await letters.page(worker_type="charts")] == [second.job_id]
    assert {letter.job_id for letter in await letters.page(tenant="other")} == {second.job_id}
    await letters.drop(Selection(job_id=first.job_id), actor="ops")
    assert len(await letters.page(status=LetterStatus.DROPPED)) == 3
    assert len(await letters.page(status=LetterStatus.DEAD)) == 2
    for letter_id, tenant in ((everything[0].id, "lab"), (everything[1].id, "lab"), (10**15, None)):
        with pytest.raises(NotFoundError):
            await letters.get(letter_id, tenant)


async def test_queues_of_one_name_have_letters_of_their_own(ledger: Ledger) -> None:
    """Two types on two servers, each with an entry of one receipt: the second was buried without a letter."""
    for worker_type in ("lightrag", "chat", "chat"):
        await ledger.dead_letters.bury(worker_type, "q", [(late(), "its job has ended")])
    assert sorted(letter.worker_type for letter in await ledger.dead_letters.page()) == ["chat", "lightrag"]


async def test_a_retry_is_a_new_job_and_the_old_one_stays_as_it_ended(ledger: Ledger) -> None:
    """No state leads out of an end, nothing is counted twice, and the chunks begin anew."""
    old = await failed(
        ledger, 4, 3, metadata={"k": 1}, priority=Priority.HIGH, source_type="test",
        failure_policy=FailurePolicy.BEST_EFFORT, budget=Decimal(5),
    )  # fmt: skip
    before = await ledger.jobs.get(old.job_id)
    told = await events(ledger, old.job_id)
    done = await retry(ledger, job_id=old.job_id)
    assert (len(done.letters), done.more, done.stuck) == (3, False, 0)
    (new,) = done.jobs
    assert (new.tenant, new.worker_type, new.queue, new.workspace) == ("lab", "lightrag", "q", "lab")
    assert (new.job_type, new.source_type, new.priority) == ("ingestion", "test", Priority.HIGH)
    assert (new.failure_policy, new.budget) == (FailurePolicy.BEST_EFFORT, Decimal(5))
    assert new.metadata == {"k": 1, "retry_of": old.job_id}
    assert (new.status, new.chunks_total, new.queued) == (JobStatus.QUEUED, 3, 3)
    assert await ledger.jobs.get(old.job_id) == before and await events(ledger, old.job_id) == told
    rows = await ledger.jobs.chunks(new.job_id, status=None, after=None, limit=10)
    assert [(r["chunk_id"], r["seq"], r["source_uri"]) for r in rows] == [(f"c{i}", i, f"file:{i}") for i in range(3)]
    assert {(r["attempts"], r["deliveries"], r["error"]) for r in rows} == {(0, 0, None)}
    waiting = await ledger.database.run(lambda c: c.fetch("SELECT job_id, queue FROM outbox ORDER BY id"))
    assert (new.job_id, "q") in [tuple(row) for row in waiting]
    again = replace(old, job_id=new.job_id)
    taken = (await ledger.chunks.claim([delivery_of(again, i) for i in range(3)])).taken
    assert [(d.content, d.attempt, d.deliveries) for d in taken] == [(f"text {i}", 1, 1) for i in range(3)]
    await ledger.chunks.settle([(d, DONE) for d in taken])
    assert (await check_sums(ledger, new.job_id)).status is JobStatus.COMPLETED
    assert [kind for kind, _ in await events(ledger, new.job_id)] == ["queued", "started", "progress", "completed"]


async def test_each_old_job_gets_one_new_one(ledger: Ledger) -> None:
    """All letters of a type: as many new jobs as there were old ones, each with the chunks of its own."""
    sizes = {(await failed(ledger, n, n)).job_id: n for n in (1, 2, 3)}
    await failed(ledger, 1, 1, worker_type="charts")
    done = await retry(ledger, worker_type="lightrag")
    assert {job.metadata["retry_of"]: job.chunks_total for job in done.jobs} == sizes
    assert len(await ledger.dead_letters.page(status=LetterStatus.DEAD)) == 1
    for job in done.jobs:
        assert (await ledger.jobs.get(job.job_id)).queued == sizes[job.metadata["retry_of"]]


async def test_what_a_retry_may_still_cost_is_what_the_first_run_left(ledger: Ledger) -> None:
    """Else every retry would double the budget; one that is spent leaves nothing, and not a debt."""
    for cost, left in ((Decimal("3.5"), Decimal("1.5")), (Decimal(7), Decimal(0))):
        old = await failed(ledger, 1, 1, budget=Decimal(5))
        query = "UPDATE jobs SET cost = $2 WHERE job_id = $1"
        await ledger.database.run(lambda c, q=query, o=old, n=cost: c.execute(q, o.job_id, n))  # type: ignore[misc]
        assert [job.budget for job in (await retry(ledger, job_id=old.job_id)).jobs] == [left]


async def test_a_letter_is_resolved_once_whoever_asks_at_the_same_time(ledger: Ledger) -> None:
    """Six callers retry or drop the same letters: each letter counts for one of them, and no chunk runs twice."""
    job = await failed(ledger, 5, 5)
    ids = [letter.id for letter in await ledger.dead_letters.page()]
    selections = ({"ids": ids}, {"ids": ids[::-1]}, {"job_id": job.job_id})
    calls = [retry(ledger, **s) for s in selections]
    drops = [ledger.dead_letters.drop(Selection(**s), actor="ops") for s in selections]
    done = await asyncio.gather(*calls, *drops)
    assert sum(len(d.letters) for d in done) == 5 == len(await audited(ledger))
    retried = await ledger.dead_letters.page(status=LetterStatus.RETRIED)
    made = await ledger.database.run(lambda c: c.fetchval("SELECT count(*) FROM chunks WHERE status = 'queued'"))
    assert made == len(retried)


async def test_a_call_is_bounded_and_says_that_more_remain(ledger: Ledger) -> None:
    """The oldest first; again, until none is left."""
    job = await failed(ledger, 5, 5)
    first = await retry(ledger, limit=2, job_id=job.job_id)
    assert [b.chunk_id for b in first.letters] == ["c0", "c1"] and first.more
    second = await ledger.dead_letters.drop(Selection(job_id=job.job_id), actor="ops", limit=2)
    assert [b.chunk_id for b in second.letters] == ["c2", "c3"] and second.more
    third = await retry(ledger, limit=2, job_id=job.job_id)
    assert len(third.letters) == 1 and not third.more
    assert (await retry(ledger, job_id=job.job_id)).letters == []


async def test_a_tenant_resolves_its_own_letters_alone(ledger: Ledger) -> None:
    """By id, by job or by type: what is another's is passed over, and so are entries of nobody."""
    job = await failed(ledger, 1, 1, tenant="alpha")
    await ledger.dead_letters.bury("lightrag", "q", [(late(), "its job has ended")])
    ids = [letter.id for letter in await ledger.dead_letters.page()]
    for selection in ({"ids": ids}, {"job_id": job.job_id}, {"worker_type": "lightrag"}):
        assert (await retry(ledger, tenant="beta", **selection)).letters == []
        assert (await ledger.dead_letters.drop(Selection(tenant="beta", **selection), actor="x")).letters == []
    mine = await retry(ledger, tenant="alpha", worker_type="lightrag")
    assert [b.job_id for b in mine.letters] == [job.job_id] and mine.stuck == 0


async def test_every_letter_has_its_audit_row(ledger: Ledger) -> None:
    """Who did what to which letter, what it was, and where it went; in the transaction of the change."""
    job = await failed(ledger, 2, 2)
    first, second = sorted(letter.id for letter in await ledger.dead_letters.page())
    (new,) = (await retry(ledger, ids=[first])).jobs
    await ledger.dead_letters.drop(Selection(ids=[second]), actor="somebody")
    of = {"worker_type": "lightrag", "job_id": job.job_id}
    assert await audited(ledger) == [
        ("ops", "lab", "retry", f"dead-letter/{first}", {**of, "chunk_id": "c0", "retried_as": new.job_id}),
        ("somebody", "lab", "drop", f"dead-letter/{second}", {**of, "chunk_id": "c1"}),
    ]
    letter = await ledger.dead_letters.get(first)
    assert (letter.status, letter.retried_as, letter.retriable) == (LetterStatus.RETRIED, new.job_id, False)
    assert letter.resolved_at is not None


async def test_only_the_dead_are_counted_as_dead(ledger: Ledger) -> None:
    """The status line's number goes down when letters are retried or dropped."""
    await failed(ledger, 3, 3)
    ids = [letter.id for letter in await ledger.dead_letters.page()]
    assert (await ledger.workers.totals())["lightrag"].dead == 3
    await ledger.dead_letters.drop(Selection(ids=ids[:1]), actor="ops")
    assert (await ledger.workers.totals())["lightrag"].dead == 2
    await retry(ledger, ids=ids[1:])
    totals = (await ledger.workers.totals())["lightrag"]
    assert (totals.dead, totals.queued) == (0, 2)


async def test_a_deleted_job_takes_its_letters_along_and_its_retry_goes_on(ledger: Ledger) -> None:
    """The new job is one of its own; the audit stays."""
    job = await failed(ledger, 2, 2)
    done = await retry(ledger, job_id=job.job_id)
    assert await ledger.jobs.delete(job.job_id)
    assert await ledger.dead_letters.page() == []
    assert (await ledger.jobs.get(done.jobs[0].job_id)).queued == 2
    assert len(await audited(ledger)) == 2


async def test_a_sound_entry_goes_back_as_it_came(ledger: Ledger) -> None:
    """Of an entry that came too late everything was kept; of our own, the reference."""
    ours = Delivery("8-1", "h", "deleted", "c1", "w")
    await ledger.dead_letters.bury("lightrag", "q", [(late(), "its job has ended"), (ours, "no such chunk")])
    put: Entries = []
    done = await retry(ledger, put, worker_type="lightrag")
    assert (len(done.letters), done.jobs, done.stuck) == (2, [], 0)
    assert put == [
        ("q", {"job_id": "gone", "chunk_id": "c", "workspace": "w", "content": "hello", "source_uri": "file:x",
               "metadata": {"k": [1]}, "chunks_total": 3, "whole": True}),
        ("q", {"job_id": "deleted", "chunk_id": "c1", "workspace": "w", "whole": True}),
    ]  # fmt: skip
    shown = [await ledger.dead_letters.get(b.id) for b in done.letters]
    assert [(s.text_length, s.source_uri, s.status) for s in shown] == [
        (5, "file:x", LetterStatus.RETRIED), (None, "", LetterStatus.RETRIED),
    ]  # fmt: skip


async def test_what_was_not_kept_whole_can_only_be_dropped(ledger: Ledger) -> None:
    """A malformed entry, and one whose text is longer than what is kept: the answer says how many there are."""
    wrong = Delivery("9-1", "h", "j\x00", "c", content="x" * 5000, problem="field metadata is not JSON")
    long = late(content="x" * (WHOLE_KEPT + 1))
    long.receipt = "9-2"
    await ledger.dead_letters.bury("lightrag", "q", [(wrong, wrong.problem or ""), (long, "its job has ended")])
    await failed(ledger, 1, 1)
    done = await retry(ledger, worker_type="lightrag")
    assert (len(done.letters), done.stuck) == (1, 2)
    left = await ledger.dead_letters.page(status=LetterStatus.DEAD)
    assert len(left) == 2 and not any(letter.retriable for letter in left)
    shown = await ledger.dead_letters.get(left[1].id)
    assert (shown.payload["job_id"], len(shown.payload["content"])) == ("j\ufffd", 200)
    dropped = await ledger.dead_letters.drop(Selection(worker_type="lightrag"), actor="ops")
    assert len(dropped.letters) == 2


async def test_when_redis_is_away_nothing_has_changed(ledger: Ledger) -> None:
    """Entries are put back just before the commit; chunks retried in the same call are not retried either."""
    job = await failed(ledger, 2, 2)
    await ledger.dead_letters.bury("lightrag", "q", [(late(), "its job has ended")])

    async def away(queue: str, payloads: Sequence[Mapping[str, Any]]) -> None:
        raise DependencyError("Redis does not answer")

    with pytest.raises(DependencyError):
        await ledger.dead_letters.retry(Selection(worker_type="lightrag"), actor="ops", put_back=away)
    assert len(await ledger.dead_letters.page(status=LetterStatus.DEAD)) == 3
    assert await audited(ledger) == []
    assert len(await ledger.jobs.page(tenant=None, status=None, after=None, limit=10)) == 1
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.FAILED
