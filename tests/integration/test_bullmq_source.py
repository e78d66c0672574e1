"""A BullMQ queue as a source, by itself: what a lock is worth, how a claim is woken, what stops a worker at start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import CredentialError, DependencyError, SettingsError
from orchestrator.jobs import ChunkStatus
from orchestrator.sources.base import Foreign, Progress
from orchestrator.sources.bullmq import create
from tests.support.bull_jobs import LEASE, Jobs, bull_jobs, bull_setup
from tests.support.servers import free_port
from tests.support.wait import wait_until

pytestmark = pytest.mark.xdist_group("bullmq")
PAGE = Path(__file__).resolve().parents[2] / "docs/sources/bullmq.md"


@pytest.fixture
async def jobs(redis_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    """A queue of its own for each test."""
    async with bull_jobs(redis_url, tmp_path) as made:
        yield made


async def test_a_job_is_claimed_and_completed(jobs: Jobs) -> None:
    """A-02: its payload is the content, its result the return value; it is a source that shows progress."""
    made = await jobs.add({"prompt": "hello", "metadata": {"n": 1}})
    [held] = await jobs.claim()
    assert isinstance(jobs.source, Foreign)
    assert isinstance(jobs.source, Progress)
    assert (held.receipt, held.content, held.metadata) == (made, '{"prompt":"hello","metadata":{"n":1}}', {"n": 1})
    await jobs.source.progress([(held, "thinking")])
    assert await jobs.field(made, "progress") == '{"step":"thinking"}'
    held.result = Result(3, 2)
    await jobs.source.ack([held])
    await jobs.source.ack([held])  # settling twice is no error
    assert await jobs.field(made, "returnvalue") == '{"entities":3,"relations":2,"detail":{}}'
    assert await jobs.states() == {"completed": 1}
    assert await jobs.source.depth() == 0


async def test_many_are_claimed_for_two_and_settled_in_one_round_trip(jobs: Jobs) -> None:
    """As many as there is room for."""
    for n in range(20):
        await jobs.add({"n": n})
    held = await jobs.source.poll({"c0": 8, "c1": 9})
    assert {d.consumer for d in held} == {"c0", "c1"}
    assert len({d.receipt for d in held}) == 17
    held[0].ended_as, held[0].reason = ChunkStatus.FAILED, "known before"
    await jobs.source.ack(held[:10])
    await jobs.source.bury([(d, "boom") for d in held[10:]])
    assert await jobs.states() == {"wait": 3, "completed": 9, "failed": 8}


async def test_a_lapsed_lock_is_taken_over_and_the_former_owner_changes_nothing(jobs: Jobs) -> None:
    """The same job both times, no attempt made; late settles of every kind are without effect."""
    made = await jobs.add(attempts=1)
    [former] = await jobs.claim()
    await jobs.lapse(made)
    assert await jobs.client.pttl(jobs.key("stalled-check")) <= 3_000  # then somebody looks again

    async def claim_after_a_look() -> list[Delivery]:
        await jobs.client.delete(jobs.key("stalled-check"))
        return await jobs.claim()

    [owner] = await wait_until(claim_after_a_look)  # the queue believes its second look
    assert (owner.key, owner.attempts_left, owner.given_up) == (former.key, 1, "")
    assert await jobs.source.renew([former]) == [former]
    assert former.ended_as is ChunkStatus.PROCESSED  # lost to another one, not cancelled
    await jobs.source.ack([former])
    await jobs.source.release([former])
    await jobs.source.retry([(former, 9)])
    await jobs.source.bury([(former, "late")])
    assert await jobs.states() == {"active": 1}
    assert await jobs.client.get(jobs.key(f"{made}:lock")) == owner.handle.token
    assert await jobs.source.renew([owner]) == []


async def test_what_is_renewed_is_kept(jobs: Jobs) -> None:
    """For another lease; a lock that has lapsed is not taken back."""
    kept, lapsed = await jobs.add(), await jobs.add()
    held = await jobs.claim()
    await jobs.client.pexpire(jobs.key(f"{kept}:lock"), 10_000)
    await jobs.lapse(lapsed)
    assert [d.receipt for d in await jobs.source.renew(held)] == [lapsed]
    assert 10_000 < await jobs.client.pttl(jobs.key(f"{kept}:lock")) <= 1000 * LEASE


async def test_a_job_that_was_removed_is_lost_as_cancelled(jobs: Jobs) -> None:
    """By force, for a locked one cannot be removed otherwise; the others are kept."""
    gone, kept = await jobs.add(), await jobs.add()
    held = {d.receipt: d for d in await jobs.claim()}
    await jobs.client.delete(jobs.key(gone), jobs.key(f"{gone}:lock"))
    assert await jobs.source.renew(list(held.values())) == [held[gone]]
    assert (held[gone].ended_as, held[kept].ended_as) == (ChunkStatus.CANCELLED, ChunkStatus.PROCESSED)
    await jobs.source.progress([(held[gone], "still at it")])
    await jobs.source.ack([held[gone], held[kept]])
    assert (await jobs.states())["completed"] == 1


async def test_retry_waits_and_counts_release_does_neither(jobs: Jobs) -> None:
    """At the queue as in the ledger; what is only put off is no attempt either."""
    made = await jobs.add(attempts=3)
    [held] = await jobs.claim()
    await jobs.source.release([held])
    [again] = await jobs.claim()
    await jobs.source.retry([(again, 0.05)])
    [put_off] = await wait_until(jobs.claim)
    assert put_off.attempts_left == 3
    due = time.time() + 0.3
    put_off.reason = "boom"
    await jobs.source.retry([(put_off, 0.3)])
    assert await jobs.field(made, "failedReason") == "boom"
    [later] = await wait_until(jobs.claim)
    assert time.time() >= due
    assert later.attempts_left == 2
    assert held.key == later.key


async def test_what_had_failed_and_is_retried_is_new_work(jobs: Jobs) -> None:
    """By a redrive of ours, or by the queue's own tools; so is a new job that has the id of an old one."""
    made = await jobs.add(jobId="mine", attempts=2, removeOnComplete=True)
    [first] = await jobs.claim()
    assert await jobs.source.redrive([made]) == [made]  # it has not failed
    await jobs.source.bury([(first, "boom")])
    assert await jobs.source.redrive([made, "nobody"]) == ["nobody"]
    [second] = await jobs.claim()
    assert second.attempts_left == 2
    await jobs.source.bury([(second, "boom")])
    await (await jobs.queue.getJobs(["failed"]))[0].retry()
    [third] = await jobs.claim()
    await jobs.source.ack([third])
    assert await jobs.states() == {}
    await jobs.add(jobId="mine", timestamp=5)
    [fourth] = await jobs.claim()
    assert len({d.job_id for d in (first, second, third, fourth)}) == 4


