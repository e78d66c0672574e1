"""What we rely on of the bullmq library beside its documentation, call by call, on a real Redis.

A new version of it is taken when these pass: then pin it in pyproject.toml and here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from copy import copy
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import uuid4

import pytest
import redis.asyncio as redis
from bullmq import Job, Queue, Worker
from bullmq.scripts import raw2NextJobData

pytestmark = pytest.mark.xdist_group("bullmq")
LOCK_MS = 30_000
NEVER = 1 << 30


@dataclass
class Manual:
    """A queue, and a worker whose loop does not run."""

    client: redis.Redis
    queue: Any
    worker: Any

    @property
    def backend(self) -> Any:
        """What does the work of the library."""
        return self.worker.backend

    async def take(self, token: str) -> Any:
        """Move the next job to active; return it as the library reads it."""
        fields, job_id, _, _ = await self.backend.moveToActive(token, self.worker.opts)
        return Job.fromJSON(self.worker, fields, job_id)

    async def call(self, name: str, keys: list[Any], args: list[Any]) -> Any:
        """Call a script as we do, in a pipeline."""
        async with self.client.pipeline(transaction=False) as pipe:
            await self.backend.scripts.commands[name](keys=keys, args=args, client=pipe)
            [reply] = await pipe.execute()
        return reply

    async def finish(self, job: Any, token: str, state: str, keep: Any = False, **fields: str) -> int:
        """End a job by the arguments that the library makes."""
        field = "returnvalue" if state == "completed" else "failedReason"
        arguments = (job, "value", field, keep, state, token, False, fields)
        return int(await self.call("moveToFinished", *self.backend.scripts.moveToFinishedArgs(*arguments)))

    async def delay(self, job: Any, token: str, ms: int, options: dict[str, Any]) -> int:
        """Delay a job by the arguments that the library makes."""
        now = round(time.time() * 1000)
        return int(
            await self.call("moveToDelayed", *self.backend.scripts.moveToDelayedArgs(job.id, now, token, ms, options))
        )

    async def fields(self, job: Any) -> dict[str, str]:
        """Return a job's hash."""
        return dict(await self.backend.getJobData(job.id) or {})


@pytest.fixture
async def manual(redis_url: str) -> AsyncIterator[Manual]:
    """A queue of its own for each test, by a client that decodes its replies."""
    name = f"contract-{uuid4().hex[:8]}"
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    worker = Worker(name, None, {"connection": client, "autorun": False, "lockDuration": LOCK_MS, "prefix": "bull"})
    queue = Queue(name, {"connection": redis_url})
    yield Manual(client, queue, worker)
    await queue.close()
    await client.aclose()


def test_the_version_is_the_one_that_was_looked_at() -> None:
    """None of these calls is documented: a new version may change them without a word."""
    assert version("bullmq") == "3.4.4"


async def test_move_to_active_says_what_it_took_or_when_there_is_something_to_take(manual: Manual) -> None:
    """Hash and id of a job, locked by the token; else nothing, and when a delayed job is due."""
    assert await manual.backend.moveToActive("t", manual.worker.opts) == [None, 0, 0, 0]
    added = await manual.queue.add("work", {"n": 1}, {"attempts": 3})
    fields, job_id, _, _ = await manual.backend.moveToActive("t", manual.worker.opts)
    assert (job_id, fields["data"], fields["name"]) == (added.id, '{"n":1}', "work")
    lock = manual.backend.toKey(job_id) + ":lock"
    assert await manual.client.get(lock) == "t"
    assert 0 < await manual.client.pttl(lock) <= LOCK_MS
    before = time.time() * 1000
    await manual.queue.add("work", {}, {"delay": 60_000})
    found, _, _, due = await manual.backend.moveToActive("t", manual.worker.opts)
    assert found is None
    assert before + 59_000 < due < before + 70_000


async def test_move_to_active_calls_its_script_with_arguments_that_another_can_use(manual: Manual) -> None:
    """As `commands["moveToActive"](keys=..., args=...)`, once; `raw2NextJobData` reads the reply."""
    calls: list[Any] = []

    async def note(keys: list[Any], args: list[Any]) -> None:
        calls.append((keys, args))

    noting = copy(manual.backend.scripts)
    noting.commands = {"moveToActive": note}
    await noting.moveToActive("t", manual.worker.opts)
    added = await manual.queue.add("work", {"n": 1})
    [arguments] = calls
    first, second = [await manual.call("moveToActive", *arguments) for _ in range(2)]
    fields, job_id, _, _ = raw2NextJobData(first)
    assert (job_id, fields["data"]) == (added.id, '{"n":1}')
    assert raw2NextJobData(second) == [None, 0, 0, 0]


