"""What model calls cost: every token is charged once, to the chunk it was for; a spent budget stops them."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import RetryError
from orchestrator.jobs import JobStatus
from orchestrator.ledger import Ledger
from orchestrator.ledger.budgets import Budgets
from orchestrator.ledger.jobs import NewChunk
from orchestrator.ledger.schema import migrate
from orchestrator.tasks import end
from orchestrator.tracker.relay import Relay
from tests.integration.lightrag.bench import Bench
from tests.integration.lightrag.meter import TEXT, Meter, opened, texts
from tests.support.jobs import new_job
from tests.support.system import system
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_job_whose_budget_is_spent_makes_no_more_calls_until_it_is_raised(
    bench: Bench, database: str, redis_url: str
) -> None:
    """What was in flight is finished and paid for; then the model is left alone; then the job completes."""
    handler = await opened(bench, redis_url, max_parallel_insert=2)
    await migrate(database)
    ledger = await Ledger.open(database)
    chunks = [NewChunk(chunk_id=i, content=t) for i, t in texts(30).items()]
    job = new_job(chunks=chunks, workspace=bench.workspace, budget=Decimal("0.1"))
    other = new_job(chunks=[NewChunk(chunk_id="c", content="Other Works is here.")], workspace=bench.workspace)
    try:
        async with system(ledger, redis_url, handler, size=1, batch=4, timeout_seconds=60.0) as worker:
            filling = asyncio.create_task(Relay(ledger, worker.client, window=2).run("q", 0.05))
            await ledger.jobs.create(job)

            async def paused() -> bool:
                held = await ledger.pauses.of_jobs([job.job_id])
                return bool(held) and (await ledger.jobs.get(job.job_id)).running == 0

            await wait_until(paused)
            asked = sum("Unit" in text for text in bench.model.texts)
            spent = (await ledger.jobs.get(job.job_id)).cost
            assert Decimal("0.1") <= spent < Decimal("0.2"), "one extraction costs about 0.01"
            await worker.submit(other)
            assert (await worker.ended(other.job_id, within=40)).status is JobStatus.COMPLETED
            assert sum("Unit" in text for text in bench.model.texts) == asked
            await Budgets(ledger.database).set(job.job_id, Decimal("10"), tenant=None, actor="ann")
            ended = await worker.ended(job.job_id, within=40)
            others = await ledger.jobs.get(other.job_id)
            await end([filling])
    finally:
        await ledger.close()
    assert (ended.status, ended.processed) == (JobStatus.COMPLETED, 30)
    both = [ended, others]
    assert sum(j.model_calls for j in both) == len(bench.model.billed)
    assert sum(j.prompt_tokens for j in both) == sum(p for p, _ in bench.model.billed)


@pytest.mark.parametrize("binding", ["openai", "ollama"])
async def test_every_token_is_charged_once(bench: Bench, binding: str) -> None:
    """To the chunks of the batch together exactly what the server billed; each pays for its own extraction."""
    handler = await opened(bench, llm_binding=binding, embedding_binding=binding)
    meter = Meter(bench, handler)
    sizes = {f"c{i}": f"Unit{i} Works supplies Helios Labs. " + "It is so. " * 40 * i for i in range(6)}
    runs = await asyncio.gather(*(meter.run(i, t) for i, t in sizes.items()))
    used = [context.usage for context, _ in runs]
    billed = bench.model.billed
    assert sum(u.calls for u in used) == len(billed)
    assert sum(u.prompt_tokens for u in used) == sum(p for p, _ in billed)
    assert sum(u.completion_tokens for u in used) == sum(c for _, c in billed)
    assert used[5].prompt_tokens > used[0].prompt_tokens + 500, "a longer chunk pays more"
    embedded = Decimal(sum(p for p, c in billed if not c)) * Decimal("0.1")
    said = sum(p * 2 + c * 10 for p, c in billed if c)
    assert sum(u.cost for u in used) == pytest.approx((embedded + said) / 1_000_000)


async def test_what_was_not_asked_costs_nothing(bench: Bench) -> None:
    """A copy of a text, and a chunk that comes again."""
    meter = Meter(bench, await opened(bench))
    first, _ = await meter.run("c1", TEXT)
    assert first.usage.calls >= 2 and first.usage.cost > 0
    for again in (await meter.run("c1", TEXT), await meter.run("c2", TEXT), await meter.run("c3", " ")):
        assert again[0].usage.calls == 0 and again[0].usage.cost == 0


async def test_tokens_are_estimated_when_nobody_counts_them(bench: Bench) -> None:
    """At four bytes each."""
    bench.model.says_usage = False
    meter = Meter(bench, await opened(bench))
    context, _ = await meter.run("c1", TEXT)
    asked, said = (sum(counts) for counts in zip(*bench.model.billed, strict=True))
    assert (
        0.6 * asked < context.usage.prompt_tokens < asked and 0.6 * said < context.usage.completion_tokens < said * 1.1
    )


async def test_a_failed_run_is_charged_too(bench: Bench) -> None:
    """For what was answered before it failed, and for what the model was at when it was given up.

    Only the run that shall be given up has little patience.
    """
    bench.model.broken_embeddings = True
    context, end = await Meter(bench, await opened(bench)).run("c1", TEXT)
    assert isinstance(end, RetryError) and context.usage.calls >= 1 and context.usage.completion_tokens > 0
    bench.model.broken_embeddings = False
    bench.model.holding.add("Slow")
    hasty = Meter(bench, await opened(bench, llm_timeout_seconds=1.0))
    context, end = await hasty.run("slow", "Slow Works is here.", workspace=f"{bench.workspace}-b")
    assert (
        isinstance(end, RetryError) and end.counts and (context.usage.calls, context.usage.completion_tokens) == (1, 0)
    )


async def test_what_is_used_while_nobody_holds_the_chunk_is_charged_to_its_next_run(bench: Bench) -> None:
    """A run that was cancelled leaves its document in the pipeline, which goes on."""
    meter = Meter(bench, await opened(bench))
    bench.model.delay = 0.4
    run = asyncio.create_task(meter.run("c1", TEXT))
    await wait_until(bench.extracted)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    async def done() -> bool:
        return await bench.state("c1") == "processed"

    await wait_until(done)
    context, end = await meter.run("c1", TEXT)
    assert end == Result(entities=3, relations=2)
    assert (context.usage.calls, context.usage.prompt_tokens) == (
        len(bench.model.billed), sum(p for p, _ in bench.model.billed),
    )  # fmt: skip
