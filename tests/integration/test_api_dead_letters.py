"""Dead letters over the API: pages, one letter, retry and drop, one by one and many at once; tenants do not meet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio as redis

from orchestrator import keys
from orchestrator.deliveries import Delivery
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from orchestrator.settings import WorkerTypeSettings
from tests.support.api import STREAM, Api, api_over
from tests.support.jobs import ended_job
from tests.support.link import link_to
from tests.support.servers import Server

PATH = "/dead-letters"


async def failed(ledger: Ledger, size: int = 1, tenant: str = "alpha", **changes: Any) -> NewJob:
    """Run a job to its end with all its chunks dead."""
    job = await ended_job(ledger, size, size, tenant=tenant, queue=STREAM, **changes)
    await ledger.database.run(lambda c: c.execute("DELETE FROM outbox"))
    return job


async def bury(ledger: Ledger, *entries: Delivery) -> None:
    """Bury entries that are no chunks of ours."""
    await ledger.dead_letters.bury("lightrag", STREAM, [(d, d.problem or "its job has ended") for d in entries])


def late(receipt: str = "7-1", **changes: Any) -> Delivery:
    """Return an entry of an external producer whose job has ended."""
    return Delivery(receipt, "h", "gone", "c", **{"content": "hello", **changes})


async def copy_in_redis(client: redis.Redis, **fields: str) -> None:
    """Write what bury.lua writes."""
    entry: dict[Any, Any] = {**fields, "dead_reason": "model said 400"}
    await client.xadd(keys.dead(STREAM), entry)


async def entries(client: redis.Redis, stream: str) -> list[dict[str, str]]:
    """Return the fields of a stream's entries."""
    found: Any = await client.xrange(stream)
    return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in found]


async def test_a_letter_is_listed_and_shown(api: Api, ledger: Ledger) -> None:
    """With its reason, its counts and the length of its text; never the text."""
    job = await failed(ledger)
    async with api.as_("alpha") as client:
        (listed,) = (await client.get(PATH)).json()["dead_letters"]
        shown = (await client.get(f"{PATH}/{listed['id']}")).json()
    assert (listed["job_id"], listed["chunk_id"], listed["status"]) == (job.job_id, "c0", "dead")
    assert (listed["reason"], listed["attempts"], listed["deliveries"]) == ("model said 400", 1, 1)
    assert listed["retriable"] is True and listed["at"].endswith("Z") and listed["resolved_at"] is None
    assert shown == {**listed, "payload": {}, "text_length": 6, "source_uri": "file:0"}


async def test_pages_show_each_letter_once_and_filters_hold(api: Api, ledger: Ledger) -> None:
    """A letter that comes in between shifts nothing."""
    job = await failed(ledger, 5)
    await failed(ledger, 2, worker_type="charts")
    found: list[str] = []
    async with api.as_("alpha") as client:
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": "2", "worker_type": "lightrag"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(PATH, params=query)).json()
            found += [letter["chunk_id"] for letter in page["dead_letters"]]
            cursor = page["next_cursor"]
            await failed(ledger)
        assert found == ["c4", "c3", "c2", "c1", "c0"]
        by_job = (await client.get(PATH, params={"job_id": job.job_id})).json()["dead_letters"]
        assert len(by_job) == 5
        await client.post(f"{PATH}/drop", json={"job_id": job.job_id})
        dropped = (await client.get(PATH, params={"status": "dropped"})).json()["dead_letters"]
        assert {letter["job_id"] for letter in dropped} == {job.job_id} and dropped[0]["resolved_at"]


async def test_a_retried_letter_becomes_a_new_job_that_is_dispatched_at_once(api: Api, ledger: Ledger) -> None:
    """The answer names the job; its entry is on the stream without waiting for a worker's relay."""
    job = await failed(ledger, metadata={"k": 1})
    async with api.as_("alpha") as client:
        letter_id = (await client.get(PATH)).json()["dead_letters"][0]["id"]
        done = await client.post(f"{PATH}/{letter_id}/retry")
        assert done.status_code == 200 and done.json()["status"] == "retried"
        new_id = done.json()["retried_as"]
        new = (await client.get(f"/jobs/{new_id}")).json()
        assert (new["status"], new["chunks_total"]) == ("queued", 1)
        assert new["metadata"] == {"k": 1, "retry_of": job.job_id}
        assert (await client.get(f"/jobs/{job.job_id}")).json()["status"] == "failed"
        await api.deps.dispatch.close(10)
        (entry,) = await entries(api.client, STREAM)
        assert (entry["job_id"], entry["chunk_id"]) == (new_id, "c0")
        again = await client.post(f"{PATH}/{letter_id}/retry")
        assert again.status_code == 409 and f"was retried before as job {new_id}" in again.json()["detail"]
        assert (await client.post(f"{PATH}/{letter_id}/drop")).status_code == 409
    assert len(await ledger.jobs.page(tenant=None, status=None, after=None, limit=10)) == 2


