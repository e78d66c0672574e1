"""Pauses over the API: who may hold back what, what a job says of it, what dispatch makes of it, and who did it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.jobs import JobStatus, Scope
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import NewJob
from orchestrator.tracker.hold import Hold
from orchestrator.tracker.relay import Relay
from tests.support.api import STREAM, Api
from tests.support.jobs import new_job
from tests.support.wait import wait_until


async def written(ledger: Ledger, size: int = 2, **changes: Any) -> NewJob:
    """Return a job that is written down and not dispatched."""
    job = new_job(size, **{"tenant": "alpha", "queue": STREAM, **changes})
    await ledger.jobs.create(job)
    return job


async def on_stream(api: Api) -> list[str]:
    """Return the jobs of the entries on the stream, in order."""
    found: Any = await api.client.xrange(STREAM)
    return [fields[b"job_id"].decode() for _, fields in found]


async def actions(api: Api, key: str) -> list[tuple[str, str, str]]:
    """Return who did what to what, newest first, as the owner of a key sees it."""
    async with api.as_(key) as client:
        return [(e["actor"], e["action"], e["target"]) for e in (await client.get("/audit")).json()["entries"]]


async def test_a_tenant_holds_its_own_job_back_and_lets_it_go_on(api: Api, ledger: Ledger) -> None:
    """The job says so, with the reason; dispatch passes it over; after the resume it is on the stream at once."""
    job = await written(ledger)
    path = f"/jobs/{job.job_id}"
    async with api.as_("alpha") as client:
        seen = (await client.post(f"{path}/pause", json={"reason": "the source is wrong"})).json()
        assert seen["paused"] == [{"scope": "job", "name": job.job_id, "reason": "the source is wrong"}]
        assert (await client.get(path)).json()["paused"] == (await client.get("/jobs")).json()["jobs"][0]["paused"]
        assert await Relay(ledger, api.client).flush() == 0
        (pause,) = (await client.get("/pauses")).json()["pauses"]
        assert (pause["scope"], pause["name"], pause["by"]) == ("job", job.job_id, "alpha")
        for _ in range(2):
            assert (await client.post(f"{path}/resume")).json()["paused"] == []
    await wait_until(lambda: has_entries(api, 2))
    assert await actions(api, "alpha") == [
        ("alpha", "resume", f"job/{job.job_id}"),
        ("alpha", "pause", f"job/{job.job_id}"),
    ]


async def has_entries(api: Api, count: int) -> bool:
    """Return whether so many entries are on the stream."""
    return len(await on_stream(api)) == count


@pytest.mark.parametrize(
    ("scope", "name"), [(Scope.TENANT, "alpha"), (Scope.QUEUE, STREAM), (Scope.TYPE, "lightrag")], ids=str
)
async def test_an_operator_holds_back_a_tenant_a_queue_or_a_type(
    api: Api, ledger: Ledger, scope: Scope, name: str
) -> None:
    """Another tenant goes on when it is the tenant; all wait when it is more. A second pause changes the reason."""
    held, other = await written(ledger), await written(ledger, tenant="beta")
    path = f"/pauses/{scope}/{name}"
    async with api.as_("operator") as client, api.as_("beta") as beta:
        for reason in ("first", "second"):
            answer = await client.put(path, json={"reason": reason})
            assert answer.status_code == 200 and answer.json()["reason"] == reason
        await Relay(ledger, api.client).flush()
        assert await on_stream(api) == ([other.job_id] * 2 if scope is Scope.TENANT else [])
        seen = (await client.get(f"/jobs/{held.job_id}")).json()
        assert seen["paused"] == [{"scope": scope, "name": name, "reason": "second"}]
        assert bool((await beta.get("/pauses")).json()["pauses"]) is (scope is not Scope.TENANT)
        hold = Hold(ledger, worker_type="lightrag", queue=STREAM)
        await hold.refresh()
        assert hold() is (scope is not Scope.TENANT)
        assert (await client.delete(path)).status_code == 204
        await wait_until(lambda: has_entries(api, 4))
        assert (await client.delete(path)).status_code == 404
    assert [action for _, action, _ in await actions(api, "operator")] == ["resume", "pause", "pause"]


async def test_a_tenant_may_hold_back_itself_and_nothing_that_is_not_its_own(api: Api, ledger: Ledger) -> None:
    """403 for what is everybody's or another's; another's job is as unknown as none."""
    job = await written(ledger)
    async with api.as_("beta") as client:
        for method in ("PUT", "DELETE"):
            for target in ("type/lightrag", f"queue/{STREAM}", "tenant/alpha"):
                answer = await client.request(method, f"/pauses/{target}", json={})
                assert answer.status_code == 403, target
            assert (await client.request(method, f"/pauses/job/{job.job_id}", json={})).status_code == 404
        for act in ("pause", "resume"):
            assert (await client.post(f"/jobs/{job.job_id}/{act}")).status_code == 404
        assert (await client.put("/pauses/tenant/beta", json={})).status_code == 200
        assert (await client.get("/pauses")).json()["pauses"][0]["name"] == "beta"
        assert (await client.delete("/pauses/tenant/beta")).status_code == 204
    assert await actions(api, "alpha") == []
    assert len(await actions(api, "operator")) == len(await actions(api, "beta")) == 2


