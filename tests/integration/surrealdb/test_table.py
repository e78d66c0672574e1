"""A SurrealDB table as a source: the true engine; what is not ours of it tests/support/surreal_server.py says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from surrealdb import RecordID

from orchestrator.deliveries import Delivery, Result
from orchestrator.jobs import ChunkStatus
from orchestrator.sources.base import Foreign, Progress
from orchestrator.sources.surrealdb import create
from orchestrator.sources.surrealdb_statements import Statements
from tests.integration.surrealdb.table import LEASE, LIBRARY, SEED, Commands, ago, setup
from tests.support.servers import Server
from tests.support.wait import wait_until

pytestmark = pytest.mark.xdist_group("surrealdb")


@pytest.mark.parametrize("spelling", [SEED, LIBRARY])
async def test_a_command_is_claimed_and_completed_in_either_spelling(commands: Commands, spelling: str) -> None:
    """D-01, D-x12: read as seed 003 or the library spells it; the end is written as both would look for it."""
    made = await commands.put(spelling)
    [held] = await commands.claim()
    assert isinstance(commands.source, Foreign)
    assert held.receipt == made.id
    assert held.job_id == f"commands:{commands.table}:{made.id}:0"
    assert held.content is not None
    assert '"name":"double"' in held.content
    assert '"args":{"x":21}' in held.content
    running = await commands.one(made)
    assert running["status"] == "running"
    assert running["updated"] > ago(minutes=1)
    held.result = Result(3, 2, detail={"y": 42})
    await commands.source.ack([held])
    done = await commands.one(made)
    assert done["status"] == "completed"
    assert done["result"] == done["output"] == {"entities": 3, "relations": 2, "detail": {"y": 42}}
    assert done.get("error") is done.get("error_message") is None
    assert done["completed_at"] >= running["updated"]
    assert await commands.source.depth() == 0


@pytest.mark.parametrize("spelling", [SEED, LIBRARY])
async def test_the_payload_can_be_the_arguments_alone(
    commands: Commands, server: Server, tmp_path: Path, spelling: str
) -> None:
    """For a handler that takes content and metadata: `args` or `input`, whichever there is."""
    payload = {"content": "hello", "metadata": {"n": 1}}
    await commands.put(spelling, **({"args": payload} if spelling == LIBRARY else {"input": payload}))
    source = create(setup(tmp_path, server.url, commands.table, payload_field="args"))
    [held] = await source.claim("c0", 1, 0)
    await source.close()
    assert (held.content, held.metadata, held.problem) == ("hello", {"n": 1}, None)


async def test_one_app_leaves_the_others_commands_alone(commands: Commands, server: Server, tmp_path: Path) -> None:
    """D-27: a type for each app; none takes, recovers or counts what is another's."""
    mine = await commands.put(app="podcasts")
    await commands.put()
    await commands.put(status="running", updated=ago(hours=1))
    source = create(setup(tmp_path, server.url, commands.table, match_app="podcasts"))
    await source.open(["c0"])
    assert await source.depth() == 1
    assert [d.receipt for d in await source.claim("c0", 10, 0)] == [mine.id]
    assert await source.recover("c0", 10) == []
    await source.close()


async def test_the_older_goes_first_and_what_waits_for_its_time_hides_nobody(commands: Commands) -> None:
    """Fifty delayed commands are among them, and no claim is that large.

    A plain SELECT of the engine applies its LIMIT to the index before it looks at what the index does not hold: with
    one of `status` alone it finds those that have to wait, and nothing behind them.
    """
    for n in range(50):
        await commands.put(id=f"a{n}", not_before=datetime.now(UTC) + timedelta(hours=1))
    young = await commands.put(created=ago(minutes=1))
    old = await commands.put(created=ago(minutes=2))
    due = await commands.put(created=ago(seconds=1), not_before=ago(seconds=1))
    assert [d.receipt for n in range(3) for d in await commands.claim(1)] == [due.id, old.id, young.id]
    assert await commands.claim() == []
    assert await commands.source.depth() == 53


async def test_x1_rivals_for_one_command_have_one_winner(commands: Commands, server: Server, tmp_path: Path) -> None:
    """D-x1: seed 003 claimed without a condition. Three at once, again and again; write conflicts are tried again."""
    sources = [commands.source, *(create(setup(tmp_path, server.url, commands.table)) for _ in range(2))]
    for _ in range(15):
        await commands.put()
        winners = await asyncio.gather(*(source.poll({"c0": 1}) for source in sources))
        assert sum(len(found) for found in winners) == 1
        await asyncio.gather(*(source.ack(found) for source, found in zip(sources, winners, strict=True) if found))
    for source in sources[1:]:
        await source.close()


