"""GET /events/stream over a real socket: order, replay, filters, heartbeats, an end without a broken pipe (E-46)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from orchestrator.deliveries import Outcome, Result, Verdict
from orchestrator.events.log import EventLog
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from tests.support.api import Api, api_over, bearer, body, open_stream, served
from tests.support.jobs import delivery_of, new_job
from tests.support.wait import wait_until

DONE = Outcome(Verdict.PROCESSED, Result())


@asynccontextmanager
async def live(ledger: Ledger, redis_url: str, **values: Any) -> AsyncIterator[tuple[Api, str]]:
    """Give a served API and its URL."""
    async with api_over(ledger, redis_url, **values) as api, served(api) as url:
        yield api, url


async def finish(ledger: Ledger, job_id: str, chunks: int) -> None:
    """Process a job's chunks one after the other."""
    job = new_job(0, job_id=job_id)
    names = [row["chunk_id"] for row in await ledger.jobs.chunks(job_id, status=None, after=None, limit=chunks)]
    for i, name in enumerate(names):
        delivery = delivery_of(new_job(1, job_id=job.job_id), 0, f"r{i}")
        delivery.chunk_id = name
        taken = (await ledger.chunks.claim([delivery])).taken
        await ledger.chunks.settle([(d, DONE) for d in taken])


async def test_a_job_is_seen_from_queued_to_completed(ledger: Ledger, redis_url: str) -> None:
    """E-32 to E-36, X-14, X-29: each once and in order, with the data the seed promises."""
    async with live(ledger, redis_url) as (_, url), open_stream(url, "alpha") as sse:
        async with httpx.AsyncClient(base_url=url, headers=bearer("alpha")) as client:
            job_id = (await client.post("/lightrag/ingest-async", json=body(2))).json()["job_id"]
        await finish(ledger, job_id, 2)
        events = [await sse.next() for _ in range(5)]
        kinds = [kind for kind, _ in events]
        assert kinds == [f"ingestion.{k}" for k in ("queued", "started", "progress", "progress", "completed")]
        assert {data["job_id"] for _, data in events} == {job_id}
        assert all(data["at"] for _, data in events)
        progress, completed = events[2][1], events[4][1]
        assert (progress["chunks_processed"], progress["chunks_total"], progress["percent_complete"]) == (1, 2, 50.0)
        assert completed["chunks_processed"] == 2 and completed["duration_seconds"] > 0


async def test_reconnecting_with_the_last_id_misses_none_and_repeats_none(ledger: Ledger, redis_url: str) -> None:
    """By header or query, in the middle of a job, while nobody was connected."""
    async with live(ledger, redis_url) as (_, url):
        job = new_job(6)
        async with open_stream(url) as sse:
            await ledger.jobs.create(job)
            seen = await sse.take(1)
            last = sse.last_event_id
        await finish(ledger, job.job_id, 3)
        async with open_stream(url, last=last) as sse:
            seen += await sse.take(3)
            last = sse.last_event_id
        async with open_stream(url, last_event_id=last) as sse:
            seen += await sse.take(1)
            await ledger.jobs.cancel(job.job_id)
            seen += await sse.take(1)
            last = sse.last_event_id
        assert seen == [f"ingestion.{k}" for k in ("queued", "started", *["progress"] * 3, "cancelled")]
        async with open_stream(url, last=last, last_event_id="0") as sse:  # the header wins
            await ledger.jobs.create(new_job(1))
            assert await sse.take(1) == ["ingestion.queued"]


async def test_a_jobs_stream_begins_at_its_first_event(ledger: Ledger, redis_url: str) -> None:
    """Submit, then watch: nothing is missed; other jobs are not seen."""
    async with live(ledger, redis_url) as (_, url):
        job, other = new_job(2), new_job(1)
        for made in (job, other):
            await ledger.jobs.create(made)
        await finish(ledger, job.job_id, 1)
        async with open_stream(url, job_id=job.job_id) as sse:
            assert await sse.take(3) == ["ingestion.queued", "ingestion.started", "ingestion.progress"]
            await ledger.jobs.cancel(other.job_id)
            await ledger.jobs.cancel(job.job_id)
            kind, data = await sse.next()
            assert (kind, data["job_id"]) == ("ingestion.cancelled", job.job_id)


