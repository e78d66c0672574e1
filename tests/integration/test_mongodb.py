"""A MongoDB collection as a source: the real driver, and the stand-in whose limits tests/support/mongowire.py names."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from bson.datetime_ms import DatetimeMS
from pymongo import AsyncMongoClient

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import CredentialError, DependencyError, SettingsError
from orchestrator.jobs import ChunkStatus
from orchestrator.settings.credentials import Credentials
from orchestrator.sources.base import Foreign, SourceSetup
from orchestrator.sources.mongodb import MongoSource, create
from tests.support.calls import calls_of
from tests.support.mongo_server import mongo_server
from tests.support.mongowire import NOT_UTF8
from tests.support.servers import Server, free_port
from tests.support.wait import wait_until

pytestmark = pytest.mark.xdist_group("mongodb")
LEASE, LEASED = 30.0, "orchestrator.lease_until"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One stand-in for all tests here."""
    with mongo_server() as running:
        yield running


def setup(tmp_path: Path, url: str, queue: str, **options: Any) -> SourceSetup:
    """What a worker type would give."""
    (tmp_path / "source-url").write_text(url)
    return SourceSetup("contexts", queue, options, LEASE, Credentials(tmp_path))


@dataclass
class Contexts:
    """A collection as other tools see it, and the source under test."""

    documents: Any
    source: MongoSource

    async def put(self, **fields: Any) -> Any:
        """Insert a context as an application would; return its id."""
        new = {"service": "generative", "status": "pending", "created_at": datetime.now(UTC), **fields}
        return (await self.documents.insert_one(new)).inserted_id

    async def claim(self, limit: int = 10) -> list[Delivery]:
        """Claim without waiting."""
        return await self.source.claim("c0", limit, 0)

    async def one(self, document_id: Any) -> dict[str, Any]:
        """Return a document."""
        return dict(await self.documents.find_one({"_id": document_id}))


@pytest.fixture
async def contexts(server: Server, tmp_path: Path) -> AsyncIterator[Contexts]:
    """A collection of its own for each test; the source takes those of one service."""
    name = f"contexts-{uuid4().hex[:8]}"
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(server.url, tz_aware=True)
    source = create(setup(tmp_path, server.url, name, match_field="service", match_value="generative"))
    await source.open(["c0", "c1"])
    yield Contexts(client.get_default_database()[name], source)
    await source.close()
    await client.close()


async def test_a_context_is_claimed_and_completed(contexts: Contexts) -> None:
    """B-01: pending, processing, completed with its result; the content is the document without the queue's fields."""
    made = await contexts.put(prompt="hello", metadata={"n": 1})
    await contexts.put(service="analysis")
    [held] = await contexts.claim()
    assert isinstance(contexts.source, Foreign)
    assert (held.receipt, held.metadata, held.consumer) == (str(made), {"n": 1}, "c0")
    assert held.content == '{"service":"generative","prompt":"hello","metadata":{"n":1}}'
    assert (await contexts.one(made))["status"] == "processing"
    held.result = Result(3, 2, detail={"by": "us"})
    await contexts.source.ack([held])
    done = await contexts.one(made)
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["result"] == {"entities": 3, "relations": 2, "detail": {"by": "us"}}
    assert await contexts.source.depth() == 0


async def test_priority_goes_first_and_delay_waits(contexts: Contexts) -> None:
    """As the producer wrote them."""
    low = await contexts.put(priority=0)
    high = await contexts.put(priority=5)
    await contexts.put(not_before=datetime.now(UTC) + timedelta(hours=1))
    first, second = [*await contexts.claim(1), *await contexts.claim(5)]
    assert [first.receipt, second.receipt] == [str(high), str(low)]


async def test_two_claim_side_by_side_and_none_twice(contexts: Contexts, server: Server, tmp_path: Path) -> None:
    """The update is guarded, document by document."""
    for _ in range(30):
        await contexts.put()
    rival = create(setup(tmp_path, server.url, contexts.documents.name))
    mine, theirs = await contexts.source.poll({"c0": 10, "c1": 10}), await rival.poll({"r": 20})
    await rival.close()
    assert (len(mine), len(theirs)) == (20, 10)
    assert len({d.receipt for d in (*mine, *theirs)}) == 30
    assert {d.consumer for d in mine} == {"c0", "c1"}


