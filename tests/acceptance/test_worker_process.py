"""The worker process as systemd sees it: signals, readiness, death, and what that does to the work in its hands."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from orchestrator import __version__
from orchestrator.ledger import Ledger
from orchestrator.ledger.workers import Worker
from tests.support.fleet import STREAM, Fleet, fleet_over, until_hanging
from tests.support.jobs import new_job
from tests.support.process import fault, gated, program
from tests.support.system import system
from tests.support.wait import wait_until

LEASE_SECONDS = 1.0
AGES = 600.0
"""A lease so long that whoever waits for its end fails the test."""


@pytest.fixture
async def fleet(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers over the servers of the session."""
    async with fleet_over(database, redis_url, tmp_path) as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_x04_a_signal_begins_the_drain_at_once(fleet: Fleet, number: signal.Signals) -> None:
    """The seed took 29 s to notice, and never ended. A second signal changes nothing."""
    gate = fleet.directory / "gate"
    async with fleet.worker(environment=gated(gate)) as worker:
        job = await fleet.submit(20)
        await fleet.running(job, 8)
        worker.send(number)
        await worker.told("STOPPING=1")  # while all that is in hand goes on
        assert (await fleet.ledger.jobs.get(job.job_id)).running == 8
        worker.send(number)
        gate.touch()
        assert await worker.ended() == 0, worker.log
    assert worker.messages.count("STOPPING=1") == 1 and worker.status.startswith("draining")
    assert sorted(await fleet.chunks(job)) == [("processed", 1, 1)] * 8 + [("queued", 0, 0)] * 12


async def test_x05_a_pool_in_another_program_leaves_its_signals_alone(ledger: Ledger, redis_url: str) -> None:
    """The seed's pool replaced uvicorn's handlers. Ours has none: the program's own still hear, and the pool works."""
    heard: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda got, _: heard.append(got)) for number in numbers]
    mine = [signal.getsignal(number) for number in numbers]
    try:
        async with system(ledger, redis_url) as embedded:
            for number in numbers:
                os.kill(os.getpid(), number)
            job = new_job(5)
            await embedded.submit(job)
            assert (await embedded.ended(job.job_id)).processed == 5
        assert [signal.getsignal(number) for number in numbers] == mine
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert heard == [*numbers]


async def test_x05_the_api_process_ends_well(fleet: Fleet, tmp_path: Path) -> None:
    """Of all that it imports, nothing keeps it from hearing; twice is as good as once."""
    async with program(tmp_path, "api", *fleet.options("h")) as api:
        api.send(signal.SIGTERM)
        await api.told("STOPPING=1")
        api.send(signal.SIGTERM)
        assert await api.ended() == 0, api.log


async def test_x06_what_outlasts_the_grace_period_is_released_and_burns_nothing(fleet: Fleet) -> None:
    """E-13; the seed's budget contradicted itself: long chunks were always lost. The next process has them at once."""
    async with fleet.worker(environment=fault("hanging"), grace_period_seconds=1.0, lease_seconds=AGES) as worker:
        job = await fleet.submit(2)
        await fleet.running(job, 2)
        began = time.monotonic()
        assert await worker.stop() == 0
        assert time.monotonic() - began >= 1.0
    assert await fleet.chunks(job) == [("queued", 0, 0)] * 2
    async with fleet.worker("heir", lease_seconds=AGES):
        assert (await fleet.ended(job)).processed == 2
    assert await fleet.chunks(job) == [("processed", 1, 1)] * 2


async def test_x03_a_killed_worker_is_succeeded_within_its_lease(fleet: Fleet) -> None:
    """Every chunk is counted once, and the crash is a delivery, not an attempt."""
    async with fleet.worker("first") as first:
        job = await fleet.submit(6, hang=1)
        await fleet.running(job, 6)
        async with fleet.worker("second", lease_seconds=LEASE_SECONDS):
            first.send(signal.SIGKILL)
            assert await first.ended() == -signal.SIGKILL
            ended = await fleet.ended(job, within=LEASE_SECONDS + 15)
    assert (ended.processed, ended.failed) == (6, 0)
    assert await fleet.chunks(job) == [("processed", 1, 2)] * 6


async def test_nothing_is_claimed_before_the_first_heartbeat_is_heard(fleet: Fleet) -> None:
    """Such a chunk counted as of a former life, and was put back after a lease, in the middle of its work."""
    job = await fleet.submit(2)
    async with fleet.worker(environment=fault("unheard")):
        assert (await fleet.ended(job)).processed == 2
    rows = await fleet.ledger.database.run(
        lambda c: c.fetch("SELECT c.started_at >= w.started_at AS known FROM chunks c JOIN workers w USING (consumer)")
    )
    assert [row["known"] for row in rows] == [True, True]


async def test_a_heartbeat_does_not_wait_for_announcements(fleet: Fleet) -> None:
    """It came after them: a worker that could write no event counted as dead, and its work was put back."""
    async with fleet.worker(environment=fault("mute")):
        assert {w.consumer for w in await fleet.beaten()} == {"h-lightrag-0", "h-lightrag-1"}