async def test_move_to_active_says_how_long_a_rate_limit_lasts(manual: Manual) -> None:
    """In the third place, in milliseconds."""
    await manual.client.hset(manual.backend.keys["meta"], mapping={"max": 1, "duration": 60_000})
    await manual.queue.addBulk([{"name": "work", "data": {}, "opts": {}}] * 2)
    await manual.take("t")
    found, _, limited, _ = await manual.backend.moveToActive("t", manual.worker.opts)
    assert found is None
    assert 0 < limited <= 60_000


async def test_a_job_that_may_run_leaves_a_marker(manual: Manual) -> None:
    """That is what a blocked worker waits for; one that is due later bears its time."""
    await manual.queue.add("work", {})
    assert await manual.client.zrange(manual.backend.keys["marker"], 0, -1) == ["0"]
    await manual.client.delete(manual.backend.keys["marker"])
    await manual.queue.add("work", {}, {"delay": 60_000})
    assert await manual.client.zrange(manual.backend.keys["marker"], 0, -1) == ["1"]
    assert (await manual.client.zscore(manual.backend.keys["marker"], "1") or 0) > time.time() * 1000


async def test_extend_locks_returns_the_ids_it_could_not_extend(manual: Manual) -> None:
    """Lapsed, or another's; the others are extended."""
    await manual.queue.addBulk([{"name": "work", "data": {}, "opts": {}}] * 3)
    mine, lapsed, theirs = [await manual.take(f"t{n}") for n in range(3)]
    await manual.client.delete(manual.backend.toKey(lapsed.id) + ":lock")
    await manual.client.set(manual.backend.toKey(theirs.id) + ":lock", "another")
    lost = await manual.backend.extendLocks([mine.id, lapsed.id, theirs.id], ["t0", "t1", "t2"], 2 * LOCK_MS)
    assert sorted(lost) == sorted([lapsed.id, theirs.id])
    assert await manual.client.pttl(manual.backend.toKey(mine.id) + ":lock") > LOCK_MS
    assert await manual.backend.extendLocks([], [], LOCK_MS) == []


@pytest.mark.parametrize("state", ["completed", "failed"])
async def test_move_to_finished_ends_a_job_once_and_for_its_owner_alone(manual: Manual, state: str) -> None:
    """0, and our field is written with it; what is not ours is refused with a negative code and not touched."""
    await manual.queue.add("work", {}, {"attempts": 3})
    job = await manual.take("t")
    assert await manual.finish(job, "another", state, ours="1") == -6
    assert "ours" not in await manual.fields(job)
    assert await manual.finish(job, "t", state, ours="1") == 0
    fields = await manual.fields(job)
    assert fields["ours"] == "1"
    assert fields["atm"] == "1"
    assert await manual.queue.getJobCounts("active", state) == {"active": 0, state: 1}
    assert await manual.finish(job, "t", state) == -2
    assert await manual.backend.getState(job.id) == state


async def test_move_to_finished_keeps_no_more_than_it_is_told(manual: Manual) -> None:
    """True: none; a number or a count: so many."""
    for keep, kept in ((False, 1), (True, 1), ({"count": 2}, 2), ({"count": 2}, 2), (1, 1)):
        await manual.queue.add("work", {})
        assert await manual.finish(await manual.take("t"), "t", "completed", keep) == 0
        assert await manual.queue.getJobCounts("completed") == {"completed": kept}
    await manual.queue.add("work", {})
    job = await manual.take("t")
    await manual.client.delete(manual.backend.toKey(job.id))
    assert await manual.finish(job, "t", "completed") == -1


async def test_a_parent_with_children_that_have_not_ended_well_is_not_completed(manual: Manual) -> None:
    """-4 and -9, and its lock stays: it can still be failed."""
    await manual.queue.add("work", {})
    job = await manual.take("t")
    key = manual.backend.toKey(job.id)
    await manual.client.sadd(f"{key}:dependencies", "bull:q:child")
    assert await manual.finish(job, "t", "completed") == -4
    await manual.client.delete(f"{key}:dependencies")
    await manual.client.zadd(f"{key}:unsuccessful", {"bull:q:child": 1})
    assert await manual.finish(job, "t", "completed") == -9
    assert await manual.finish(job, "t", "failed") == 0


