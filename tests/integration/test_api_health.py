"""Liveness, readiness and E-28: what is away is named, and figures are real (X-10, X-47)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import httpx
import pytest

from orchestrator.deliveries import Outcome, Verdict
from orchestrator.ledger import Ledger
from orchestrator.ledger.workers import Pulse
from tests.support.api import Api, api_over
from tests.support.jobs import delivery_of, new_job
from tests.support.link import Link, link_to
from tests.support.servers import Server
from tests.support.wait import wait_until


@pytest.fixture
async def away(
    ledger: Ledger, redis_url: str, database: str, postgres_process: Server, redis_process: Server
) -> AsyncIterator[tuple[Link, Link, Api]]:
    """An API whose PostgreSQL and Redis can be taken away."""
    async with link_to(postgres_process.port) as postgres, link_to(redis_process.port) as cache:
        remote = await Ledger.open(database.replace(str(postgres_process.port), str(postgres.port)))
        async with api_over(remote, redis_url.replace(str(redis_process.port), str(cache.port))) as api:
            yield postgres, cache, api
            await cache.cut()
            await postgres.cut()
        await remote.close()


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_ready_names_what_does_not_answer(ledger: Ledger, away: tuple[Link, Link, Api], how: str) -> None:
    """503 with both states, in a short time; liveness does not depend on them."""
    postgres, cache, api = away

    async def take_away(link: Link) -> None:
        if how == "cut":
            await link.cut()
        else:
            link.freeze()

    async with api.as_("operator") as client:

        async def said(path: str, **checks: str) -> httpx.Response:
            """Ask until the checks are these: while the machine stalls, what is well may be said to be down."""

            async def look() -> httpx.Response | None:
                answer = await client.get(path)
                return answer if answer.json()["checks"] == checks else None

            answer = await wait_until(look, what=f"{checks} at {path}")
            assert answer is not None
            return answer

        well = await said("/ready", postgresql="up", redis="up")
        assert (well.status_code, well.json()["status"]) == (200, "ready")
        await take_away(cache)
        answer = await said("/ready", postgresql="up", redis="down")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] and "redis" in answer.json()["detail"]
        report = await said("/health/detailed", postgresql="up", redis="down")
        assert report.json()["status"] == "degraded"
        await take_away(postgres)
        answer = await client.get("/ready")
        assert answer.json()["checks"] == {"postgresql": "down", "redis": "down"}
        report = await client.get("/health/detailed")
        assert (report.status_code, report.json()["status"]) == (503, "down")
        assert "postgresql does not answer" in report.json()["error"]
        assert (await client.get("/health")).json() == {"status": "up"}
        await postgres.cut()
        answer = await client.get("/jobs")
        assert answer.status_code == 503 and answer.headers["content-type"] == "application/problem+json"


async def test_x10_x47_the_detailed_report_counts_what_is_there(
    ledger: Ledger, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates come from the workers, the depth from the ledger; a type without a worker is degraded."""
    monkeypatch.setattr("orchestrator.api.health.CHECK_SECONDS", 20)
    async with api_over(ledger, redis_url) as api, api.as_("alpha") as client:
        empty = (await client.get("/health/detailed")).json()
        assert (empty["status"], empty["active_workers"]) == ("degraded", 0)
        assert empty["error"] == "no worker of type lightrag"
        job = new_job(5)
        await ledger.jobs.create(job)
        one, two = (await ledger.chunks.claim([delivery_of(job, 0), delivery_of(job, 1)])).taken
        await ledger.chunks.settle([(one, Outcome(Verdict.FAILED, reason="no"))])
        pulses = [Pulse("h-lightrag-0", 1, 1, 1.25), Pulse("h-lightrag-1", 0, 0, 2.5)]
        await ledger.workers.seen("h", "lightrag", os.getpid(), "1", pulses)
        report = (await client.get("/health/detailed")).json()
        assert (report["status"], report["error"], report["processing_rate"]) == ("up", None, 3.75)
        assert (report["active_workers"], report["queue_depth"], report["dead"]) == (2, 3, 1)
        assert report["workers"]["lightrag"] == {
            "status": "up", "active_workers": 2, "busy": 1, "queue_depth": 3, "running": 1, "dead": 1,
            "processing_rate": 3.75,
        }  # fmt: skip
        await ledger.workers.stopped(["h-lightrag-0", "h-lightrag-1"])
        assert (await client.get("/health/detailed")).json()["status"] == "degraded"
        assert two.lease_token
