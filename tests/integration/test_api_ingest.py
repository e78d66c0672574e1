"""POST /lightrag/ingest-async: one transaction, then everything follows from the ledger (C-05, E-45, X-46)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest

from orchestrator import keys
from orchestrator.ledger import Ledger
from tests.support.api import LINES, STREAM, Api, api_over, body, in_lines, served
from tests.support.jobs import new_job
from tests.support.link import link_to
from tests.support.servers import Server
from tests.support.wait import wait_until

PATH = "/lightrag/ingest-async"


async def test_the_seeds_body_becomes_a_job_on_the_stream(api: Api) -> None:
    """Accepted, found under Location, in the ledger, on the stream, in the fast view."""
    async with api.as_("alpha") as client:
        answer = await client.post(PATH, json=body(3, metadata={"k": "v"}))
        assert answer.status_code == 202
        accepted = answer.json()
        job_id = accepted["job_id"]
        assert str(UUID(job_id)) == job_id and accepted["status"] == "queued"
        assert answer.headers["location"] == accepted["links"]["self"] == f"/jobs/{job_id}"
        seen = (await client.get(answer.headers["location"])).json()
    assert (seen["workspace"], seen["source_type"], seen["metadata"]) == ("alpha", "test", {"k": "v"})
    chunks = await api.deps.ledger.jobs.chunks(job_id, status=None, after=None, limit=9)
    assert [c["chunk_id"] for c in chunks] == ["chunk-00001", "chunk-00002", "chunk-00003"]
    assert chunks[0]["source_uri"] == "test://1"

    async def dispatched() -> bool:
        return bool(await api.client.exists(keys.job(job_id)))

    await wait_until(dispatched, what="the view is written")
    found: Any = await api.client.xrange(STREAM)
    entries = [fields for _, fields in found]
    assert [fields[b"chunk_id"].decode() for fields in entries] == [c["chunk_id"] for c in chunks]
    assert {fields[b"job_id"].decode() for fields in entries} == {job_id}


async def test_x46_the_answer_does_not_depend_on_redis(ledger: Ledger, redis_process: Server, redis_url: str) -> None:
    """The seed lost a job when it crashed before XADD; ours waits in the outbox, and its queued event is written."""
    async with link_to(redis_process.port) as link, api_over(ledger, f"redis://127.0.0.1:{link.port}/0") as api:
        await link.cut()
        async with api.as_("alpha") as client:
            answer = await client.post(PATH, json=body(2))
        assert answer.status_code == 202
        job_id = answer.json()["job_id"]
        await api.deps.dispatch.close(10)
    waiting = await ledger.database.run(lambda c: c.fetch("SELECT job_id FROM outbox"))
    assert [row["job_id"] for row in waiting] == [job_id]
    events = await ledger.database.run(lambda c: c.fetch("SELECT type FROM events WHERE job_id = $1", job_id))
    assert [row["type"] for row in events] == ["ingestion.queued"]


async def test_x27_metadata_and_given_chunk_ids_come_back_as_they_went_in(api: Api) -> None:
    """Of the job and of each chunk. Ids are the producer's to give; the others are numbered."""
    given = {"metadata": {"k": "ünï", "deep": {"list": [1, None, True]}}, "source_type": "test"}
    chunks = [{"text": "a", "chunk_id": "intro", "metadata": {"page": 1}}, {"text": "ünï 🙂", "source_uri": None}]
    async with api.as_("alpha") as client:
        job_id = (await client.post(PATH, json={"chunks": chunks, **given})).json()["job_id"]
        assert (await client.get(f"/jobs/{job_id}")).json()["metadata"] == given["metadata"]
        page = (await client.get(f"/jobs/{job_id}/chunks")).json()["chunks"]
    assert [(c["chunk_id"], c["metadata"]) for c in page] == [("intro", {"page": 1}), ("chunk-00002", None)]