@pytest.mark.parametrize("kind", ["dependencies", "unsuccessful"])
async def test_a_parent_whose_children_have_not_ended_well_fails(jobs: Jobs, kind: str) -> None:
    """The queue refuses to complete it: left alone it would come back for ever."""
    made = await jobs.add()
    [held] = await jobs.claim()
    key = jobs.key(f"{made}:{kind}")
    await (jobs.client.sadd(key, "bull:q:1") if kind == "dependencies" else jobs.client.zadd(key, {"bull:q:1": 1}))
    await jobs.source.ack([held])
    assert await jobs.states() == {"failed": 1}
    assert "child" in str(await jobs.field(made, "failedReason"))


async def test_a_claim_waits_for_a_job_and_is_woken(jobs: Jobs) -> None:
    """By a job that comes, by one that is due, and when a pause or a limit of the queue ends."""

    async def claimed_after(*calls: Any) -> list[Delivery]:
        begun = time.monotonic()
        waiting = asyncio.create_task(jobs.source.claim("c0", 1, 8))

        async def blocked() -> bool:
            return waiting.done() or bool((await jobs.client.info("clients"))["blocked_clients"])

        await wait_until(blocked)
        for call in calls:
            await call
        found = await waiting
        assert time.monotonic() - begun < 6
        return found

    [first] = await claimed_after(jobs.add())
    await jobs.add(delay=300)
    [second] = await claimed_after()
    await jobs.queue.pause()
    await jobs.add()
    assert await jobs.claim() == []
    [third] = await claimed_after(jobs.queue.resume())
    await jobs.source.ack([second, third])
    await jobs.client.hset(jobs.key("meta"), "concurrency", 1)  # as Node's setGlobalConcurrency does
    await jobs.add()
    assert await jobs.claim() == []
    [fourth] = await claimed_after(jobs.source.ack([first]))
    await jobs.source.ack([fourth])
    await jobs.client.hdel(jobs.key("meta"), "concurrency")
    await jobs.client.hset(jobs.key("meta"), mapping={"max": 1, "duration": 60_000})  # as its setGlobalRateLimit does
    await jobs.add()
    await jobs.add()
    assert len(await jobs.claim()) == 1
    assert await jobs.client.pexpire(jobs.key("limiter"), 300)
    assert len(await claimed_after()) == 1