async def test_a_lapsed_lease_is_taken_over_and_the_former_owner_changes_nothing(contexts: Contexts) -> None:
    """The same job both times: it is a redelivery. Late settles of every kind are without effect."""
    made = await contexts.put()
    [former] = await contexts.claim()
    left = (await contexts.one(made))["orchestrator"]["lease_until"] - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(seconds=LEASE + 1)
    await contexts.documents.update_one({"_id": made}, {"$set": {LEASED: datetime.now(UTC) - timedelta(seconds=1)}})
    [owner] = await contexts.claim()
    assert owner.key == former.key
    assert await contexts.source.renew([former]) == [former]
    assert former.ended_as is ChunkStatus.PROCESSED  # lost to another one, not cancelled
    await contexts.source.ack([former])
    await contexts.source.release([former])
    await contexts.source.retry([(former, 9)])
    await contexts.source.bury([(former, "late")])
    assert (await contexts.one(made))["orchestrator"]["token"] == owner.handle[1]
    assert await contexts.source.renew([owner]) == []


async def test_what_is_renewed_is_kept(contexts: Contexts) -> None:
    """For another lease."""
    made = await contexts.put()
    held = await contexts.claim()
    soon = datetime.now(UTC) + timedelta(seconds=5)
    await contexts.documents.update_one({"_id": made}, {"$set": {LEASED: soon}})
    assert await contexts.source.renew(held) == []
    assert (await contexts.one(made))["orchestrator"]["lease_until"] > soon
    assert await contexts.claim() == []


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_a_context_that_was_cancelled_is_lost_as_such(contexts: Contexts, how: str) -> None:
    """By its status, or by its removal."""
    made = await contexts.put()
    [held] = await contexts.claim()
    if how == "deleted":
        await contexts.documents.delete_one({"_id": made})
    else:
        await contexts.documents.update_one({"_id": made}, {"$set": {"status": "cancelled"}})
    assert await contexts.source.renew([held]) == [held]
    assert held.ended_as is ChunkStatus.CANCELLED
    await contexts.source.release([held])
    assert await contexts.claim() == []


async def test_d25_a_context_cancelled_in_our_hands_and_made_pending_again_is_new_work(contexts: Contexts) -> None:
    """It kept its job, which had ended: the new run was acked as cancelled, and never done."""
    made = await contexts.put()
    [held] = await contexts.claim()
    await contexts.documents.update_one({"_id": made}, {"$set": {"status": "cancelled"}})
    assert await contexts.source.renew([held]) == [held]
    await contexts.documents.update_one({"_id": made}, {"$set": {"status": "pending"}})
    [again] = await contexts.claim()
    assert again.job_id != held.job_id


async def test_retry_waits_release_does_not_and_neither_is_another_job(contexts: Contexts) -> None:
    """The delay is kept by the document."""
    await contexts.put()
    [held] = await contexts.claim()
    await contexts.source.release([held])
    [again] = await contexts.claim()
    due = datetime.now(UTC) + timedelta(seconds=0.3)
    await contexts.source.retry([(again, 0.3)])
    [later] = await wait_until(contexts.claim)
    assert datetime.now(UTC) >= due
    assert held.job_id == again.job_id == later.job_id


async def test_what_had_ended_and_is_made_pending_again_is_new_work(contexts: Contexts) -> None:
    """By the application's own hand, or by a redrive."""
    made = await contexts.put()
    [first] = await contexts.claim()
    await contexts.source.bury([(first, "boom")])
    assert ((await contexts.one(made))["status"], (await contexts.one(made))["error"]) == ("failed", "boom")
    assert await contexts.source.redrive([str(made), "nobody"]) == ["nobody"]
    [second] = await contexts.claim()
    await contexts.source.ack([second])
    await contexts.documents.update_one({"_id": made}, {"$set": {"status": "pending"}})
    [third] = await contexts.claim()
    assert len({first.job_id, second.job_id, third.job_id}) == 3


