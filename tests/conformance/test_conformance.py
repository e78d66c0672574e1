"""What the pool promises, on every queue: real processes; the ledger and the queue's own tools are the witnesses."""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.jobs import Scope
from orchestrator.ledger.chunks import EXTERNAL_TENANT
from orchestrator.ledger.letters import LetterStatus, Selection
from tests.conformance.backend import Message, Restarts
from tests.conformance.conftest import KEEPING
from tests.conformance.workers import KIND, LEASE, Workers, message
from tests.support.fleet import until_hanging
from tests.support.jobs import nothing_of_ours
from tests.support.process import fault, gated
from tests.support.wait import wait_until

MANY = int(os.environ.get("CONFORMANCE_DELIVERIES") or 0)
SLOWEST = 15  # deliveries a second: the stand-in of SQS
LARGEST = 10_000  # portion of a backend


async def test_two_processes_share_and_the_death_of_one_costs_no_attempt(workers: Workers, tmp_path: Path) -> None:
    """Killed by -9 in the middle of its work: what it held is done by the other, after the lease."""
    gate = tmp_path / "gate"  # of the other, which would else have done everything before the doomed one is awake
    async with (
        workers.start("a", environment=fault("hanging")) as doomed,
        workers.start("b", environment=gated(gate)),
    ):
        await workers.put(*[message(sleep=0.1)] * 40)
        await workers.until_held("a")
        gate.touch()
        await workers.until("processed", 4)
        doomed.send(signal.SIGKILL)
        await workers.until("processed", 40)
        await workers.done()
    found = await workers.states()
    assert {(status, attempts) for status, attempts, _ in found} == {("processed", 1)}
    assert max(deliveries for *_, deliveries in found) == 2


async def test_slow_work_is_kept_by_renewal(workers: Workers) -> None:
    """Past twice the lease, with a rival that would take it."""
    await workers.put(message(sleep=2.5 * LEASE))
    async with workers.start("a") as one, workers.start("b") as other:
        await workers.until("processed", 1)
        await workers.done()
    assert await workers.states() == Counter({("processed", 1, 1): 1})
    for log in (one.log, other.log):
        assert "dead workers" not in log and "settles refused" not in log, log


async def test_a_zombie_counts_nothing(workers: Workers, tmp_path: Path) -> None:
    """Stopped for longer than its lease, it wakes up when another has done its work: its settle is refused."""
    gate = tmp_path / "gate"
    await workers.put(message())
    async with workers.start("a", environment=gated(gate)) as zombie:
        await workers.until("running", 1)
        zombie.send(signal.SIGSTOP)
        async with workers.start("b"):
            await workers.until("processed", 1)
            gate.touch()  # its own work ends as soon as it wakes up
            zombie.send(signal.SIGCONT)
            await zombie.stop()
            await workers.done()
    [(status, attempts, deliveries)] = await workers.states()
    assert (status, attempts, deliveries) == ("processed", 1, 2)


async def test_a_hang_is_cut_off_and_tried_again(workers: Workers) -> None:
    """Past its timeout it has failed once; the next attempt does it."""
    await workers.put(message(hang=1), message())
    async with workers.start(timeout_seconds=1.0):
        await workers.until("processed", 2)
        await workers.done()
    assert await workers.states() == Counter({("processed", 2, 2): 1, ("processed", 1, 1): 1})


async def test_what_fails_is_tried_as_often_as_allowed(workers: Workers) -> None:
    """Twice and then done; always, and buried with the reason."""
    await workers.put(message(fail=2), message(fail=9))
    async with workers.start():
        await workers.until("processed", 1)
        await workers.until("failed", 1)
        await workers.done()
    assert await workers.states() == Counter({("processed", 3, 3): 1, ("failed", 3, 3): 1})
    [reason] = await workers.backend.dead(workers.queue)
    assert "failed on request (attempt 3 of 3)" in reason


async def test_a_delayed_retry_is_not_early(workers: Workers) -> None:
    """Its time is longer than a lease: what waits is not taken for what a dead worker held. A rival would take it."""
    delay = 2 * LEASE
    await workers.put(message(fail=1, later=delay))
    async with workers.start("a"), workers.start("b"):
        await workers.until("processed", 1)
        await workers.done()
    assert await workers.between_runs() >= timedelta(seconds=delay)
    assert await workers.states() == Counter({("processed", 2, 2): 1})


async def test_what_is_rejected_is_buried_at_once(workers: Workers) -> None:
    """No second attempt could help."""
    await workers.put(message(reject=True))
    async with workers.start():
        await workers.until("failed", 1)
        await workers.done()
    assert await workers.states() == Counter({("failed", 1, 1): 1})
    assert await workers.backend.dead(workers.queue) == ["rejected: rejected on request"]


async def test_a_dead_letter_that_is_retried_comes_again(workers: Workers) -> None:
    """As a new job, whoever's queue it is: our own is filled from the ledger, at another's a worker puts it back."""
    elsewhere = [] if workers.backend.source == "redis_stream" else [KIND]

    await workers.put(message(reject=True))
    async with workers.start():
        await workers.until("failed", 1)
        await workers.done()
        await workers.ledger.dead_letters.retry(
            Selection(worker_type=KIND), actor="ops", put_back=nothing_of_ours, elsewhere=elsewhere
        )
        await workers.until("failed", 2)
        await workers.done()
    assert await workers.states() == Counter({("failed", 1, 1): 2})
    letters = await workers.ledger.dead_letters.page()
    assert [letter.status for letter in letters] == [LetterStatus.DEAD, LetterStatus.RETRIED]
    assert letters[0].job_id != letters[1].job_id