async def test_an_idempotency_key_gives_one_job(api: Api) -> None:
    """The same body in another spelling is the same request; another body or tenant is not."""
    key = {"Idempotency-Key": "order-1"}
    async with api.as_("alpha") as client, api.as_("beta") as other:
        first = await client.post(PATH, json=body(2), headers=key)
        spelled = orjson.dumps(body(2), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
        again = await client.post(PATH, content=spelled, headers=key)
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.json()["job_id"] == first.json()["job_id"]
        conflict = await client.post(PATH, json=body(3), headers=key)
        assert conflict.status_code == 409 and "idempotency key" in conflict.json()["detail"]
        foreign = await other.post(PATH, json=body(2), headers=key)
        assert foreign.status_code == 202 and foreign.json()["job_id"] != first.json()["job_id"]
        too_long = await client.post(PATH, json=body(2), headers={"Idempotency-Key": "k" * 201})
        assert too_long.status_code == 422
        assert len((await client.get("/jobs")).json()["jobs"]) == 1


@pytest.mark.parametrize(
    ("tenant", "wish", "status", "workspace"),
    [
        ("alpha", None, 202, "alpha"),
        ("alpha", "alpha-books", 202, "alpha-books"),
        ("alpha", "beta", 403, ""),
        ("alpha", "alphabet", 403, ""),
        ("alpha", "../x", 422, ""),
        ("alpha", "", 422, ""),
        ("operator", None, 202, "default"),
        ("operator", "beta", 202, "beta"),
    ],
)
async def test_a_tenant_stays_in_its_own_workspaces(
    api: Api, tenant: str, wish: str | None, status: int, workspace: str
) -> None:
    """Its own name, or its name and a dash; the operator may use any."""
    async with api.as_(tenant) as client:
        answer = await client.post(PATH, json=body(1, workspace=wish))
        assert answer.status_code == status, answer.text
        if status == 202:
            job = (await client.get(answer.headers["location"])).json()
            assert job["workspace"] == workspace


async def test_a_full_backlog_is_503_with_retry_after(ledger: Ledger, redis_url: str) -> None:
    """What is queued in the ledger counts, whatever Redis holds (X-47)."""
    async with api_over(ledger, redis_url, max_backlog_chunks=3, backlog_retry_after_seconds=7) as api:
        await ledger.jobs.create(new_job(50, worker_type="other"))
        async with api.as_("alpha") as client:
            assert (await client.post(PATH, json=body(2))).status_code == 202
            key = {"Idempotency-Key": "once"}
            accepted = await client.post(PATH, json=body(2), headers=key)
            refused = await client.post(PATH, json=body(1))
            again = await client.post(PATH, json=body(2), headers=key)
            assert (again.status_code, again.json()["job_id"]) == (202, accepted.json()["job_id"])
            assert (accepted.status_code, refused.status_code) == (202, 503)
            assert refused.headers["retry-after"] == "7" and "4 chunks wait" in refused.json()["detail"]
            await client.post(accepted.json()["links"]["cancel"])
            assert (await client.post(PATH, json=body(1))).status_code == 202


async def test_what_others_took_is_counted_within_a_second(ledger: Ledger, redis_url: str) -> None:
    """A count is kept for so long: a look at every open job with each submission would be dear."""
    async with api_over(ledger, redis_url, max_backlog_chunks=3) as api, api.as_("alpha") as client:
        assert (await client.post(PATH, json=body(1))).status_code == 202
        await ledger.jobs.create(new_job(2))  # another API's

        async def refused() -> bool:
            return (await client.post(PATH, json=body(1, chunks=[]))).status_code == 503

        await wait_until(refused)


async def test_without_the_worker_type_nothing_is_taken(ledger: Ledger, redis_url: str) -> None:
    """A job nobody would ever do must not be accepted."""
    async with api_over(ledger, redis_url, types=False) as api, api.as_("alpha") as client:
        answer = await client.post(PATH, json=body(1))
        assert answer.status_code == 503 and "lightrag" in answer.json()["detail"]


async def test_concurrent_submissions_are_all_accepted(api: Api) -> None:
    """Each job exists once, with all its chunks, and is dispatched."""
    async with api.as_("alpha") as client:
        answers = await asyncio.gather(*(client.post(PATH, json=body(5)) for _ in range(30)))
        assert {a.status_code for a in answers} == {202} and len({a.json()["job_id"] for a in answers}) == 30

    async def all_out() -> bool:
        return bool(await api.client.xlen(STREAM) == 150)

    await wait_until(all_out, what="all chunks are on the stream")


@pytest.mark.timeout(180)
async def test_a_hundred_thousand_chunks_are_one_request(api: Api) -> None:
    """Through a real socket, as JSON and in lines, with the same answer for the same key."""
    count = 100_000
    text = "A sentence of ordinary length, as a chunk would hold some dozens of them. " * 4
    chunks = [{"text": text, "source_uri": f"f:{i}"} for i in range(count)]
    async with served(api) as url, api.as_("alpha") as inside:
        headers = {"Authorization": inside.headers["Authorization"], "Idempotency-Key": "once"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=50) as client:
            answer = await client.post(PATH, content=orjson.dumps({"chunks": chunks, "source_type": "many"}))
            assert answer.status_code == 202, answer.text
            body = in_lines({"source_type": "many"}, chunks)
            again = await client.post(PATH, content=body, headers={"Content-Type": LINES})
            job = (await client.get(answer.headers["location"])).json()
    assert again.json()["job_id"] == answer.json()["job_id"] == job["job_id"]
    assert job["chunks_total"] == count and job["counts"]["queued"] == count