async def test_the_check_takes_nothing(jobs: Jobs) -> None:
    """The scripts run, and a job stays where it is."""
    await jobs.add()
    assert jobs.queue.name in await jobs.source.check()
    assert await jobs.states() == {"wait": 1}


async def test_the_rights_that_the_documentation_names_suffice(jobs: Jobs, redis_url: str, tmp_path: Path) -> None:
    """Read there, and given to a user of Redis: all of the source works."""
    [line] = [line for line in PAGE.read_text().splitlines() if line.startswith("user chat on >")]
    rights = line.split()[4:]
    rights[rights.index("~bull:chat:*")] = f"~{jobs.key('*')}"
    await jobs.client.execute_command("ACL", "SETUSER", "chat", "on", ">secret", *rights)  # type: ignore[no-untyped-call]
    source = create(bull_setup(tmp_path, jobs.queue.name, url=redis_url.replace("//", "//chat:secret@")))
    await source.open(["c0"])
    failed = await jobs.add()
    await jobs.add()
    held = await source.claim("c0", 5, 0)
    assert await source.renew(held) == []
    await source.progress([(held[0], "at it")])
    await source.recover("c0", 5)
    await source.bury([(held[0], "boom")])
    await source.ack(held[1:])
    assert await source.redrive([failed]) == []
    assert len(await source.claim("c0", 5, 0)) == 1
    assert await source.claim("c0", 5, 0.05) == []
    assert "answers" in await source.check()
    await source.close()
    await jobs.client.execute_command("ACL", "DELUSER", "chat")  # type: ignore[no-untyped-call]


async def test_a_prefix_is_another_queue(jobs: Jobs, redis_url: str, tmp_path: Path) -> None:
    """Of the same name."""
    other = create(bull_setup(tmp_path, jobs.queue.name, url=redis_url, prefix="{chat}"))
    await jobs.add()
    assert await other.claim("c0", 1, 0) == []
    await other.close()


async def test_without_a_credential_of_its_own_it_uses_our_redis(redis_url: str, tmp_path: Path) -> None:
    """And its own goes before ours; with neither, it says so."""
    with pytest.raises(CredentialError, match="redis-url"):
        create(bull_setup(tmp_path, "q"))
    ours = create(bull_setup(tmp_path, "q", "redis-url", redis_url))
    await ours.open(["c0"])
    await ours.close()
    theirs = create(bull_setup(tmp_path, "q", url=f"redis://:secret@127.0.0.1:{free_port()}/0"))
    with pytest.raises(DependencyError, match="source-url") as raised:
        await theirs.open(["c0"])
    assert "secret" not in str(raised.value)
    await theirs.close()


@pytest.mark.parametrize(("options", "named"), [({"prefix": 7}, "prefix"), ({"limiter": {}}, "limiter")])
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=named):
        create(bull_setup(tmp_path, "q", url="redis://127.0.0.1:1/0", **options))
