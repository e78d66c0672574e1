"""The tracker and the fast view: what Redis remembers of a job agrees with the ledger, or is absent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

import pytest
import redis.asyncio as redis

from orchestrator import keys
from orchestrator.deliveries import DONE, Delivery, Outcome, Result, Verdict
from orchestrator.jobs import ChunkStatus, JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewJob
from orchestrator.sources.redis_stream import RedisStreamSource, connect
from orchestrator.tracker.reconcile import Reconciler
from orchestrator.tracker.redis_view import RedisView, fields_of
from orchestrator.tracker.tracker import JobTracker
from tests.support.jobs import delivery_of, new_job

TTL_SECONDS = 3600
AWAY = "redis://127.0.0.1:1/0"
COUNTED = Outcome(Verdict.PROCESSED, Result(entities=3, relations=2))
DEAD = Outcome(Verdict.FAILED, reason="model said 400")


@dataclass(frozen=True, slots=True)
class Tracking:
    """A tracker with its two sides."""

    ledger: Ledger
    client: redis.Redis
    view: RedisView
    tracker: JobTracker

    async def begin(self, job: NewJob, *indexes: int) -> list[Delivery]:
        """Begin chunks of a job and return what was taken."""
        return (await self.tracker.begin([delivery_of(job, i) for i in indexes])).taken

    async def submitted(self, size: int) -> NewJob:
        """Return a job that was written down."""
        job = new_job(size)
        await self.ledger.jobs.create(job)
        return job

    async def agree(self, job: NewJob) -> bool:
        """Return whether the view says what the ledger says."""
        view = await self.view.read(job.job_id) or {}
        view.pop("version", None)
        return view == fields_of(await self.ledger.jobs.get(job.job_id))


def tracker_over(ledger: Ledger, view: RedisView) -> JobTracker:
    """Return the tracker of the tests' queue."""
    return JobTracker(ledger, view, worker_type="lightrag", queue="q", job_type="ingestion")


@pytest.fixture
async def tracking(ledger: Ledger, redis_url: str) -> AsyncIterator[Tracking]:
    """A tracker over real servers."""
    client = connect(redis_url)
    view = RedisView(client, TTL_SECONDS)
    yield Tracking(ledger, client, view, tracker_over(ledger, view))
    await client.aclose()


async def events_of(ledger: Ledger, job: NewJob) -> list[tuple[str, dict[str, object]]]:
    """Return (type, data) of a job's events, in order."""
    statement = "SELECT type, data FROM events WHERE job_id = $1 ORDER BY seq"
    rows = await ledger.database.run(lambda c: c.fetch(statement, job.job_id))
    return [(row["type"], row["data"]) for row in rows]


async def test_x14_a_job_starts_once(tracking: Tracking) -> None:
    """The seed said ingestion.started for every chunk; here not even a redelivery says it again."""
    job = await tracking.submitted(3)
    for index in (0, 1, 2, 0):
        await tracking.begin(job, index)
    assert [kind for kind, _ in await events_of(tracking.ledger, job)] == ["ingestion.queued", "ingestion.started"]


