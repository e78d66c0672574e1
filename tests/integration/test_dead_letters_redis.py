"""Dead letters between the ledger and a real Redis: what a worker buries, and what comes back of it."""

from __future__ import annotations

from functools import partial

import redis.asyncio as redis

from orchestrator import keys
from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RejectError
from orchestrator.handlers.base import Context
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job
from orchestrator.ledger.letters import LetterStatus, Selection
from orchestrator.sources.dead_letters import entry_of, forget, put_back
from orchestrator.sources.stream_entry import parse
from tests.support.jobs import new_job
from tests.support.system import System, system
from tests.support.wait import wait_until


async def buried(worker: System, count: int) -> None:
    """Wait until so many copies of dead letters are in Redis."""

    async def there() -> bool:
        return bool(await worker.client.xlen(keys.dead("q")) == count)

    await wait_until(there)


async def appeared(worker: System, job_id: str) -> Job:
    """Return the job that a worker makes of an entry, when it has ended."""

    async def there() -> bool:
        return bool(await worker.ledger.jobs.many([job_id]))

    await wait_until(there)
    return await worker.ended(job_id)


async def test_x36_an_entry_that_came_too_late_is_kept_whole_and_put_back_as_it_came(
    ledger: Ledger, redis_url: str
) -> None:
    """Its job has ended, so it is buried; when that job is forgotten it may come again, with all it held."""
    seen: dict[str, Delivery] = {}

    async def work(delivery: Delivery, context: Context) -> Result:
        seen[delivery.chunk_id] = delivery
        return Result()

    async with system(ledger, redis_url, work) as worker:
        entry: dict[str, str] = {"job_id": "ext", "content": "hello", "workspace": "w", "chunks_total": "1"}
        more = {"metadata": '{"k":[1,"ü"]}', "source_uri": "file:x"}
        await worker.client.xadd("q", {**entry, "chunk_id": "a"})  # type: ignore[dict-item]
        await appeared(worker, "ext")
        await worker.client.xadd("q", {**entry, **more, "chunk_id": "late"})  # type: ignore[dict-item]
        await buried(worker, 1)
        (letter,) = await ledger.dead_letters.page()
        assert letter.retriable and "its job has ended" in letter.reason
        assert await ledger.jobs.delete("ext")
        back = partial(put_back, worker.client)
        done = await ledger.dead_letters.retry(Selection(ids=[letter.id]), actor="ops", put_back=back)
        assert len(done.letters) == 1 and done.letters[0].receipt is not None
        assert await forget(worker.client, "q", receipts=[done.letters[0].receipt]) == 1
        ended = await appeared(worker, "ext")
        assert (ended.status, ended.processed, ended.workspace) == (JobStatus.COMPLETED, 1, "w")
        again = seen["late"]
        assert (again.content, again.source_uri, again.metadata) == ("hello", "file:x", {"k": [1, "ü"]})
        await wait_until(worker.empty)
        await buried(worker, 0)


async def test_a_retry_runs_the_chunks_of_a_given_up_job_and_no_others(ledger: Ledger, redis_url: str) -> None:
    """Cancelled chunks are no letters: who wants them submits them; the dead one has its attempts anew."""
    mended = False

    async def work(delivery: Delivery, context: Context) -> Result:
        if delivery.chunk_id == "c1" and not mended:
            raise RejectError("not prose")
        return Result()

    job = new_job(2)
    async with system(ledger, redis_url, work) as worker:
        await worker.submit(job)
        await worker.ended(job.job_id)
        await buried(worker, 1)
        mended = True
        back = partial(put_back, worker.client)
        done = await ledger.dead_letters.retry(Selection(job_id=job.job_id), actor="ops", put_back=back)
        (new,) = done.jobs
        await worker.relay.flush()
        ended = await worker.ended(new.job_id)
        assert (ended.status, ended.processed, ended.chunks_total) == (JobStatus.COMPLETED, 1, 1)
        assert await forget(worker.client, "q", chunks=[(job.job_id, "c1")]) == 1
        await wait_until(worker.empty)
    assert worker.handler.runs.count(("c1", 1)) == 2
    assert [x.status for x in await ledger.dead_letters.page()] == [LetterStatus.RETRIED]


async def test_only_the_copies_that_are_named_go(redis_url: str) -> None:
    """A producer may write fields of any name, ours too: what bury.lua appended last is what counts."""
    client = redis.Redis.from_url(redis_url)
    dead = keys.dead("q")
    await client.xadd(dead, {"job_id": "j", "chunk_id": "c", "dead_entry": "1-1"})
    add = "return redis.call('XADD', KEYS[1], '*', unpack(ARGV))"
    twice = ["dead_entry", "1-1", "job_id", "k", "chunk_id", "c", "dead_entry", "2-2"]
    await client.register_script(add)(keys=[dead], args=twice)
    assert await forget(client, "q", receipts=["3-3"], chunks=[("j", "d"), ("jc", "")]) == 0
    assert await forget(client, "q", receipts=["1-1"], chunks=[("j", "c")]) == 1
    assert await forget(client, "q", receipts=["2-2"]) == 1
    assert await forget(client, "q") == 0 == await client.xlen(dead)
    await client.aclose()


def test_an_entry_put_back_is_parsed_as_it_was() -> None:
    """An entry of ours and a producer's, with nothing, and with everything optional."""
    for payload in (
        {"job_id": "j", "chunk_id": "c", "workspace": "w"},
        {"job_id": "j", "chunk_id": "c", "content": ""},
        {"job_id": "j", "chunk_id": "c", "content": "ü", "metadata": {"k": 1}, "chunks_total": 3, "source_uri": "s"},
    ):
        fields = {str(k).encode(): v if isinstance(v, bytes) else v.encode() for k, v in entry_of(payload).items()}
        found = parse("1-1", "h", fields)
        assert found.problem is None and found.key == ("j", "c")
        assert found.content == payload.get("content") and found.metadata == payload.get("metadata", {})
        assert found.chunks_total == payload.get("chunks_total") and found.source_uri == payload.get("source_uri", "")
