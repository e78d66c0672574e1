"""A model server that bears so much and no more: the limiter finds out how much, and no attempt is burned."""

from __future__ import annotations

import asyncio
import time

import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import RejectError, RetryError
from orchestrator.handlers.lightrag.identity import document_id
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewChunk
from orchestrator.ledger.schema import migrate
from orchestrator.limits.view import limits_of
from orchestrator.sources.redis_client import connect
from tests.integration.lightrag.bench import Bench
from tests.integration.lightrag.meter import TEXT, Meter, Recording, opened, texts
from tests.support.jobs import new_job
from tests.support.system import system
from tests.support.throttling import Gate
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_job_on_a_throttled_model_completes_without_a_second_attempt(
    bench: Bench, database: str, redis_url: str
) -> None:
    """Two workspaces, sixteen calls in flight if they were let, and a server that bears four.

    Its answers take so long that even a busy machine has the next call ready before one comes.
    """
    bench.model.gate = gate = Gate(capacity=4, latency=0.8)
    handler = await opened(bench, redis_url, max_parallel_insert=8)
    await migrate(database)
    ledger = await Ledger.open(database)
    jobs = [
        new_job(chunks=[NewChunk(chunk_id=i, content=t) for i, t in texts(30).items()], workspace=bench.workspace + end)
        for end in ("", "-b")
    ]
    try:
        async with system(ledger, redis_url, handler, size=4, batch=20, timeout_seconds=60.0) as worker:
            for job in jobs:
                await worker.submit(job)
            for job in jobs:
                ended = await worker.ended(job.job_id, within=50)
                assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 30)
                rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=100)
                assert {(r["attempts"], r["deliveries"]) for r in rows} == {(1, 1)}
    finally:
        await ledger.close()
    assert gate.answered >= 60 and gate.most == 4
    assert gate.throttled <= 20, "some at the start, and now and then one that tries whether there is more"
    assert gate.mean_use(last=30) >= 2.8, "of four"
    client = connect(redis_url)
    (found,) = [v for v in await limits_of(client) if v.kind == "llm"]
    await client.aclose()
    assert 2 <= found.limit <= 5 and found.waiting == 0


async def test_two_workers_share_what_the_server_bears(bench: Bench, redis_url: str) -> None:
    """What the one was refused, the other does not ask for."""
    bench.model.gate = gate = Gate(capacity=2, latency=0.2)
    a, b = await opened(bench, redis_url), await opened(bench, redis_url)
    other = f"{bench.workspace}-b"
    mine = asyncio.create_task(bench.run_all(a, texts(16)))
    theirs = await asyncio.gather(*(bench.run(b, i, t, workspace=other) for i, t in texts(16).items()))
    assert all(isinstance(r, Result) for r in (*theirs, *(await mine).values()))
    assert gate.throttled <= 14 and gate.most == 2


async def test_what_waits_for_the_limiter_says_so(bench: Bench) -> None:
    """Every chunk of the batch, also those whose turn in the pipeline has not come; and it says when that is over."""
    bench.model.gate = Gate(capacity=1, latency=0.2)
    handler = await opened(bench, llm_max_concurrency=1)
    steps: dict[str, list[str]] = {i: [] for i in texts(4)}

    async def run(chunk_id: str, text: str) -> Result:
        found: Result = await handler(bench.delivery(chunk_id, text), Recording(steps[chunk_id]))
        return found

    await asyncio.gather(*(run(i, t) for i, t in texts(4).items()))
    for said in steps.values():
        assert any(s.startswith("waiting for the model limiter (llm: 1 of 1 calls under way") for s in said), said
    assert any(said[-1] == "in LightRAG's pipeline" for said in steps.values())


