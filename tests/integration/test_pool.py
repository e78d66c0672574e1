"""The pool over a real ledger and a real Redis: nothing lost, nothing counted twice, whatever the handler does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import DependencyError, RejectError, RetryError
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.chunks import Chunks
from orchestrator.pool.leases import LEDGER_CHECK_SECONDS
from orchestrator.sources.redis_stream import RedisStreamSource
from orchestrator.tracker.reconcile import Reconciler
from tests.support.calls import calls_of
from tests.support.jobs import new_job
from tests.support.system import system
from tests.support.wait import wait_until


async def test_a_job_runs_to_its_end_and_leaves_no_entry(ledger: Ledger, redis_url: str) -> None:
    """E-19: read, process, status, ack, repeat; X-33: the stream is empty afterwards."""
    job = new_job(25)
    async with system(ledger, redis_url) as worker:
        await worker.submit(job)
        ended = await worker.ended(job.job_id)
        assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 25)
        await wait_until(worker.empty)
        view = await wait_until(lambda: completed_view(worker.view.read(job.job_id)))
        assert view is not None and view["chunks_processed"] == "25"
        assert 0 < await worker.client.ttl(f"job:{job.job_id}") <= 3600
    assert sorted(worker.handler.runs) == sorted((f"c{i}", 1) for i in range(25))


async def test_a_redis_that_goes_away_as_the_pool_begins_ends_nothing(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue was opened once more as the pool began: where that failed the process ended, with an error."""
    opened = RedisStreamSource.open

    async def once(source: RedisStreamSource, consumers: Sequence[str]) -> None:
        monkeypatch.setattr(RedisStreamSource, "open", away)
        await opened(source, consumers)

    async def away(source: RedisStreamSource, consumers: Sequence[str]) -> None:
        raise DependencyError("Redis does not answer")

    monkeypatch.setattr(RedisStreamSource, "open", once)
    job = new_job(3)
    async with system(ledger, redis_url) as worker:
        await worker.submit(job)
        assert (await worker.ended(job.job_id)).status == JobStatus.COMPLETED


async def completed_view(reading: object) -> dict[str, str] | None:
    """Return the view once it says completed."""
    view = await reading  # type: ignore[misc]
    return view if view and view["status"] == "completed" else None


async def test_x02_a_failing_chunk_is_retried_then_dead_while_its_siblings_go_on(
    ledger: Ledger, redis_url: str
) -> None:
    """Three attempts, a dead letter with the reason, and a job that fails only at the end."""

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.chunk_id == "c0":
            raise ValueError("model broke")
        if delivery.chunk_id == "c1" and delivery.attempt < 3:
            raise RetryError("not yet")
        if delivery.chunk_id == "c2":
            raise RejectError("not prose")
        return Result()

    job = new_job(6)
    async with system(ledger, redis_url, work) as worker:
        await worker.submit(job)
        ended = await worker.ended(job.job_id)
        assert (ended.status, ended.processed, ended.failed) == (JobStatus.FAILED, 4, 2)
        await wait_until(worker.empty)
        rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
        by_id = {r["chunk_id"]: r for r in rows}
        assert by_id["c0"]["attempts"] == 3 and "model broke" in by_id["c0"]["error"]
        assert by_id["c1"]["attempts"] == 3 and by_id["c2"]["attempts"] == 1
        assert await worker.client.xlen("q:dead") == 2
    assert [n for c, n in worker.handler.runs if c == "c0"] == [1, 2, 3]


async def test_x08_a_hanging_handler_is_timed_out(ledger: Ledger, redis_url: str) -> None:
    """The seed's timeout was never used: a hung chunk held its worker for ever."""

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.attempt == 1:
            await asyncio.Event().wait()
        return Result()

    job = new_job(1)
    async with system(ledger, redis_url, work, timeout_seconds=0.2) as worker:
        await worker.submit(job)
        assert (await worker.ended(job.job_id)).status is JobStatus.COMPLETED
    assert worker.handler.runs == [("c0", 1), ("c0", 2)]


