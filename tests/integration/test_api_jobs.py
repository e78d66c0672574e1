"""Jobs over the API: the ledger's truth, pages, cancel, delete; the fast view when PostgreSQL is away."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator import keys
from orchestrator.deliveries import Outcome, Result, Verdict
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from tests.support.api import Api, api_over, body
from tests.support.jobs import delivery_of, new_job
from tests.support.link import link_to
from tests.support.servers import Server

DONE = Outcome(Verdict.PROCESSED, Result(entities=3, relations=2))
DEAD = Outcome(Verdict.FAILED, reason="model said 400")


async def settle(ledger: Ledger, job: NewJob, *outcomes: Outcome) -> None:
    """Run the first chunks of a job to these ends."""
    deliveries = [delivery_of(job, i) for i in range(len(outcomes))]
    taken = (await ledger.chunks.claim(deliveries)).taken
    await ledger.chunks.settle(list(zip(taken, outcomes, strict=True)))


async def test_the_seeds_fields_and_more(api: Api, ledger: Ledger) -> None:
    """E-43, X-24: progress with real numbers, and counts that add up."""
    job = new_job(3, tenant="alpha", metadata={"k": 1})
    await ledger.jobs.create(job)
    await settle(ledger, job, DONE)
    async with api.as_("alpha") as client:
        seen = (await client.get(f"/jobs/{job.job_id}")).json()
        assert (seen["job_id"], seen["status"], seen["chunks_total"]) == (job.job_id, "processing", 3)
        assert (seen["chunks_processed"], seen["percent_complete"], seen["stale"]) == (1, 33.33, False)
        assert seen["created_at"].endswith("Z") and seen["started_at"] and seen["completed_at"] is None
        assert seen["counts"] == {"queued": 2, "running": 0, "processed": 1, "failed": 0, "cancelled": 0}
        assert (seen["entities"], seen["relations"], seen["metadata"]) == (3, 2, {"k": 1})
        rest = [delivery_of(job, i) for i in (1, 2)]
        taken = (await ledger.chunks.claim(rest)).taken
        await ledger.chunks.settle([(taken[0], DONE), (taken[1], DEAD)])
        seen = (await client.get(f"/jobs/{job.job_id}")).json()
        assert (seen["status"], seen["error"], seen["error_chunk_id"]) == ("failed", "model said 400", "c2")
        assert seen["duration_seconds"] > 0 and seen["completed_at"]


async def test_x19_a_job_of_twenty_thousand_chunks_is_not_complete_one_early(api: Api, ledger: Ledger) -> None:
    """round(19999 / 20000 * 100, 2) is 100.0; ours is 99.99 and processing."""
    job = new_job(20_000, tenant="alpha")
    await ledger.jobs.create(job)
    await settle(ledger, job, *[DONE] * 19_999)
    async with api.as_("alpha") as client:
        seen = (await client.get(f"/jobs/{job.job_id}")).json()
        assert (seen["percent_complete"], seen["status"]) == (99.99, "processing")


async def test_x23_an_expired_view_is_no_lost_job(api: Api, ledger: Ledger) -> None:
    """X-20 to X-23: whatever Redis forgot, the job is there, and reading it makes no zombie key."""
    job = new_job(1, tenant="alpha")
    await ledger.jobs.create(job)
    await api.client.flushall()
    async with api.as_("alpha") as client:
        assert (await client.get(f"/jobs/{job.job_id}")).json()["status"] == "queued"
    assert await api.client.exists(keys.job(job.job_id)) == 0


@pytest.mark.parametrize("path", ["", "/chunks"])
async def test_an_unknown_job_is_404(api: Api, path: str) -> None:
    """And so is an id that no job can have."""
    async with api.as_("operator") as client:
        for job_id in ("nothing", "%00", "a%0Ab"):
            answer = await client.get(f"/jobs/{job_id}{path}")
            assert answer.status_code == 404 and answer.headers["content-type"] == "application/problem+json"
        assert (await client.get(f"/jobs/{'x' * 129}{path}")).status_code == 422


async def test_x28_another_tenants_job_is_as_unknown_as_none(api: Api, ledger: Ledger) -> None:
    """Knowing an id gives nothing; the operator sees all."""
    job = new_job(1, tenant="alpha")
    await ledger.jobs.create(job)
    here = f"/jobs/{job.job_id}"
    async with api.as_("beta") as other, api.as_("alpha") as owner, api.as_("operator") as operator:
        for method, path in (
            ("GET", here), ("GET", f"{here}/chunks"), ("POST", f"{here}/cancel"), ("DELETE", here),
            ("GET", f"/events/stream?job_id={job.job_id}"),
        ):  # fmt: skip
            assert (await other.request(method, path)).status_code == 404, path
        assert (await other.get("/jobs")).json()["jobs"] == []
        for client in (owner, operator):
            assert (await client.get(here)).json()["status"] == "queued"
            assert len((await client.get("/jobs")).json()["jobs"]) == 1


async def test_x28_without_a_known_key_everything_but_liveness_is_401(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the challenge RFC 6750 asks for; unread bodies included."""
    monkeypatch.setattr("orchestrator.api.health.CHECK_SECONDS", 20)
    async with api.as_(None) as client:
        for method, path in (
            ("GET", "/jobs"), ("GET", "/jobs/x"), ("GET", "/jobs/x/chunks"), ("POST", "/jobs/x/cancel"),
            ("DELETE", "/jobs/x"), ("POST", "/lightrag/ingest-async"), ("POST", "/lightrag/query"),
            ("GET", "/events/stream"), ("GET", "/health/detailed"), ("GET", "/openapi.json"),
        ):  # fmt: skip
            for headers in ({}, {"Authorization": "Bearer nobody's"}, {"Authorization": "Basic YTpi"}):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Bearer realm=")
                assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 200


