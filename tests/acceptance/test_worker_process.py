"""The worker process as systemd sees it: signals, readiness, death, and what that does to the work in its hands."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio as redis

from tests.support.fleet import STREAM, Fleet, fleet_over
from tests.support.process import Process
from tests.support.servers import postgres_server, redis_server
from tests.support.wait import wait_until

LEASE_SECONDS = 3.0


@pytest.fixture
async def fleet(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers over the servers of the session."""
    async with fleet_over(database, redis_url, tmp_path) as made:
        yield made


async def said(process: Process, message: str) -> bool:
    """Return whether the process told systemd this."""
    return any(message in m for m in process.messages)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_x04_a_signal_begins_the_drain_at_once(fleet: Fleet, number: signal.Signals) -> None:
    """The seed took 29 s to notice, and never ended. A second signal changes nothing."""
    async with fleet.worker() as worker:
        job = await fleet.submit(20, sleep=0.5)
        await fleet.running(job, 8)
        worker.send(number)
        await wait_until(lambda: said(worker, "STOPPING=1"), within=0.25 + 1.0, what="STOPPING=1")
        worker.send(number)
        assert await worker.ended() == 0, worker.log
    after = await fleet.ledger.jobs.get(job.job_id)
    assert after.running == 0 and 8 <= after.processed < 20
    assert {c for c in await fleet.chunks(job) if c[0] == "processed"} == {("processed", 1, 1)}


@pytest.mark.parametrize("away", ["postgres", "redis"])
async def test_x04_it_can_be_stopped_while_it_waits_for_a_server(
    database: str, redis_url: str, tmp_path: Path, away: str
) -> None:
    """And says in the status line what it waits for."""
    async with fleet_over(database, redis_url, tmp_path) as real:
        dsn = "postgresql://nobody@127.0.0.1:1/none" if away == "postgres" else real.dsn
        url = "redis://127.0.0.1:1/0" if away == "redis" else redis_url
        fleet = Fleet(real.ledger, tmp_path, url, dsn)
        async with fleet.worker(ready=False) as worker:
            await wait_until(lambda: said(worker, "STATUS=waiting: "), what="what it waits for")
            assert "READY=1" not in worker.messages
            worker.send(signal.SIGTERM)
            assert await worker.ended() == 0, worker.log


async def test_x06_what_outlasts_the_grace_period_is_released_and_burns_nothing(fleet: Fleet) -> None:
    """The seed's budget contradicted itself: long chunks were always lost. The next process has them."""
    async with fleet.worker(grace_period_seconds=1.0) as worker:
        job = await fleet.submit(2, sleep=4)
        await fleet.running(job, 2)
        assert await worker.stop() == 0
    assert await fleet.chunks(job) == [("queued", 0, 0)] * 2
    async with fleet.worker():
        assert (await fleet.ended(job)).processed == 2
    assert await fleet.chunks(job) == [("processed", 1, 1)] * 2


async def test_x03_a_killed_worker_is_succeeded_within_its_lease(fleet: Fleet) -> None:
    """Every chunk is counted once, and the crash is a delivery, not an attempt."""
    async with fleet.worker("first") as first:
        job = await fleet.submit(6, sleep=1)
        await fleet.running(job, 6)
        async with fleet.worker("second"):
            first.send(signal.SIGKILL)
            await first.ended()
            ended = await fleet.ended(job, within=LEASE_SECONDS + 5 + 2)
    assert (ended.processed, ended.failed) == (6, 0)
    assert {(status, attempts) for status, attempts, _ in await fleet.chunks(job)} == {("processed", 1)}
    assert max(deliveries for *_, deliveries in await fleet.chunks(job)) == 2


async def test_x03_a_restarted_worker_goes_on_with_what_it_held(fleet: Fleet) -> None:
    """The same host and names: it need not wait for its own lease."""
    async with fleet.worker(lease_seconds=600.0) as worker:
        job = await fleet.submit(3, sleep=0.5)
        await fleet.running(job, 3)
        worker.send(signal.SIGKILL)
        await worker.ended()
    async with fleet.worker(lease_seconds=600.0):
        assert (await fleet.ended(job)).processed == 3
    assert await fleet.chunks(job) == [("processed", 1, 2)] * 3


async def test_a_stopped_process_loses_its_lease_and_its_late_settle(fleet: Fleet) -> None:
    """SIGSTOP beyond the lease, then SIGCONT: a zombie's result is refused, and nothing is counted twice."""
    async with fleet.worker("zombie") as zombie:
        job = await fleet.submit(4, sleep=1)
        await fleet.running(job, 4)
        zombie.send(signal.SIGSTOP)
        async with fleet.worker("heir"):
            ended = await fleet.ended(job)
            zombie.send(signal.SIGCONT)
            again = await fleet.submit(4)
            assert (await fleet.ended(again)).processed == 4
            assert await zombie.stop() == 0, zombie.log
    assert ended.processed == 4 and (await fleet.ledger.jobs.get(job.job_id)).processed == 4
    assert {c[:2] for c in await fleet.chunks(job)} == {("processed", 1)}
    assert len(await fleet.events("ingestion.completed")) == 2


