"""A model endpoint that gives no answer, as an operator is told of it: by the job that waits, and by the doctor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewChunk, NewJob
from orchestrator.ledger.schema import migrate
from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL, THROTTLED
from orchestrator.why.doctor import Complaint
from orchestrator.why.reasons import Kind
from tests.integration.lightrag.bench import Bench
from tests.integration.lightrag.meter import TEXT, opened
from tests.support.api import STREAM, api_over
from tests.support.jobs import new_job
from tests.support.servers import free_port
from tests.support.system import system
from tests.support.throttling import Gate
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def ledger(database: str) -> AsyncIterator[Ledger]:
    """A ledger on the loop of these tests."""
    await migrate(database)
    opened = await Ledger.open(database)
    yield opened
    await opened.close()


async def told(ledger: Ledger, redis_url: str, handler: Any, job: NewJob) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let a worker try the job; return the first reason and the first finding that speak of a model."""
    async with (
        system(ledger, redis_url, handler, stream=STREAM) as worker,
        api_over(ledger, redis_url) as api,
        api.as_("operator") as client,
    ):
        await worker.submit(job)

        async def look() -> tuple[dict[str, Any], dict[str, Any]] | None:
            await ledger.workers.seen("h", "lightrag", 1, "1", worker.pool.pulses())
            reasons = (await client.get(f"/jobs/{job.job_id}/why")).json()["reasons"]
            findings = (await client.get("/doctor")).json()["findings"]
            of_model = [r for r in reasons if "model endpoint" in r["text"]]
            complaints = [f for f in findings if f["complaint"].startswith("model")]
            return (of_model[0], complaints[0]) if of_model and complaints else None

        found = await wait_until(look, what="what is said of the model")
        assert found is not None
        await worker.ledger.jobs.cancel(job.job_id)
        rows = await ledger.jobs.chunks(job.job_id, status=None, after=None, limit=10)
        assert [(r["status"], r["attempts"]) for r in rows] == [("cancelled", 0)], "nothing of it was the chunk's fault"
        return found


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("away", (NO_MODEL, Kind.MODEL_AWAY, Complaint.MODEL)),
        ("key", (NO_CREDENTIALS, Kind.WRONG_CREDENTIALS, Complaint.MODEL_CREDENTIALS)),
        ("throttled", (THROTTLED, Kind.MODEL_AWAY, Complaint.MODEL)),
    ],
    ids=["away", "key", "throttled"],
)
async def test_what_keeps_a_model_from_answering_is_named(
    bench: Bench, ledger: Ledger, redis_url: str, fault: str, expected: tuple[str, Kind, Complaint]
) -> None:
    """A closed port, a key that is refused, a pause of two minutes; and what mends it.

    Only words come through LightRAG to the ledger; who read them looked for words of its own, and with another wording
    in the handler each of these would have been a chunk that failed for some reason.
    """
    changes: dict[str, Any] = {}
    if fault == "away":
        changes["llm_base_url"] = f"http://127.0.0.1:{free_port()}/v1"
    elif fault == "key":
        bench.model.refusing_all.add(401)
    else:
        bench.model.gate = Gate(capacity=0, retry_after=120)
    handler = await opened(bench, redis_url, timeout_seconds=20.0, **changes)
    job = new_job(chunks=[NewChunk(chunk_id="c", content=TEXT)], workspace=bench.workspace, queue=STREAM)
    reason, finding = await told(ledger, redis_url, handler, job)
    words, *kinds = expected
    assert [reason["kind"], finding["complaint"]] == kinds
    for said in (reason, finding):
        assert words in said["text"] and ("api_key" if fault == "key" else "orchestrator limits") in said["remedy"]
    assert reason["until"] and not finding["safe"]