async def test_x03_a_restarted_worker_goes_on_with_what_it_held(fleet: Fleet) -> None:
    """The same host and names: it need not wait for its own lease."""
    async with fleet.worker(lease_seconds=AGES) as worker:
        job = await fleet.submit(3, hang=1)
        await fleet.running(job, 3)
        worker.send(signal.SIGKILL)
        await worker.ended()
    async with fleet.worker(lease_seconds=AGES):
        assert (await fleet.ended(job)).processed == 3
    assert await fleet.chunks(job) == [("processed", 1, 2)] * 3


async def test_a_chunk_that_kills_its_workers_is_buried(fleet: Fleet) -> None:
    """It would else kill one after the other for ever, and no attempt would ever be counted."""
    limits: dict[str, Any] = {"max_deliveries": 2, "retry_attempts": 2}
    job = await fleet.submit(1, hang=9)
    for _ in range(2):
        async with fleet.worker(**limits) as worker:
            await until_hanging(fleet.ledger, worker)  # handed out does not count before its turn
            worker.send(signal.SIGKILL)
            await worker.ended()
    async with fleet.worker(**limits):
        assert (await fleet.ended(job)).failed == 1
    assert await fleet.chunks(job) == [("failed", 0, 3)]


async def test_a_stopped_process_loses_its_lease_and_its_late_settle(fleet: Fleet) -> None:
    """SIGSTOP beyond the lease, then SIGCONT: a zombie's result is refused, and nothing is counted twice."""

    async def refused() -> bool:
        return "settles refused" in zombie.log

    own, heirs = fleet.directory / "own", fleet.directory / "heirs"
    # it takes nothing back from an heir whom a busy machine stalls
    async with fleet.worker("zombie", environment=gated(own), lease_seconds=AGES) as zombie:
        job = await fleet.submit(4)
        await fleet.running(job, 4)
        zombie.send(signal.SIGSTOP)
        async with fleet.worker("heir", environment=gated(heirs)):
            await fleet.delivered(job, 2)
            own.touch()  # its work ends as soon as it wakes up
            zombie.send(signal.SIGCONT)
            await wait_until(refused, what="the zombie's late settle")
            await fleet.delivered(job, 1)
            heirs.touch()
            assert (await fleet.ended(job)).processed == 4
            again = await fleet.submit(4)
            assert (await fleet.ended(again)).processed == 4
            assert await zombie.stop() == 0, zombie.log
    # the zombie lives: what it lost while another was at work on it is no death, and counts no more
    assert await fleet.chunks(job) == [("processed", 1, 1)] * 4
    assert (await fleet.ledger.jobs.get(job.job_id)).processed == 4
    assert len(await fleet.events("ingestion.completed")) == 2


async def test_x09_slots_say_when_they_start_and_stop(fleet: Fleet) -> None:
    """Each one, and each time it is recycled; the seed's workers died in silence when saying so failed."""
    async with fleet.worker(max_tasks_per_child=5) as worker:
        job = await fleet.submit(40)
        assert (await fleet.ended(job)).processed == 40
        assert await worker.stop() == 0
    told = await fleet.worker_events()
    assert {name for name, _ in told} == {"h-lightrag-0", "h-lightrag-1"}
    for consumer in ("h-lightrag-0", "h-lightrag-1"):  # one life after the other, in the order they were lived
        kinds = [kind for name, (kind, _) in told if name == consumer]
        assert kinds == ["started", "stopped"] * (len(kinds) // 2)
    lives = [tasks for _, (kind, tasks) in told if kind == "stopped"]
    assert len(lives) > 4 and sum(lives) == 40
    assert not await fleet.ledger.workers.alive(60)


async def test_x09_the_ledger_sees_each_slot_at_work(fleet: Fleet) -> None:
    """Not "up" while any one of them lives: who, where, since when, with how much in hand, at which step."""

    async def at_work() -> list[Worker]:
        found = await fleet.ledger.workers.alive(LEASE_SECONDS)
        return found if sum(w.busy for w in found) == 8 and all(w.step == "hanging" for w in found) else []

    async def in_hand() -> bool:  # told to systemd after the ledger
        return worker.status.startswith("2 slots, 8 chunks in hand, ")

    async with fleet.worker() as worker:
        done = await fleet.submit(10)
        await fleet.ended(done)
        await fleet.submit(8, hang=1)
        slots = await wait_until(at_work, what="heartbeats of busy slots")
        assert {(w.host, w.worker_type, w.pid, w.version) for w in slots} == {
            ("h", "lightrag", worker.pid, __version__)
        }
        assert [(w.consumer, w.busy, w.step) for w in slots] == [(f"h-lightrag-{n}", 4, "hanging") for n in (0, 1)]
        assert sum(w.tasks_processed for w in slots) == 10 and sum(w.chunks_per_second for w in slots) > 0
        await wait_until(in_hand, what="the status line")
        worker.send(signal.SIGKILL)
        await worker.ended()


async def test_consumers_are_registered_before_it_is_ready(fleet: Fleet) -> None:
    """E-18: READY=1 means that XINFO CONSUMERS shows every slot. And without a watchdog none is fed."""
    async with fleet.worker(size=3) as worker:
        client = redis.Redis.from_url(fleet.redis_url)
        names = [c["name"].decode() for c in await client.xinfo_consumers(STREAM, "g")]
        await client.aclose()
    assert sorted(names) == ["h-lightrag-0", "h-lightrag-1", "h-lightrag-2"]
    assert "WATCHDOG=1" not in worker.messages