async def test_pages_of_jobs_show_each_job_once(api: Api, ledger: Ledger) -> None:
    """Newest first; a job that comes in between shifts nothing; filters hold across pages."""
    jobs = [new_job(1, tenant="alpha") for _ in range(7)]
    for job in jobs:
        await ledger.jobs.create(job)
    await ledger.jobs.cancel(jobs[3].job_id)
    await ledger.jobs.create(new_job(1, tenant="beta"))
    found: list[str] = []
    async with api.as_("alpha") as client:
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.get("/jobs", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))).json()
            found += [job["job_id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
            await ledger.jobs.create(new_job(1, tenant="alpha"))
        assert found == [job.job_id for job in reversed(jobs)]
        cancelled = (await client.get("/jobs?status=cancelled")).json()
        assert [j["job_id"] for j in cancelled["jobs"]] == [jobs[3].job_id] and cancelled["next_cursor"] is None


async def test_pages_of_chunks(api: Api, ledger: Ledger) -> None:
    """In their order, with what became of each, and without their text."""
    job = new_job(5, tenant="alpha")
    await ledger.jobs.create(job)
    await settle(ledger, job, DONE, DEAD)
    async with api.as_("alpha") as client:
        first = (await client.get(f"/jobs/{job.job_id}/chunks?limit=3")).json()
        rest = (await client.get(f"/jobs/{job.job_id}/chunks?limit=3&cursor={first['next_cursor']}")).json()
        assert [c["chunk_id"] for c in first["chunks"] + rest["chunks"]] == [f"c{i}" for i in range(5)]
        assert rest["next_cursor"] is None and "content" not in first["chunks"][0]
        assert [(c["status"], c["error"]) for c in first["chunks"][:2]] == [
            ("processed", None), ("failed", "model said 400"),
        ]  # fmt: skip
        failed = (await client.get(f"/jobs/{job.job_id}/chunks?status=failed")).json()["chunks"]
        assert [c["chunk_id"] for c in failed] == ["c1"]


async def test_cancel_is_idempotent_and_delete_takes_ended_jobs_only(api: Api) -> None:
    """202 → 409 → cancelled → cancelled → 204 → 404; nothing is left in Redis."""
    async with api.as_("alpha") as client:
        here = (await client.post("/lightrag/ingest-async", json=body(3))).headers["location"]
        early = await client.delete(here)
        assert early.status_code == 409 and "cancel" in early.json()["detail"]
        first, again = await client.post(f"{here}/cancel"), await client.post(f"{here}/cancel")
        assert first.status_code == again.status_code == 200 and first.json() == again.json()
        assert (first.json()["status"], first.json()["counts"]["cancelled"]) == ("cancelled", 3)
        await api.deps.dispatch.close(10)
        assert (await client.delete(here)).status_code == 204
        assert (await client.get(here)).status_code == 404 and (await client.delete(here)).status_code == 404
        assert await api.client.exists(keys.job(here.removeprefix("/jobs/"))) == 0


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_x23_with_postgresql_away_the_fast_view_answers_and_says_so(
    ledger: Ledger, redis_url: str, database: str, postgres_process: Server, how: str
) -> None:
    """Stale is marked; other tenants' and forgotten jobs are 503, not 404: nobody knows."""
    async with link_to(postgres_process.port) as link:
        remote = await Ledger.open(database.replace(str(postgres_process.port), str(link.port)))
        async with api_over(remote, redis_url) as api, api.as_("alpha") as client, api.as_("beta") as other:
            job = new_job(4, tenant="alpha", metadata={"k": "v"})
            await ledger.jobs.create(job)
            await settle(ledger, job, DONE, DEAD)
            fresh = (await client.get(f"/jobs/{job.job_id}")).json()
            await api.deps.view.write([await ledger.jobs.get(job.job_id)])
            if how == "cut":
                await link.cut()
            else:
                link.freeze()
            stale = (await client.get(f"/jobs/{job.job_id}")).json()
            assert stale.pop("stale") is True and fresh.pop("stale") is False
            for field in ("duration_seconds", "error_chunk_id", "source_type"):
                stale.pop(field), fresh.pop(field)
            assert stale == fresh
            answers = await asyncio.gather(other.get(f"/jobs/{job.job_id}"), client.get("/jobs/forgotten"))
            for answer in answers:
                assert answer.status_code == 503 and answer.headers["retry-after"]
                assert "PostgreSQL" not in answer.json()["title"]
            await api.client.hset(keys.job("half"), mapping={"tenant": "alpha", "chunks_processed": "1"})
            assert (await client.get("/jobs/half")).status_code == 503
            await link.cut()
        await remote.close()