async def test_move_to_delayed_counts_an_attempt_unless_it_is_told_not_to(manual: Manual) -> None:
    """With a delay of 0 the next look finds it; for another's job it does nothing."""
    await manual.queue.add("work", {}, {"attempts": 3})
    job = await manual.take("t")
    assert await manual.delay(job, "another", 0, {}) == -6
    assert await manual.delay(job, "t", 0, {"skipAttempt": True}) == 0
    assert (await manual.fields(job)).get("atm", "0") == "0"
    job = await manual.take("t")
    assert await manual.delay(job, "t", 60_000, {"fieldsToUpdate": {"failedReason": "boom"}}) == 0
    fields = await manual.fields(job)
    assert (fields["atm"], fields["failedReason"], fields["delay"]) == ("1", "boom", "60000")
    assert await manual.queue.getJobCounts("delayed", "active") == {"delayed": 1, "active": 0}
    assert (await manual.backend.moveToActive("t", manual.worker.opts))[0] is None
    assert await manual.delay(job, "t", 0, {}) == -2


async def test_move_stalled_jobs_to_wait_puts_back_and_gives_nothing_up(manual: Manual) -> None:
    """In the second look after the first had seen it active; not more often than the queue allows."""
    await manual.queue.add("work", {})
    job = await manual.take("t")
    await manual.client.delete(manual.backend.toKey(job.id) + ":lock")
    await manual.client.hset(manual.backend.toKey(job.id), "stc", 1000)

    async def put_back() -> list[str]:
        return list(await manual.backend.moveStalledJobsToWait(NEVER, 60_000))

    assert [await put_back(), await put_back()] == [[], []]
    assert 0 < await manual.client.pttl(manual.backend.keys["stalled-check"]) <= 60_000
    await manual.client.delete(manual.backend.keys["stalled-check"])  # the queue allows the second look
    assert await put_back() == [job.id]
    assert 0 < await manual.client.pttl(manual.backend.keys["stalled-check"]) <= 60_000
    again = await manual.take("t")
    assert (again.id, again.stalledCounter, again.deferredFailure) == (job.id, 1001, None)
    assert again.attemptsMade == 0


async def test_reprocess_puts_a_failed_job_back_with_all_its_attempts(manual: Manual) -> None:
    """And raises TypeError for one that has not failed, or is not there."""
    await manual.queue.add("work", {}, {"attempts": 3})
    job = await manual.take("t")
    with pytest.raises(TypeError, match="not in the failed state"):
        await manual.backend.reprocessJob(job, "failed", {"resetAttemptsMade": True})
    await manual.finish(job, "t", "failed")
    await manual.backend.reprocessJob(job, "failed", {"resetAttemptsMade": True})
    fields = await manual.fields(await manual.take("t"))
    assert fields.get("atm", "0") == "0"
    assert "failedReason" not in fields
    await manual.client.delete(manual.backend.toKey(job.id))
    with pytest.raises(TypeError, match="Missing key"):
        await manual.backend.reprocessJob(job, "failed", {"resetAttemptsMade": True})
    assert await manual.backend.getJobData(job.id) is None


async def test_update_progress_writes_and_names_a_job_that_is_missing(manual: Manual) -> None:
    """As a TypeError."""
    job = await manual.queue.add("work", {})
    await manual.backend.updateProgress(job.id, {"step": "half"})
    assert (await manual.fields(job))["progress"] == '{"step":"half"}'
    with pytest.raises(TypeError, match="Missing key"):
        await manual.backend.updateProgress("nobody", {"step": "half"})


async def test_counts_come_in_the_order_of_the_states(manual: Manual) -> None:
    """What is paused waits: it is counted once."""
    await manual.queue.addBulk([{"name": "work", "data": {}, "opts": {}}] * 3)
    await manual.queue.add("work", {}, {"priority": 1})
    await manual.queue.add("work", {}, {"delay": 60_000})
    await manual.take("t")
    states = ["wait", "paused", "prioritized", "delayed", "active"]
    assert await manual.backend.getCounts(states) == [2, 0, 1, 1, 1]
    await manual.queue.pause()
    assert sum(await manual.backend.getCounts(states)) == 5


async def test_the_next_iteration_of_a_scheduler_is_made_once(manual: Manual) -> None:
    """However often it is asked for: a delivery may come twice."""
    await manual.queue.upsertJobScheduler("each-minute", {"every": 60_000}, "tick", {"n": 1}, {"attempts": 3})
    job = await manual.take("t")
    assert (job.repeatJobKey, job.data, job.opts["attempts"]) == ("each-minute", {"n": 1}, 3)
    for _ in range(2):
        await manual.worker._scheduleNextIteration(job)
        assert await manual.queue.getJobCounts("delayed", "active") == {"delayed": 1, "active": 1}