async def test_x28_a_tenant_sees_its_own_events_only(ledger: Ledger, redis_url: str) -> None:
    """The operator sees all, those about the system too."""
    async with (
        live(ledger, redis_url) as (_, url),
        open_stream(url, "alpha", last="0") as alpha,
        open_stream(url) as operator,
    ):
        jobs: list[NewJob] = [new_job(1, tenant=t) for t in ("beta", "alpha")]
        for job in jobs:
            await ledger.jobs.create(job)
        await EventLog(ledger.database).append("worker.started", {"consumer": "h-0"})
        await ledger.jobs.cancel(jobs[1].job_id)
        own = [await alpha.next() for _ in range(2)]
        assert [(k, d["job_id"]) for k, d in own] == [
            ("ingestion.queued", jobs[1].job_id),
            ("ingestion.cancelled", jobs[1].job_id),
        ]
        expected = ["ingestion.queued", "ingestion.queued", "worker.started", "ingestion.cancelled"]
        assert await operator.take(4) == expected


async def test_heartbeats_keep_a_quiet_stream_open(ledger: Ledger, redis_url: str) -> None:
    """A comment each interval; events still come."""
    async with live(ledger, redis_url, sse_heartbeat_seconds=0.05) as (_, url), open_stream(url) as sse:
        assert [await sse.comment() for _ in range(3)] == ["heartbeat"] * 3
        await ledger.jobs.create(new_job(1))
        assert await sse.take(1) == ["ingestion.queued"]


async def test_streams_are_bounded_and_give_their_place_back(ledger: Ledger, redis_url: str) -> None:
    """503 at the limit; a client that left is noticed."""
    async with live(ledger, redis_url, sse_max_streams=2) as (api, url):
        async with (
            open_stream(url),
            open_stream(url),
            httpx.AsyncClient(base_url=url, headers=bearer("alpha")) as client,
        ):
            refused = await client.get("/events/stream")
            assert refused.status_code == 503 and refused.headers["retry-after"] == "5"

        async def left() -> bool:
            return api.deps.follower.subscribers == 0 and not api.deps.follower.running

        await wait_until(left, what="the streams have left")
        async with open_stream(url):
            assert api.deps.follower.subscribers == 1


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 19, "9" * 500, "¹"])
async def test_a_wrong_last_event_id_is_422(ledger: Ledger, redis_url: str, last: str) -> None:
    """An id is a whole number of ours."""
    async with api_over(ledger, redis_url) as api, api.as_("alpha") as client:
        answer = await client.get("/events/stream", params={"last_event_id": last})
        assert answer.status_code == 422 and answer.json()["errors"][0]["where"] == "last_event_id"


async def test_a_client_that_does_not_read_costs_bounded_memory(ledger: Ledger, redis_url: str) -> None:
    """Its queue stays within its bound, others get every event, and at last so does it."""
    async with live(ledger, redis_url) as (api, url), open_stream(url, last="0") as slow:
        log, padding = EventLog(ledger.database), "x" * 20_000
        async with open_stream(url) as quick:
            for i in range(600):  # 12 MB: more than the sockets between hold
                await log.append("filler", {"n": i, "padding": padding})
            assert len(await quick.take(600)) == 600
        async with asyncio.timeout(30):
            assert [(await slow.next())[1]["n"] for _ in range(600)] == list(range(600))
        assert api.deps.follower.subscribers <= 2


async def test_streams_end_in_order_when_the_api_stops(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body ends, no connection is reset, and stopping waits for nobody."""
    monkeypatch.setattr("orchestrator.api.serve.GRACE_SECONDS", 60)  # who waits for a stream waits for so long
    async with api_over(ledger, redis_url) as api:
        began = 0.0
        async with served(api) as url:
            client = httpx.AsyncClient(base_url=url, headers=bearer("operator"), timeout=30)
            response = await client.send(client.build_request("GET", "/events/stream"), stream=True)
            lines = response.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            began = time.monotonic()
        assert [line async for line in lines if line] == [": connected"]
        assert time.monotonic() - began < 30
        await response.aclose()
        await client.aclose()