async def test_a_retry_after_is_waited_for_within_the_run(bench: Bench, redis_url: str) -> None:
    """Everybody waits, nobody asks again before, and the run counts as the one it is.

    One call at a time, so that none is on its way while another is refused.
    """
    handler = await opened(bench, redis_url, llm_max_concurrency=1)
    bench.model.gate = gate = Gate(capacity=0, retry_after=1)
    run = asyncio.create_task(bench.run_all(handler, texts(3)))
    await wait_until(lambda: _throttled(gate))
    bench.model.gate = second = Gate(capacity=8)
    assert all(isinstance(r, Result) for r in (await run).values())
    assert second.taken[0][0] - gate.refused_at >= 0.95 and gate.throttled <= 3


async def _throttled(gate: Gate) -> bool:
    return gate.throttled > 0


async def test_a_retry_after_beyond_the_run_comes_back_as_its_delay(bench: Bench, redis_url: str) -> None:
    """The chunk leaves at once and returns when it may; the pipeline was not held up, and no attempt is burned."""
    handler = await opened(bench, redis_url, timeout_seconds=20.0)
    bench.model.gate = Gate(capacity=0, retry_after=120)
    began = time.monotonic()
    with pytest.raises(RetryError, match="throttled") as raised:
        await bench.run(handler, "c1", TEXT)
    assert time.monotonic() - began < 10
    assert not raised.value.counts and 100 < (raised.value.delay_seconds or 0) <= 120
    bench.model.gate = None
    with pytest.raises(RetryError, match="throttled"):  # it is still blocked, for all: nobody asks the server
        await bench.run(handler, "c2", "Other Works is here.")
    assert bench.model.texts == []


async def test_a_run_that_mostly_waited_is_no_attempt(bench: Bench) -> None:
    """A server that refuses everything and does not say for how long: the run ends before its timeout would count."""
    handler = await opened(bench, timeout_seconds=3.0)
    bench.model.gate = Gate(capacity=0)
    with pytest.raises(RetryError) as raised:
        await bench.run(handler, "c1", TEXT)
    assert not raised.value.counts and raised.value.delay_seconds
    bench.model.gate = None

    async def done() -> Result | None:
        try:
            return await bench.run(handler, "c1", TEXT)
        except RetryError:
            return None

    assert await wait_until(done) == Result(entities=3, relations=2)


async def test_a_slow_model_is_no_excuse(bench: Bench) -> None:
    """Nobody waits for a permit: the run is left to the pool's timeout, which counts."""
    handler = await opened(bench, timeout_seconds=0.5)
    bench.model.delay = 1.5
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await bench.run(handler, "c1", TEXT)


@pytest.mark.parametrize("status", [401, 403])
async def test_an_expired_key_buries_nothing(bench: Bench, status: int) -> None:
    """Every text is refused: that is the operator's, who is told, and no chunk's."""
    meter = Meter(bench, await opened(bench))
    bench.model.refusing_all.add(status)
    _, end = await meter.run("c1", TEXT)
    assert isinstance(end, RetryError) and not end.counts and end.delay_seconds
    assert "credentials" in str(end) and "api-key" in str(end)
    bench.model.refusing_all.clear()
    assert (await meter.run("c1", TEXT))[1] == Result(entities=3, relations=2)


@pytest.mark.parametrize("status", [400, 403, 413])
async def test_a_text_that_is_refused_alone_is_rejected(bench: Bench, status: int) -> None:
    """A harmless question is answered, so that it is the text: trying it again would be in vain."""
    meter = Meter(bench, await opened(bench))
    bench.model.failing.add("Poison")
    bench.model.failure = status
    (_, bad), (_, good) = await asyncio.gather(
        meter.run("bad", "Poison Works employs Anna Keller."), meter.run("good", TEXT)
    )
    assert isinstance(bad, RejectError) and "refuses this text" in str(bad)
    assert good == Result(entities=3, relations=2)
    assert await bench.state("bad") == "failed" and document_id("job-1", "bad") in await bench.states()


async def test_a_setting_that_every_call_is_refused_for_buries_nothing(bench: Bench) -> None:
    """As a model that takes no such parameter."""
    meter = Meter(bench, await opened(bench))
    bench.model.refusing_all.add(400)
    _, end = await meter.run("c1", TEXT)
    assert isinstance(end, RetryError) and not end.counts and "to whatever it is asked" in str(end)