async def test_a_dropped_letter_is_dead_no_more(api: Api, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropping again changes nothing; what was dropped is not retried; health counts it no longer."""
    monkeypatch.setattr("orchestrator.api.health.CHECK_SECONDS", 20)
    await failed(ledger)
    async with api.as_("alpha") as client:
        letter_id = (await client.get(PATH)).json()["dead_letters"][0]["id"]
        first, again = [(await client.post(f"{PATH}/{letter_id}/drop")).json() for _ in range(2)]
        assert first == again and first["status"] == "dropped" and not first["retriable"]
        refused = await client.post(f"{PATH}/{letter_id}/retry")
        assert refused.status_code == 409 and "was dropped before" in refused.json()["detail"]
        report = (await client.get("/health/detailed")).json()
        assert (report["checks"], report["dead"]) == ({"postgresql": "up", "redis": "up"}, 0)
    assert len(await ledger.audit.page("alpha", None, 10)) == 1


async def test_many_letters_at_once(api: Api, ledger: Ledger) -> None:
    """All of a job are one new job; of a type, one for each job; by id, those that are still dead."""
    one, two = await failed(ledger, 3), await failed(ledger, 2)
    async with api.as_("alpha") as client:
        done = (await client.post(f"{PATH}/retry", json={"job_id": one.job_id})).json()
        (job,) = done.pop("jobs")
        assert done == {"done": 3, "asked": 0, "more": False, "skipped": 0, "only_to_drop": 0}
        assert (job["retry_of"], job["chunks_total"]) == (one.job_id, 3)
        assert (await client.get(job["links"]["self"])).json()["job_id"] == job["job_id"]
        ids = [letter["id"] for letter in (await client.get(PATH)).json()["dead_letters"]]
        done = (await client.post(f"{PATH}/retry", json={"ids": [*ids, ids[0], 10**12]})).json()
        assert (done["done"], done["skipped"], len(done["jobs"])) == (2, 4, 1)
        assert done["jobs"][0]["retry_of"] == two.job_id
        await failed(ledger, 2), await failed(ledger, 1)
        done = (await client.post(f"{PATH}/retry", json={"worker_type": "lightrag"})).json()
        assert (done["done"], sorted(j["chunks_total"] for j in done["jobs"])) == (3, [1, 2])
        done = (await client.post(f"{PATH}/drop", json={"worker_type": "lightrag"})).json()
        assert done == {"done": 0, "asked": 0, "more": False, "skipped": 0, "only_to_drop": 0, "jobs": []}


async def test_a_call_takes_a_thousand_and_says_that_more_remain(api: Api, ledger: Ledger) -> None:
    """Called again until nothing is left, it ends."""
    job = await failed(ledger, 1001)
    async with api.as_("alpha") as client:
        done = (await client.post(f"{PATH}/retry", json={"job_id": job.job_id})).json()
        assert (done["done"], done["more"], done["jobs"][0]["chunks_total"]) == (1000, True, 1000)
        done = (await client.post(f"{PATH}/retry", json={"job_id": job.job_id})).json()
        assert (done["done"], done["more"]) == (1, False)


async def test_x28_a_tenant_sees_and_touches_its_own_letters_alone(api: Api, ledger: Ledger) -> None:
    """Another's letter is as unknown as none; entries that belong to no job are the operator's."""
    job = await failed(ledger)
    await bury(ledger, late())
    entry, letter = [found.id for found in await ledger.dead_letters.page()]
    async with api.as_("beta") as other, api.as_("operator") as operator, api.as_("alpha") as owner:
        assert (await other.get(PATH)).json()["dead_letters"] == []
        for client, letter_id in ((other, letter), (other, entry), (owner, entry)):
            for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/drop")):
                assert (await client.request(method, f"{PATH}/{letter_id}{path}")).status_code == 404
        for body in ({"ids": [letter, entry]}, {"job_id": job.job_id}, {"worker_type": "lightrag"}):
            for act in ("retry", "drop"):
                assert (await other.post(f"{PATH}/{act}", json=body)).json()["done"] == 0
        assert [x["id"] for x in (await owner.get(PATH)).json()["dead_letters"]] == [letter]
        assert [x["id"] for x in (await operator.get(PATH)).json()["dead_letters"]] == [entry, letter]
        assert (await operator.post(f"{PATH}/retry", json={"worker_type": "lightrag"})).json()["done"] == 2
        (entry_again,) = [e for e in await entries(api.client, STREAM) if "content" in e]
        assert entry_again == {"job_id": "gone", "chunk_id": "c", "content": "hello"}


async def test_a_malformed_entry_can_only_be_dropped_and_that_is_said(api: Api, ledger: Ledger) -> None:
    """It would be as malformed again; its producer must send it in the right form."""
    await bury(ledger, late(problem="field metadata is not JSON"))
    async with api.as_("operator") as client:
        (letter,) = (await client.get(PATH)).json()["dead_letters"]
        assert letter["retriable"] is False and letter["job_id"] is None
        refused = await client.post(f"{PATH}/{letter['id']}/retry")
        assert refused.status_code == 409 and "can only be dropped" in refused.json()["detail"]
        many = (await client.post(f"{PATH}/retry", json={"worker_type": "lightrag"})).json()
        assert (many["done"], many["only_to_drop"], many["more"]) == (0, 1, False)
        assert (await client.get(f"{PATH}/{letter['id']}")).json()["payload"]["content"] == "hello"
        assert (await client.post(f"{PATH}/{letter['id']}/drop")).json()["status"] == "dropped"


async def test_the_copies_in_redis_follow(api: Api, ledger: Ledger) -> None:
    """What is resolved in the ledger leaves `<stream>:dead`, the rest stays, also beyond one page of the search."""
    job, other = await failed(ledger, 2), await failed(ledger, 1)
    await bury(ledger, late("7-1"), late("7-2", problem="wrong"))
    await copy_in_redis(api.client, job_id=job.job_id, chunk_id="c0", dead_entry="1-1")
    await copy_in_redis(api.client, job_id="gone", chunk_id="c", dead_entry="7-1")
    await copy_in_redis(api.client, job_id="gone", chunk_id="c", dead_entry="7-2")
    for n in range(450):
        await copy_in_redis(api.client, job_id="unknown", chunk_id=f"c{n}", dead_entry=f"9-{n}")
    await copy_in_redis(api.client, job_id=job.job_id, chunk_id="c1", dead_entry="1-2")
    await copy_in_redis(api.client, job_id=other.job_id, chunk_id="c0", dead_entry="1-3")
    async with api.as_("operator") as client:
        by_receipt = {e["payload"].get("whole"): e["id"] for e in [
            (await client.get(f"{PATH}/{x['id']}")).json() for x in (await client.get(PATH)).json()["dead_letters"][:2]
        ]}  # fmt: skip
        await client.post(f"{PATH}/retry", json={"job_id": job.job_id})
        await client.post(f"{PATH}/{by_receipt[True]}/retry")
        await client.post(f"{PATH}/{by_receipt[None]}/drop")
    left = [fields["dead_entry"] for fields in await entries(api.client, keys.dead(STREAM))]
    assert left == [*(f"9-{n}" for n in range(450)), "1-3"]


async def test_wrong_requests_are_problems_that_say_where(api: Api, ledger: Ledger) -> None:
    """Exactly one filter, ids that can be ids, no control characters, a cursor of this list; never a 500."""
    async with api.as_("alpha") as client:
        for body in (
            b"", b"[]", b"{}", b"{", b'{"job_id": "a", "worker_type": "b"}', b'{"ids": []}', b'{"ids": [0]}',
            b'{"ids": ["x"]}', b'{"job_id": "a\\u0000"}', b'{"worker_type": ""}', b'{"unknown": 1}',
            b'{"ids": [9223372036854775808]}', b'{"ids": ' + str(list(range(1, 1002))).encode() + b"}",
        ):  # fmt: skip
            for act in ("retry", "drop"):
                answer = await client.post(f"{PATH}/{act}", content=body)
                assert answer.status_code == 422 and answer.json()["errors"], body
                assert answer.headers["content-type"] == "application/problem+json"
        for query in ("status=gone", "limit=0", "cursor=x", "job_id=%00", "worker_type=%0a", f"job_id={'x' * 129}"):
            assert (await client.get(f"{PATH}?{query}")).status_code == 422, query
        for letter_id in ("0", "x", "-1", str(2**63)):
            assert (await client.get(f"{PATH}/{letter_id}")).status_code == 422
        assert (await client.get(f"{PATH}/{2**63 - 1}")).status_code == 404
    async with api.as_(None) as nobody:
        for method, path in (("GET", ""), ("GET", "/1"), ("POST", "/retry"), ("POST", "/drop"), ("POST", "/1/retry")):
            assert (await nobody.request(method, f"{PATH}{path}", content=b"{")).status_code == 401


async def test_with_redis_away_chunks_are_retried_and_entries_are_not(
    ledger: Ledger, redis_url: str, redis_process: Server
) -> None:
    """A new job waits in the outbox; an entry has nowhere to go, so its letter stays dead."""
    await failed(ledger)
    await bury(ledger, late())
    entry, letter = [found.id for found in await ledger.dead_letters.page()]
    async with link_to(redis_process.port) as link:
        away = redis_url.replace(str(redis_process.port), str(link.port))
        async with api_over(ledger, away) as api, api.as_("operator") as client:
            await link.cut()
            answer = await client.post(f"{PATH}/{entry}/retry")
            assert answer.status_code == 503 and answer.headers["retry-after"]
            assert (await client.get(f"{PATH}/{entry}")).json()["status"] == "dead"
            done = (await client.post(f"{PATH}/{letter}/retry")).json()
            assert done["status"] == "retried"
            waiting = await ledger.database.run(lambda c: c.fetchval("SELECT job_id FROM outbox"))
            assert waiting == done["retried_as"]


async def test_what_came_over_another_queue_is_asked_of_its_worker(api: Api, ledger: Ledger) -> None:
    """A job of ours would wait for ever for somebody to deliver it, and the API has no way to that queue."""
    one, two = await failed(ledger, worker_type="sync"), await failed(ledger, worker_type="sync")
    sync = WorkerTypeSettings(name="sync", handler="noop", source="sqs", stream=STREAM)
    api.app.state.deps = replace(api.deps, types={**api.deps.types, "sync": sync})
    async with api.as_("alpha") as client:
        [_, letter] = (await client.get(PATH)).json()["dead_letters"]
        assert (letter["job_id"], letter["retriable"]) == (one.job_id, True)
        asked = await client.post(f"{PATH}/{letter['id']}/retry")
        assert (asked.status_code, asked.json()["status"], asked.json()["retriable"]) == (200, "retrying", False)
        again = await client.post(f"{PATH}/{letter['id']}/retry")
        assert again.status_code == 409 and "is being put back" in again.json()["detail"]
        many = (await client.post(f"{PATH}/retry", json={"worker_type": "sync"})).json()
        assert many == {"done": 0, "asked": 1, "more": False, "skipped": 0, "only_to_drop": 0, "jobs": []}
        assert (await client.post(f"{PATH}/{letter['id']}/drop")).json()["status"] == "dropped"
    assert [(a.action, a.detail["job_id"]) for a in await ledger.audit.page("alpha", None, 10)] == [
        ("drop", one.job_id),
        ("retry", two.job_id),
        ("retry", one.job_id),
    ]


async def test_a_letter_without_its_receipt_cannot_be_put_back(api: Api, ledger: Ledger) -> None:
    """Written before receipts were kept: nobody knows which message of the queue it was."""
    job = await failed(ledger, worker_type="sync")
    await ledger.database.run(lambda c: c.execute("UPDATE dead_letters SET receipt = NULL"))
    sync = WorkerTypeSettings(name="sync", handler="noop", source="sqs", stream=STREAM)
    api.app.state.deps = replace(api.deps, types={**api.deps.types, "sync": sync})
    async with api.as_("alpha") as client:
        [letter] = (await client.get(PATH)).json()["dead_letters"]
        refused = await client.post(f"{PATH}/{letter['id']}/retry")
        assert refused.status_code == 409 and "can only be dropped" in refused.json()["detail"]
        many = (await client.post(f"{PATH}/retry", json={"job_id": job.job_id})).json()
        assert (many["asked"], many["only_to_drop"]) == (0, 1)
