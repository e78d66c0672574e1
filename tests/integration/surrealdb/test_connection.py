"""The way to SurrealDB: what wakes a claim, what a lost socket costs, and who may come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from orchestrator.deliveries import Delivery
from orchestrator.errors import CredentialError, DependencyError, RefusedError, SettingsError
from orchestrator.sources.surrealdb import SurrealSource, create
from tests.integration.surrealdb.table import Commands, setup
from tests.support.link import Link, link_to
from tests.support.servers import Server, free_port
from tests.support.surreal_server import DATABASE, NAMESPACE, url_of

pytestmark = pytest.mark.xdist_group("surrealdb")
LONG = 30.0


@pytest.fixture
async def link(server: Server) -> AsyncIterator[Link]:
    """The way to the server, which can be cut."""
    async with link_to(server.port) as made:
        yield made


@pytest.fixture
async def linked(commands: Commands, link: Link, tmp_path: Path) -> AsyncIterator[Commands]:
    """The same table, over that way."""
    source = create(setup(tmp_path, url_of(link.port), commands.table))
    await source.open(["c0"])
    yield Commands(commands.client, commands.table, source)
    await source.close()


@pytest.fixture
def only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is woken by the live query, or not at all."""
    monkeypatch.setattr("orchestrator.sources.surrealdb.POLL_SECONDS", LONG)


async def waiting(commands: Commands) -> asyncio.Task[list[Delivery]]:
    """Return a claim that has looked and found nothing: now it has to be woken."""
    looked = asyncio.Event()
    poll = commands.source.poll

    async def watched(rooms: Mapping[str, int]) -> list[Delivery]:
        try:
            return await poll(rooms)
        finally:
            looked.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands.source, "poll", watched)
        claiming = asyncio.create_task(commands.source.claim("c0", 1, LONG))
        await looked.wait()
    assert not claiming.done(), "nothing is there to be found"
    return claiming


async def woken(commands: Commands) -> Delivery:
    """Return what a claim that waits is given once the server listens; each second another command comes."""
    await asyncio.wait_for(commands.source._connection.hint.wait(), LONG / 2)  # also set by that
    claiming = await waiting(commands)
    while not claiming.done():
        await commands.put()
        await asyncio.wait([claiming], timeout=1.0)
    [found] = claiming.result()
    return found


@pytest.mark.usefixtures("only_hints")
async def test_3_a_claim_that_waits_is_woken_by_the_live_query(commands: Commands) -> None:
    """D-03, D-14: long before its next poll; our own retries wake it as well."""
    began = time.monotonic()
    held = await woken(commands)
    assert time.monotonic() - began < LONG / 2
    while more := await commands.claim():
        await commands.source.ack(more)
    claiming = await waiting(commands)
    await commands.source.release([held])
    [again] = await asyncio.wait_for(claiming, LONG / 2)
    assert again.key == held.key


@pytest.mark.usefixtures("only_hints")
async def test_x3_what_came_before_the_live_query_is_found(commands: Commands, server: Server, tmp_path: Path) -> None:
    """D-x3: seed 003 saw only what was created while it listened. The table is the truth, the query a hint."""
    made = await commands.put()
    late = create(setup(tmp_path, server.url, commands.table))
    assert [d.receipt for d in await late.claim("c0", 1, 0)] == [made.id]
    await late.close()


@pytest.mark.usefixtures("only_hints")
async def test_x3_a_lost_socket_is_replaced_and_what_came_meanwhile_is_found(linked: Commands, link: Link) -> None:
    """The library's client stays dead for good and its live query silent: both are made anew.

    One call may fail, with what to look at; the next one that reaches the server does its work.
    """
    await linked.put()
    [held] = await linked.claim()
    await link.cut()
    with pytest.raises(DependencyError, match="source-url") as raised:
        await linked.claim()
    assert "root:root" not in str(raised.value)
    meanwhile = await linked.put()
    await link.mend()
    [found] = await linked.claim()
    assert found.receipt == meanwhile.id
    assert await linked.source.renew([held]) == []
    await linked.source.ack([held, found])
    assert await linked.source.depth() == 0
    await woken(linked)