async def test_what_kills_its_workers_is_buried_at_its_cap(workers: Workers) -> None:
    """Each death is a delivery and no attempt; one more than allowed, and it is not run again."""
    await workers.put(message(hang=1000))
    for _ in range(2):
        async with workers.start(retry_attempts=1, max_deliveries=2) as doomed:
            await until_hanging(workers.ledger, doomed)  # `running` does not count before its turn
            doomed.send(signal.SIGKILL)
            await doomed.ended()
        await workers.ledger.chunks.requeue_stranded("work", 0)
    async with workers.start(retry_attempts=1, max_deliveries=2):
        await workers.until("failed", 1)
        await workers.done()
    assert await workers.states() == Counter({("failed", 0, 3): 1})
    [reason] = await workers.backend.dead(workers.queue)
    assert reason.startswith("poison")


async def test_bad_payloads_are_buried_with_their_reason(workers: Workers) -> None:
    """They stop nobody, and none is dropped."""
    huge, missing = {"content": "x" * workers.backend.too_large}, {"source_uri": "file:a"}
    bad = ("not JSON at all", "[1, 2]", '"text"', {"content": "x", "metadata": [1]}, huge, missing)
    await workers.put(*(Message(payload) for payload in bad), message())
    async with workers.start(rules=workers.backend.rules):
        await workers.until("processed", 1)
        await workers.done()

        async def buried() -> bool:
            return len(await workers.backend.dead(workers.queue)) == len(bad)

        await wait_until(buried, what="burials")
    reasons = await workers.backend.dead(workers.queue)
    assert all(reasons)
    assert [sum(says in reason for reason in reasons) for says in ("at most", "content")] == [1, 1]
    letters = await workers.ledger.database.run(lambda c: c.fetch("SELECT reason FROM dead_letters"))
    assert len(letters) == len(bad)


async def test_a_drain_under_load_burns_nothing(workers: Workers) -> None:
    """SIGTERM: it finishes what it holds and takes no more; the next one does the rest, each for the first time."""
    await workers.put(*[message(sleep=0.2)] * 40)
    async with workers.start("a") as first:
        await workers.until("processed", 4)
        assert await first.stop() == 0, first.log
    assert await workers.count("running") == 0
    async with workers.start("b"):
        await workers.until("processed", 40)
        await workers.done()
    assert await workers.states() == Counter({("processed", 1, 1): 40})


async def test_what_outlasts_the_grace_period_is_released_untouched(workers: Workers) -> None:
    """It goes back at once, and is neither an attempt nor a delivery."""
    await workers.put(message())
    async with workers.start("a", environment=fault("hanging"), grace_period_seconds=1.0) as first:
        await workers.until("running", 1)
        await first.stop()
    assert await workers.states() == Counter({("queued", 0, 0): 1})
    async with workers.start("b"):
        await workers.until("processed", 1)
        await workers.done()
    assert await workers.states() == Counter({("processed", 1, 1): 1})


async def test_what_is_paused_waits_on_its_queue(workers: Workers) -> None:
    """Held back by its tenant it goes back and burns nothing; it is done once it may."""
    pauses = workers.ledger.pauses
    await pauses.put(Scope.TENANT, EXTERNAL_TENANT, "drill", "test")
    await workers.put(message(), message())
    async with workers.start():
        await workers.until("queued", 2)
        assert await workers.states() == Counter({("queued", 0, 0): 2})
        assert await pauses.remove(Scope.TENANT, EXTERNAL_TENANT, "test")
        await workers.until("processed", 2)
        await workers.done()
    assert await workers.states() == Counter({("processed", 1, 1): 2})


@pytest.mark.parametrize("backend", KEEPING, indirect=True)
async def test_a_server_that_dies_costs_nothing(workers: Workers) -> None:
    """Where it keeps what it had: the workers wait for it, and go on by themselves."""
    await workers.put(*[message(sleep=0.2)] * 40)
    async with workers.start("a"), workers.start("b"):
        await workers.until("processed", 4)
        assert isinstance(workers.backend, Restarts)
        await workers.backend.restart()
        await workers.until("processed", 40)
        await workers.done()
    assert {attempts for _, attempts, _ in await workers.states()} == {1}


@pytest.mark.timeout(180 + 2 * max(MANY, LARGEST) / SLOWEST)  # more than all that it waits for
async def test_many_deliveries_lose_nothing_and_count_nothing_twice(workers: Workers) -> None:
    """As many as the server can bear at once, or as the environment says, in such portions; a process dies of two."""
    portion = workers.backend.many
    many = MANY or portion
    async with workers.start("a", batch=50) as doomed, workers.start("b", batch=50):
        for begin in range(0, many, portion):
            end = min(many, begin + portion)
            await workers.put(*[message()] * (end - begin))
            if not begin:
                await workers.until("processed", end // 10, within=30 + portion / SLOWEST)
                doomed.send(signal.SIGKILL)
            await workers.until("processed", end - portion // 10, within=50 + portion / SLOWEST)
        await workers.until("processed", many, within=50)
        await workers.done()
    assert {status for status, *_ in await workers.states()} == {"processed"}
    assert await workers.count("processed") == many