async def test_a_process_that_was_stopped_times_nobody_out(ledger: Ledger, redis_url: str) -> None:
    """After SIGSTOP and SIGCONT the time limit of runs that had nearly ended was over: each of them lost an attempt."""

    async def work(delivery: Delivery, context: Context) -> Result:
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, time.sleep, 1.5)  # nothing turns, as when the process is stopped
        await asyncio.sleep(0.6)
        return Result()

    job = new_job(1)
    async with system(ledger, redis_url, work, timeout_seconds=1.0, lease_seconds=10.0) as worker:
        await worker.submit(job)
        assert (await worker.ended(job.job_id)).status is JobStatus.COMPLETED
    assert worker.handler.runs == [("c0", 1)]


async def test_x01_a_slot_is_recycled_after_its_share_without_dropping_a_task(ledger: Ledger, redis_url: str) -> None:
    """The seed handled one task of each batch after its limit and abandoned the rest: 1,800 of 3,000."""
    job = new_job(60)
    async with system(ledger, redis_url, max_tasks_per_child=7, size=2, batch=5) as worker:
        await worker.submit(job)
        ended = await worker.ended(job.job_id)
        assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 60)
    assert len(worker.handler.runs) == 60
    stopped = [tasks for kind, _, tasks in worker.announced if kind == "stopped"]
    assert len(stopped) > 6 and max(stopped) == 7


async def test_a_drain_finishes_what_is_held_and_reads_no_more(ledger: Ledger, redis_url: str) -> None:
    """X-04, E-25: within the grace period nothing is interrupted, however long it takes here: it ends when empty."""
    begun = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        begun.set()
        await asyncio.sleep(0.3)
        return Result()

    job = new_job(30)
    async with system(ledger, redis_url, work, size=1, batch=4, grace_period_seconds=20.0) as worker:
        await worker.submit(job)
        await begun.wait()
        worker.pool.stop()
        worker.pool.stop()
    after = await ledger.jobs.get(job.job_id)
    assert after.processed == len(worker.handler.runs) and after.running == 0
    assert 1 <= after.processed <= 8


async def test_x07_what_outlasts_the_grace_period_is_released_and_burns_nothing(ledger: Ledger, redis_url: str) -> None:
    """The seed cancelled and forgot: the job stayed in processing. Here it is queued again, with its attempts."""
    begun = asyncio.Event()

    async def hang(delivery: Delivery, context: Context) -> Result:
        begun.set()
        await asyncio.Event().wait()
        return Result()

    job = new_job(2)
    async with system(ledger, redis_url, hang, grace_period_seconds=1.0) as worker:
        await worker.submit(job)
        await begun.wait()
    after = await ledger.jobs.get(job.job_id)
    assert (after.queued, after.running) == (2, 0)
    async with system(ledger, redis_url) as successor:
        assert (await successor.ended(job.job_id)).processed == 2
    assert sorted(successor.handler.runs) == [("c0", 1), ("c1", 1)]
    rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
    assert [r["deliveries"] for r in rows] == [1, 1]