async def test_what_another_program_left_in_work_is_taken_over_when_stale(contexts: Contexts) -> None:
    """It has no lease of ours: its last change tells."""
    long_ago = datetime.now(UTC) - timedelta(minutes=10)
    stale = await contexts.put(status="processing", updated_at=long_ago)
    await contexts.put(status="processing", updated_at=datetime.now(UTC))
    assert [d.receipt for d in await contexts.claim()] == [str(stale)]


async def test_a_document_that_python_cannot_hold_is_claimed_with_the_others(contexts: Contexts) -> None:
    """A time after the year 9999, or bytes that are no UTF-8, raised InvalidBSON once the leases were written.

    The whole batch was lost for a lease, the reader ended with it, and so it went at every lease: nothing counted the
    deliveries. Now the time is read as a number, and what is no text as U+FFFD.
    """
    await contexts.put(at=DatetimeMS(9 * 10**15))
    await contexts.put(prompt=NOT_UTF8)
    await contexts.put(prompt="sound")
    far, broken, sound = await contexts.claim()
    assert '"at":9000000000000000' in str(far.content)
    assert "\ufffd" in str(broken.content)
    assert '"prompt":"sound"' in str(sound.content)
    assert {d.problem for d in (far, broken, sound)} == {None}
    assert await contexts.source.renew([far, broken, sound]) == []
    await contexts.source.ack([far, broken, sound])
    assert await contexts.source.depth() == 0


@pytest.mark.parametrize("state", ["theirs", None, 7, [], [{"life": 1}], {"life": "long"}])
async def test_a_field_of_another_where_ours_is_stops_no_claim(contexts: Contexts, state: Any) -> None:
    """A field `orchestrator` that is no object refuses ours, and with it the update of all candidates.

    Claims then failed for ever, for the document stayed the first candidate. Now the field is replaced.
    """
    theirs = await contexts.put(orchestrator=state)
    ours = await contexts.put()
    held = await contexts.claim()
    assert [d.receipt for d in held] == [str(theirs), str(ours)]
    assert await contexts.source.renew(held) == []
    await contexts.documents.update_one({"_id": ours}, {"$set": {"orchestrator": state}})
    assert await contexts.source.renew(held) == held[1:]  # written over in our hands: lost
    await contexts.source.bury([(held[0], "boom")])
    assert (await contexts.one(theirs))["error"] == "boom"


async def test_it_looks_as_often_as_it_was_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-13: ten times a second was built in. With a minute it looks at the beginning of the wait, and at its end."""
    source = create(setup(tmp_path, server.url, "nothing-here", poll_seconds=60))
    looks = calls_of(monkeypatch, source, "poll")
    await source.open(["c0"])  # the driver connects; else that might take all of the wait
    assert await source.claim("c0", 1, 3) == []
    await source.close()
    assert looks.begun == 2


async def test_the_check_takes_nothing(contexts: Contexts) -> None:
    """A claim round trip that matches no document."""
    made = await contexts.put()
    assert "answers" in await contexts.source.check()
    assert "orchestrator" not in await contexts.one(made)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see its end
async def test_a_server_that_is_away_is_told_with_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within seconds, and without the URL's password."""
    monkeypatch.setattr("orchestrator.sources.mongodb.PATIENCE_MS", 300)
    source = create(setup(tmp_path, f"mongodb://u:secret@127.0.0.1:{free_port()}/work", "q"))
    with pytest.raises(DependencyError, match="source-url") as raised:
        await source.open(["c0"])
    assert "secret" not in str(raised.value)
    await source.close()
    del raised, source
    gc.collect()  # pymongo forgets the socket of an attempt that was under way: found here, and not in another test


def test_a_url_that_is_none_is_named_and_not_shown(tmp_path: Path) -> None:
    """It holds a password."""
    with pytest.raises(CredentialError, match="source-url") as raised:
        create(setup(tmp_path, "mongodb://u:sec/ret@nowhere", "q"))
    assert "sec" not in str(raised.value).replace("source", "")


@pytest.mark.parametrize(
    ("option", "value"),
    [("stale_seconds", "long"), ("poll_seconds", "often"), ("poll_seconds", 0), ("poll_seconds", float("nan"))],
)
def test_a_wrong_option_is_named(tmp_path: Path, option: str, value: Any) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=option):
        create(setup(tmp_path, "mongodb://127.0.0.1:1/work", "q", **{option: value}))