async def test_x1_a_claim_takes_no_command_that_another_took_since_it_looked(
    commands: Commands, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-x1: one worker looks, another looks and takes, the first one wants to take: the time between is made longer.

    Without the condition in the update, rivals seldom showed it: most met in a write conflict.
    """
    text = commands.source._statements.claim
    slow = text.replace("UPDATE array::slice", "SLEEP 600ms;\nUPDATE array::slice")
    assert slow != text
    rival = create(setup(tmp_path, server.url, commands.table))
    await rival.open(["c0"])
    await commands.put()
    with monkeypatch.context() as patch:
        patch.setattr(Statements, "claim", slow)
        late = asyncio.create_task(commands.source.poll({"c0": 1}))
        await asyncio.wait([late], timeout=0.2)
    assert len(await rival.poll({"c0": 1})) + len(await late) == 1
    await rival.close()


async def test_x1_rivals_share_many_and_none_goes_twice(commands: Commands, server: Server, tmp_path: Path) -> None:
    """D-x1 at its hardest: both want the same rows each time."""
    await commands.run(f"INSERT INTO {commands.table} $rows RETURN NONE", rows=[{"status": "new"} for _ in range(300)])
    rival = create(setup(tmp_path, server.url, commands.table))
    taken: list[str] = []

    async def take(source_name: int) -> None:
        source = (commands.source, rival)[source_name]
        while found := await source.poll({"c0": 10, "c1": 10}):
            taken.extend(d.receipt for d in found)

    await asyncio.gather(take(0), take(1))
    await rival.close()
    assert len(taken) == len(set(taken)) == 300


async def test_a_lapsed_lease_is_taken_over_and_the_former_owner_changes_nothing(commands: Commands) -> None:
    """The same job both times: it is a redelivery. Late settles of every kind are without effect."""
    made = await commands.put()
    [former] = await commands.claim()
    assert await commands.recover() == []
    await commands.lapse(made)
    [owner] = await commands.recover()
    assert owner.key == former.key
    before = await commands.one(made)
    assert await commands.source.renew([former]) == [former]
    assert former.ended_as is ChunkStatus.PROCESSED  # lost to another one, not cancelled
    await commands.source.ack([former])
    await commands.source.release([former])
    await commands.source.retry([(former, 9)])
    await commands.source.bury([(former, "late")])
    await commands.source.progress([(former, "late")])
    assert await commands.one(made) == before
    assert await commands.source.renew([owner]) == []


async def test_what_is_renewed_is_kept_and_says_so(commands: Commands) -> None:
    """D-x4: two thirds of the lease pass three times; `updated` moves, so that nobody takes it for stale."""
    made = await commands.put()
    held = await commands.claim()
    for _ in range(3):
        updated = (await commands.one(made))["updated"]
        await commands.lapse(made, LEASE / 3)
        began = datetime.now(UTC)
        assert await commands.source.renew(held) == []
        row = await commands.one(made)
        assert row["updated"] > updated
        assert row["orchestrator"]["lease_until"] >= began + timedelta(seconds=LEASE)
        assert await commands.recover() == []


@pytest.mark.parametrize("how", ["canceled", "cancelled", "deleted"])
async def test_x11_a_cancelled_command_is_lost_as_such(commands: Commands, how: str) -> None:
    """D-x11: by its status in either spelling, or by its removal; the row stays as its owner left it."""
    other = await commands.put()
    made = await commands.put()
    held = {d.receipt: d for d in await commands.claim()}
    if how == "deleted":
        await commands.run("DELETE $row", row=made)
    else:
        await commands.set(made, status=how)
    assert await commands.source.renew(list(held.values())) == [held[str(made.id)]]
    assert held[str(made.id)].ended_as is ChunkStatus.CANCELLED
    assert held[str(other.id)].ended_as is ChunkStatus.PROCESSED
    await commands.source.ack([held[str(made.id)]])
    if how != "deleted":
        assert (await commands.one(made))["status"] == how
        assert "completed_at" in await commands.one(made)
    assert await commands.claim() == []


async def test_retry_waits_release_does_not_and_neither_is_another_job(commands: Commands) -> None:
    """The delay is kept by the row, and its reason shown in both columns."""
    made = await commands.put()
    [held] = await commands.claim()
    await commands.source.release([held])
    [again] = await commands.claim()
    again.reason = "no luck"
    due = datetime.now(UTC) + timedelta(seconds=0.4)
    await commands.source.retry([(again, 0.4)])
    row = await commands.one(made)
    assert (row["status"], row["error"], row["error_message"]) == ("new", "no luck", "no luck")
    [later] = await wait_until(commands.claim)
    assert datetime.now(UTC) >= due
    assert held.job_id == again.job_id == later.job_id


@pytest.mark.parametrize("end", ["completed", "failed", "canceled"])
async def test_25_what_had_ended_and_is_set_back_is_new_work(commands: Commands, end: str) -> None:
    """D-25, D-x10: it is claimed by itself, as a job of its own, and shows nothing of its former life."""
    made = await commands.put()
    [first] = await commands.claim()
    if end == "completed":
        await commands.source.ack([first])
    elif end == "failed":
        await commands.source.bury([(first, "boom")])
    else:
        await commands.set(made, status=end)
        assert await commands.source.renew([first]) == [first]
    await commands.set(made, status="new")
    [second] = await commands.claim()
    assert first.job_id != second.job_id
    row = await commands.one(made)
    assert [row.get(name) for name in ("result", "output", "error", "error_message", "completed_at")] == [None] * 5


async def test_buried_commands_are_failed_and_can_be_redriven(commands: Commands) -> None:
    """The table is its own dead-letter queue; ids of every kind come back to their rows."""
    ids = ["plain", "5", 5, uuid4(), ["of", 2, "parts"], "uuid:no"]
    made = [await commands.put(id=RecordID(commands.table, key)) for key in ids]
    held = await commands.claim()
    assert len({d.job_id for d in held}) == len(ids)
    await commands.source.bury([(d, "boom") for d in held])
    assert [(await commands.one(row))["error"] for row in made] == ["boom"] * len(ids)
    assert await commands.source.redrive([*(d.receipt for d in held), "nobody"]) == ["nobody"]
    again = await commands.claim()
    assert {d.receipt for d in again} == {d.receipt for d in held}
    assert not {d.job_id for d in again} & {d.job_id for d in held}
    assert await commands.source.redrive([again[0].receipt]) == [again[0].receipt]  # it has not failed


async def test_18_what_another_program_left_running_is_taken_over_when_stale(commands: Commands) -> None:
    """D-18, D-x4: it has no lease of ours: its last change tells. Ours are never taken for stale."""
    stale = await commands.put(status="running", updated=ago(minutes=10))
    await commands.put(status="running", updated=datetime.now(UTC))
    mine = await commands.put()
    await commands.claim()
    await commands.set(mine, updated=ago(minutes=10))
    assert [d.receipt for d in await commands.recover()] == [stale.id]


async def test_18_what_does_not_say_since_when_is_stale_from_our_first_look(
    commands: Commands, server: Server, tmp_path: Path
) -> None:
    """The published library writes no times: `updated` is set when we first see such a row, and again by nobody."""
    made = await commands.put(status="running")
    texts = await commands.put(status="running", updated="2020-01-01T00:00:00Z")
    hasty = create(setup(tmp_path, server.url, commands.table, stale_seconds=0.4))
    seen = datetime.now(UTC)

    async def taken() -> list[Delivery]:
        return await hasty.recover("c0", 10)

    assert await taken() == []
    found = await wait_until(taken, within=10)
    found += [] if len(found) == 2 else await wait_until(taken, within=10)
    assert datetime.now(UTC) - seen > timedelta(seconds=0.4)
    assert {d.receipt for d in found} == {made.id, texts.id}
    await hasty.close()


async def test_x16_progress_is_shown_in_the_row(commands: Commands) -> None:
    """D-x16, D-26: which step it is at; the next run begins with none."""
    made = await commands.put()
    [held] = await commands.claim()
    assert isinstance(commands.source, Progress)
    await commands.source.progress([(held, "reading")])
    assert (await commands.one(made))["progress"] == {"step": "reading"}
    await commands.source.release([held])
    await commands.claim()
    assert (await commands.one(made)).get("progress") is None


async def test_the_check_takes_nothing(commands: Commands) -> None:
    """A claim of no row."""
    made = await commands.put()
    assert "answers" in await commands.source.check()
    assert "orchestrator" not in await commands.one(made)