async def test_x13_no_chunk_brings_an_ended_job_back(tracking: Tracking) -> None:
    """The seed set "processing" with each chunk that began, whatever the job's state was."""
    job = await tracking.submitted(2)
    taken = await tracking.begin(job, 0, 1)
    await tracking.tracker.settle([(d, DONE) for d in taken])
    begun = await tracking.tracker.begin([delivery_of(job, 0, "late")])
    assert (begun.taken, len(begun.ended)) == ([], 1)
    assert (await tracking.ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED


async def test_x18_the_view_agrees_after_a_crash_between_the_two(tracking: Tracking) -> None:
    """Settled in PostgreSQL, and then the worker died before Redis was told: the reconciler tells it."""
    job = await tracking.submitted(2)
    taken = await tracking.begin(job, 0)
    await tracking.tracker.refresh()
    assert await tracking.agree(job)
    crashed = tracker_over(tracking.ledger, tracking.view)
    await crashed.settle([(taken[0], COUNTED)])
    assert not await tracking.agree(job)
    source = RedisStreamSource(tracking.client, stream="q", group="g", lease_seconds=30)
    reconciler = Reconciler(tracking.ledger, source, tracking.view, worker_type="lightrag", queue="q")
    await source.open(["h-lightrag-0"])
    await reconciler.run_once(lease_seconds=30, quiet_seconds=30)
    assert await tracking.agree(job)


async def test_the_view_of_an_open_job_does_not_end_while_nothing_changes(tracking: Tracking) -> None:
    """A job that was delayed or paused for an hour was gone from Redis before it had begun."""
    source = RedisStreamSource(tracking.client, stream="q", group="g", lease_seconds=30)
    reconciler = Reconciler(tracking.ledger, source, tracking.view, worker_type="lightrag", queue="q")
    await source.open(["h-lightrag-0"])
    waits, ended = await tracking.submitted(1), await tracking.submitted(1)
    await tracking.tracker.settle([(d, DONE) for d in await tracking.begin(ended, 0)])
    age = 3 * (TTL_SECONDS // 2) + 10  # the third time that its view is due
    statement = "UPDATE jobs SET changed_at = changed_at - make_interval(secs => $1)"
    await tracking.ledger.database.run(lambda c: c.execute(statement, age))
    await reconciler.run_once(lease_seconds=30, quiet_seconds=30)
    assert await tracking.agree(waits) and await tracking.view.read(ended.job_id) is None
    assert await tracking.client.ttl(keys.job(waits.job_id)) > TTL_SECONDS - 10


async def test_x18_a_view_that_could_not_be_written_is_written_later(ledger: Ledger, redis_url: str) -> None:
    """Redis away is no reason to lose a settle, and no view is forgotten."""
    away = connect(AWAY)
    tracker = tracker_over(ledger, RedisView(away, TTL_SECONDS))
    job = new_job(1)
    await ledger.jobs.create(job)
    (taken,) = (await tracker.begin([delivery_of(job, 0)])).taken
    assert (await tracker.settle([(taken, DONE)])).accepted
    await tracker.refresh()
    await away.aclose()
    assert (await ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED


async def test_x20_the_views_life_begins_with_the_last_change(tracking: Tracking) -> None:
    """The seed's began with the job, so that one of more than an hour vanished while it ran."""
    job = await tracking.submitted(2)
    key = keys.job(job.job_id)
    taken = await tracking.begin(job, 0, 1)
    await tracking.tracker.refresh()
    for delivery in taken:
        await tracking.client.expire(key, 10)  # as if the job had run for long
        await tracking.tracker.settle([(delivery, DONE)])
        await tracking.tracker.refresh()
        assert TTL_SECONDS - 5 <= await tracking.client.ttl(key) <= TTL_SECONDS


async def test_x21_no_update_makes_a_zombie_of_an_expired_view(tracking: Tracking) -> None:
    """The seed's HSET brought the key back without its other fields and for ever: 0 %, created_at None, API 500."""
    job = await tracking.submitted(2)
    taken = await tracking.begin(job, 0, 1)
    await tracking.tracker.refresh()
    await tracking.client.delete(keys.job(job.job_id))
    await tracking.tracker.settle([(taken[0], DONE)])
    assert await tracking.view.read(job.job_id) is None
    await tracking.tracker.refresh()
    assert await tracking.agree(job)
    assert await tracking.client.ttl(keys.job(job.job_id)) > 0


async def test_x22_a_chunk_whose_jobs_view_is_gone_is_settled(tracking: Tracking) -> None:
    """The seed's processor raised KeyError then, and marked a chunk failed that had been processed."""
    job = await tracking.submitted(1)
    taken = await tracking.begin(job, 0)
    await tracking.client.flushall()
    settled = await tracking.tracker.settle([(taken[0], COUNTED)])
    assert len(settled.accepted) == 1
    ended = await tracking.ledger.jobs.get(job.job_id)
    assert (ended.status, ended.processed, ended.failed, ended.entities) == (JobStatus.COMPLETED, 1, 0, 3)


async def test_x24_the_duration_is_that_of_the_work(tracking: Tracking) -> None:
    """It was always 0. In the event, in the ledger and between the view's times it is the same."""
    job = await tracking.submitted(1)
    taken = await tracking.begin(job, 0)
    await tracking.ledger.database.run(
        lambda c: c.execute("UPDATE jobs SET started_at = started_at - interval '90 s' WHERE job_id = $1", job.job_id)
    )
    await tracking.tracker.settle([(taken[0], DONE)])
    await tracking.tracker.refresh()
    ended: Job = await tracking.ledger.jobs.get(job.job_id)
    assert ended.duration_seconds is not None and 90 <= ended.duration_seconds < 150
    (completed,) = [d for kind, d in await events_of(tracking.ledger, job) if kind == "ingestion.completed"]
    assert completed["duration_seconds"] == pytest.approx(ended.duration_seconds, abs=0.01)
    view = await tracking.view.read(job.job_id)
    assert view is not None
    began, done = (datetime.fromisoformat(view[name]) for name in ("started_at", "completed_at"))
    assert (done - began).total_seconds() == pytest.approx(ended.duration_seconds, abs=0.01)


async def test_x29_all_events_have_one_shape(tracking: Tracking) -> None:
    """The seed called one parameter metadata here and data there. Every event has data, with the same names."""
    job, failed = await tracking.submitted(2), await tracking.submitted(1)
    for delivery in await tracking.begin(job, 0, 1):
        await tracking.tracker.settle([(delivery, DONE)])
    await tracking.tracker.settle([(d, DEAD) for d in await tracking.begin(failed, 0)])
    told = await events_of(tracking.ledger, job) + await events_of(tracking.ledger, failed)
    assert [kind.removeprefix("ingestion.") for kind, _ in told] == [
        *("queued", "started", "progress", "progress", "completed"),
        *("queued", "started", "failed"),
    ]
    assert all(isinstance(data, dict) and data["chunks_total"] in {1, 2} for _, data in told)
    assert told[-1][1]["error"] == "model said 400"


async def test_a_burial_whose_commit_was_not_answered_keeps_its_reason(tracking: Tracking) -> None:
    """Settled again, it is refused as failed: the source buries it then, and was given no reason."""
    job = await tracking.submitted(1)
    [delivery] = await tracking.begin(job, 0)
    await tracking.tracker.settle([(delivery, DEAD)])
    [ended] = (await tracking.tracker.settle([(delivery, DEAD)])).ended
    assert (ended.ended_as, ended.reason) == (ChunkStatus.FAILED, DEAD.reason)


async def test_an_older_view_never_overwrites_a_newer_one(tracking: Tracking) -> None:
    """Two workers write the view of one job, and the slower one last."""
    job = await tracking.submitted(2)
    old = await tracking.ledger.jobs.get(job.job_id)
    taken = await tracking.begin(job, 0, 1)
    await tracking.tracker.settle([(d, DONE) for d in taken])
    await tracking.tracker.refresh()
    await tracking.view.write([old])
    assert await tracking.agree(job)


@pytest.mark.parametrize("foreign", [True, False])
async def test_a_message_that_comes_twice_at_once_is_not_acked_under_its_own_hands(
    tracking: Tracking, foreign: bool
) -> None:
    """SQS, slower than a lease, gave one message to two receives of one poll. The second was taken for a second entry
    of a chunk at work and acked, which deleted the message: its first failed, and was never delivered again. Of our
    own stream a second entry is none that anybody needs.
    """
    tracker = JobTracker(
        tracking.ledger, tracking.view, worker_type="lightrag", queue="q", job_type="ingestion", foreign=foreign
    )
    twice = [Delivery("m", "h", "ext", "0", "w", content="hello", chunks_total=1) for _ in range(2)]
    begun = await tracker.begin(twice)
    assert len(begun.taken) == 1
    assert len(begun.ended) == (0 if foreign else 1)
    assert not begun.wrong and not begun.later