async def test_what_is_in_flight_when_the_socket_is_lost_fails_and_cancels_nobody(linked: Commands, link: Link) -> None:
    """The library cancels what waits for an answer: to the pool that would look like an order to stop."""
    link.freeze()
    asking = [asyncio.create_task(ask()) for ask in (linked.source.depth, linked.source.check, linked.claim)]
    await asyncio.wait(asking, timeout=0.2)
    await link.cut()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DependencyError] * 3


async def test_a_server_that_is_silent_is_given_up(
    linked: Commands, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its patience, and then another connection is tried."""
    monkeypatch.setattr("orchestrator.sources.surrealdb_connection.PATIENCE_SECONDS", 0.5)
    link.freeze()
    with pytest.raises(DependencyError, match="TimeoutError"):
        await linked.source.depth()
    monkeypatch.undo()
    await link.mend()
    assert await linked.source.depth() == 0


async def test_a_server_that_is_away_is_told_with_what_to_look_at(tmp_path: Path) -> None:
    """And without the URL's password."""
    source = create(setup(tmp_path, f"ws://u:secret@127.0.0.1:{free_port()}/a/b", "q"))
    with pytest.raises(DependencyError, match=r"cannot open the table: .*source-url") as raised:
        await source.open(["c0"])
    assert "secret" not in str(raised.value)
    await source.close()


@pytest.mark.parametrize("level", ["root", "namespace", "database"])
async def test_a_user_comes_in_at_the_level_where_it_is_defined(
    commands: Commands, server: Server, tmp_path: Path, level: str
) -> None:
    """And nowhere else: a worker needs no more than its database."""
    where = {"root": "ROOT", "namespace": "NAMESPACE", "database": "DATABASE"}[level]
    await commands.run(f"DEFINE USER OVERWRITE worker_{level} ON {where} PASSWORD 'pw/:@' ROLES EDITOR")
    await commands.put()
    url = f"ws://worker_{level}:pw%2F%3A%40@127.0.0.1:{server.port}/{NAMESPACE}/{DATABASE}"

    def source(at: str) -> SurrealSource:
        return create(setup(tmp_path, url, commands.table, user_level=at))

    inside, outside = source(level), source("database" if level == "root" else "root")
    await inside.open(["c0"])
    assert len(await inside.claim("c0", 1, 0)) == 1
    with pytest.raises(RefusedError, match="lets nobody in"):
        await outside.open(["c0"])
    await inside.close()
    await outside.close()


async def test_every_statement_is_checked(commands: Commands) -> None:
    """The library's `query` looks at the first one alone. What the engine says of a row is not repeated."""
    await commands.run(f"DEFINE FIELD progress ON {commands.table} ASSERT $value = NONE OR $value = 'secret'")
    await commands.put()
    held = await commands.claim()
    with pytest.raises(DependencyError, match="cannot show progress: SurrealDB refuses a statement") as raised:
        await commands.source.progress([(held[0], "reading")])
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://u:sec/ret@nowhere/a/b",
        "ws://nowhere:8000/a/b",
        "ws://u:sec@nowhere:8000/a",
        "ws://u:sec@nowhere:8000/a/b/rpc",
        "ws://u:sec@nowhere:none/a/b",
        "ws://u:sec@nowhere:8000/a/b;drop",
        "ws://u:sec@/a/b",
    ],
)
def test_a_url_that_is_none_is_named_and_not_shown(tmp_path: Path, url: str) -> None:
    """It holds a password."""
    with pytest.raises(CredentialError, match="source-url") as raised:
        create(setup(tmp_path, url, "q"))
    assert "sec" not in str(raised.value)


@pytest.mark.parametrize("table", ["a b", "x`; REMOVE TABLE y; --", "command:1", "", "1st", "é", "x" * 64])
def test_a_table_of_a_wrong_name_is_refused(tmp_path: Path, table: str) -> None:
    """It is the one thing that is written into a statement."""
    with pytest.raises(SettingsError, match="stream"):
        create(setup(tmp_path, "ws://u:p@127.0.0.1:1/a/b", table))


@pytest.mark.parametrize(("option", "value"), [("stale_seconds", "long"), ("user_level", "galaxy"), ("stale", 5)])
def test_a_wrong_option_is_named(tmp_path: Path, option: str, value: object) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=option):
        create(setup(tmp_path, "ws://u:p@127.0.0.1:1/a/b", "q", **{option: value}))