async def test_a_cancelled_jobs_handlers_stop(ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two seconds, by the first or the second look at the ledger; with nothing left on the stream."""
    assert LEDGER_CHECK_SECONDS <= 1
    looks = calls_of(monkeypatch, Chunks, "leases_lost")
    stopped: list[str] = []

    async def work(delivery: Delivery, context: Context) -> Result:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(delivery.chunk_id)
        return Result()

    job = new_job(20)
    async with system(ledger, redis_url, work, timeout_seconds=60.0) as worker:
        await worker.submit(job)
        await wait_until(lambda: as_many(worker.handler.runs, 8))
        cancelled = await ledger.jobs.cancel(job.job_id)
        before = len(looks.returned)
        assert cancelled.status is JobStatus.CANCELLED
        await wait_until(lambda: as_many(stopped, 8))
        assert sum(map(len, looks.returned)) == 8 and len(looks.returned) - before <= 2
        await wait_until(worker.empty)
    assert len(worker.handler.runs) == len(stopped) == 8


async def as_many(happened: Sequence[object], count: int) -> bool:
    """Return whether it has happened so often."""
    return len(happened) >= count


async def test_a_job_goes_on_after_redis_lost_everything(ledger: Ledger, redis_url: str) -> None:
    """PostgreSQL is the truth: the reconciler publishes again what has not ended."""
    job = new_job(10)
    async with system(ledger, redis_url) as worker:
        await ledger.jobs.create(job)
        worker.pool.stop()
    async with system(ledger, redis_url, size=1) as worker:
        await worker.client.flushall()
        reconciler = Reconciler(ledger, worker.source, worker.view, worker_type="lightrag", queue="q")
        await ledger.database.run(lambda c: c.execute("DELETE FROM outbox"))
        for _ in range(2):
            await reconciler.run_once(lease_seconds=0.6, quiet_seconds=30)
        assert await worker.relay.flush() >= 10
        assert (await worker.ended(job.job_id)).processed == 10


async def test_x36_a_malformed_entry_is_buried_with_its_reason(ledger: Ledger, redis_url: str) -> None:
    """It neither loops nor kills the worker, and the next entry is served."""
    job = new_job(1)
    async with system(ledger, redis_url) as worker:
        await worker.client.xadd("q", {"nonsense": b"\xff\x00"})
        await worker.client.xadd("q", {"job_id": "unknown-job", "chunk_id": "c", "workspace": "w", "v": "1"})
        await worker.submit(job)
        assert (await worker.ended(job.job_id)).processed == 1
        await wait_until(worker.empty)
        assert await worker.client.xlen("q:dead") == 2
        rows = await ledger.database.run(lambda c: c.fetch("SELECT reason FROM dead_letters ORDER BY id"))
        assert "job_id" in rows[0]["reason"] and "no such chunk" in rows[1]["reason"]


async def test_an_external_producers_job_is_tracked_from_its_first_entry(ledger: Ledger, redis_url: str) -> None:
    """Design 2: an entry with its text writes its own ledger rows."""
    async with system(ledger, redis_url) as worker:
        for n in range(3):
            entry: dict[Any, Any] = {"job_id": "ext", "chunk_id": f"c{n}", "content": f"text {n}", "chunks_total": "3"}
            entry |= {"metadata": '{"page": 1}', "workspace": "w"}
            await worker.client.xadd("q", entry)
        await wait_until(lambda: exists(ledger, "ext"))
        assert (await worker.ended("ext")).processed == 3


async def exists(ledger: Ledger, job_id: str) -> bool:
    """Return whether the ledger knows the job."""
    return bool(await ledger.jobs.many([job_id]))


@pytest.mark.parametrize("signal_first", ["redis", "postgres"])
async def test_a_pool_survives_an_outage(
    ledger: Ledger, redis_url: str, signal_first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis restarted empty, or every connection of PostgreSQL cut, in the middle of a job."""
    begun = asyncio.Event()

    async def work(delivery: Delivery, context: Context) -> Result:
        begun.set()
        await asyncio.sleep(0.05)
        return Result()

    job = new_job(40)
    async with system(ledger, redis_url, work) as worker:
        await worker.submit(job)
        await begun.wait()
        if signal_first == "redis":
            await worker.client.flushall()
        else:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            await ledger.database.run(lambda c: c.execute(cut + " AND datname = current_database()"))
        reconciler = Reconciler(ledger, worker.source, worker.view, worker_type="lightrag", queue="q")

        async def mend() -> bool:
            try:
                await reconciler.run_once(lease_seconds=0.6, quiet_seconds=30)
                await worker.relay.flush()
                return (await ledger.jobs.get(job.job_id)).status is JobStatus.COMPLETED
            except DependencyError:  # a connection that was cut just now
                return False

        await wait_until(mend, within=30)
        assert (await ledger.jobs.get(job.job_id)).processed == 40