async def test_what_cannot_be_held_back_is_refused(api: Api, ledger: Ledger) -> None:
    """A name that is none would hold nothing back, and nobody would see why; an ended job has nothing left to hold."""
    job = await written(ledger)
    await ledger.jobs.cancel(job.job_id)
    async with api.as_("operator") as client:
        for target in ("type/lightrg", "queue/no:queue", "job/none", "tenant/%00"):
            assert (await client.put(f"/pauses/{target}", json={})).status_code == 404, target
        assert (await client.put(f"/pauses/job/{job.job_id}", json={})).status_code == 409
        assert (await client.post(f"/jobs/{job.job_id}/pause")).status_code == 409
        assert (await client.put("/pauses/planet/earth", json={})).status_code == 422
        wrongs = (
            b"[",
            b'{"reason": 1}',
            b'{"reason": "a\\u0000"}',
            b'{"why": "x"}',
            b'{"reason": "%s"}' % (b"x" * 501),
        )
        for wrong in wrongs:
            assert (await client.put("/pauses/tenant/alpha", content=wrong)).status_code == 422, wrong
    assert await ledger.pauses.all() == [] and await actions(api, "operator") == []


async def test_the_pause_of_a_job_ends_with_the_job(api: Api, ledger: Ledger) -> None:
    """Nobody has to clean up; a job that has ended is not held back by anything."""
    job = await written(ledger)
    async with api.as_("alpha") as client:
        await client.put("/pauses/tenant/alpha", json={})
        await client.post(f"/jobs/{job.job_id}/pause")
        assert len((await client.get(f"/jobs/{job.job_id}")).json()["paused"]) == 2
        seen = (await client.post(f"/jobs/{job.job_id}/cancel")).json()
        assert (seen["status"], seen["paused"]) == (JobStatus.CANCELLED, [])
    assert [pause.scope for pause in await ledger.pauses.all()] == [Scope.TENANT]


async def test_the_audit_is_read_page_by_page(api: Api, ledger: Ledger) -> None:
    """Newest first; a tenant sees what concerns it, the operator everything; nobody without a key."""
    for n in range(5):
        await ledger.audit.write("operator", "alpha" if n % 2 else None, "pause", f"thing/{n}", {"n": n})
    async with api.as_("operator") as operator, api.as_("alpha") as alpha, api.as_(None) as nobody:
        first = (await operator.get("/audit?limit=3")).json()
        rest = (await operator.get("/audit", params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert [e["detail"]["n"] for e in first["entries"] + rest["entries"]] == [4, 3, 2, 1, 0]
        assert rest["next_cursor"] is None
        assert [e["detail"]["n"] for e in (await alpha.get("/audit")).json()["entries"]] == [3, 1]
        assert (await operator.get("/audit?cursor=nonsense")).status_code == 422
        for path in ("/audit", "/pauses"):
            assert (await nobody.get(path)).status_code == 401
        assert (await nobody.put("/pauses/job/x", json={})).status_code == 401
        assert (await nobody.post("/jobs/x/pause")).status_code == 401