async def test_x09_slots_say_when_they_start_and_stop(fleet: Fleet) -> None:
    """Each one, and each time it is recycled; the seed's workers died in silence when saying so failed."""
    async with fleet.worker(max_tasks_per_child=5) as worker:
        job = await fleet.submit(40)
        assert (await fleet.ended(job)).processed == 40
        assert await worker.stop() == 0
    started, stopped = await fleet.events("worker.started"), await fleet.events("worker.stopped")
    assert {e["worker_id"] for e in started} == {"h-lightrag-0", "h-lightrag-1"}
    assert len(started) == len(stopped) > 4 and sum(e["tasks_processed"] for e in stopped) == 40
    assert not await fleet.ledger.workers.alive(60)


async def test_x09_redis_lost_in_the_middle_is_survived(database: str, tmp_path: Path) -> None:
    """Killed and begun again empty: the worker makes its group anew, and the ledger has the work."""
    with redis_server() as server:
        async with fleet_over(database, server.url, tmp_path) as fleet, fleet.worker() as worker:
            job = await fleet.submit(30, sleep=0.2)
            await fleet.running(job)
            server.kill()
            server.start()
            ended = await fleet.ended(job)
            worker.check()
            assert (ended.processed, ended.failed) == (30, 0)
            assert {c[:2] for c in await fleet.chunks(job)} == {("processed", 1)}


async def test_consumers_are_registered_before_it_is_ready(fleet: Fleet) -> None:
    """E-18: READY=1 means that XINFO CONSUMERS shows every slot."""
    async with fleet.worker(size=3):
        client = redis.Redis.from_url(fleet.redis_url)
        names = [c["name"].decode() for c in await client.xinfo_consumers(STREAM, "g")]
        await client.aclose()
    assert sorted(names) == ["h-lightrag-0", "h-lightrag-1", "h-lightrag-2"]


async def test_it_gets_ready_when_postgresql_comes_up(redis_url: str, tmp_path: Path) -> None:
    """Started first, as after a power cut, it waits instead of dying."""
    with postgres_server() as server:
        dsn = f"{server.url}/postgres"
        async with fleet_over(dsn, redis_url, tmp_path) as fleet:
            server.kill()
            async with fleet.worker(ready=False) as worker:
                await wait_until(lambda: said(worker, "STATUS=waiting: PostgreSQL"), what="what it waits for")
                server.start()
                await worker.ready()
                job = await fleet.submit(3)
                assert (await fleet.ended(job)).processed == 3


async def test_the_watchdog_is_fed(fleet: Fleet) -> None:
    """By the loops that do the work, more often than it asks."""
    async with fleet.worker(environment={"WATCHDOG_USEC": "300000"}) as worker:

        async def fed() -> bool:
            return worker.messages.count("WATCHDOG=1") >= 3

        await wait_until(fed, what="WATCHDOG=1")


def test_x05_a_pool_in_another_program_leaves_its_signals_alone() -> None:
    """The seed's pool replaced uvicorn's handlers. Ours installs none: only the process that is a worker does."""
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    import orchestrator.api.serve
    import orchestrator.pool.pool
    import orchestrator.worker

    assert orchestrator.api.serve and orchestrator.pool.pool and orchestrator.worker
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    package = Path(orchestrator.pool.pool.__file__).parents[1]
    handlers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "add_signal_handler" in (text := path.read_text()) or "signal.signal(" in text
    }
    assert handlers == {"worker.py", "supervisor.py", "api/serve.py", "models/serve.py"}


async def test_x09_a_deaf_worker_is_fed_no_more(fleet: Fleet) -> None:
    """Its loops turn and its heart beats, and yet nothing reaches it: the watchdog of systemd will restart it."""
    environment = {"WATCHDOG_USEC": "300000", "PYTHONPATH": str(Path(__file__).parents[1] / "support/deaf")}
    async with fleet.worker(environment=environment, health_check_interval_seconds=1.0) as worker:
        await fleet.submit(3)

        async def silent() -> bool:
            return "waiting to be restarted" in worker.log

        await wait_until(silent, what="the worker to find that it is deaf")
        fed = worker.messages.count("WATCHDOG=1")
        await wait_until(lambda: said(worker, "0 chunks in hand"), what="its heartbeat")
        assert worker.messages.count("WATCHDOG=1") <= fed + 1
