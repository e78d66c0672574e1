"""The LightRAG database away: at the start, before the first chunk, and in the middle of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from orchestrator.deliveries import Result
from orchestrator.errors import DependencyError, RetryError
from orchestrator.handlers.lightrag import lock
from orchestrator.handlers.lightrag.handler import LightRAGHandler
from tests.integration.lightrag.bench import Bench
from tests.support.link import Link, link_to
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")

TEXT = "Helios Labs acquired Titan Corp. Titan Corp employs Anna Keller."


@pytest_asyncio.fixture(loop_scope="package")
async def link(bench: Bench) -> AsyncIterator[Link]:
    """The way of every handler of the bench to the database."""
    parts = urlsplit(bench.dsn)
    assert parts.port is not None
    async with link_to(parts.port) as made:
        bench.way = bench.dsn.replace(f":{parts.port}/", f":{made.port}/")
        yield made
        await made.mend()
        await bench.close()


async def test_the_worker_waits_for_its_database(bench: Bench) -> None:
    """And no message shows the password."""
    nowhere = LightRAGHandler(bench.settings, "postgresql://u:secret@127.0.0.1:9/lightrag")
    with pytest.raises(DependencyError) as away:
        await nowhere.open()
    assert "secret" not in str(away.value)


async def test_a_chunk_whose_workspace_cannot_be_opened_burns_no_attempt(bench: Bench, link: Link) -> None:
    """It comes again later."""
    handler = await bench.handler()
    await link.cut()
    with pytest.raises(RetryError, match="does not answer") as raised:
        await bench.run(handler, "c1", TEXT)
    assert not raised.value.counts and raised.value.delay_seconds
    await link.mend()
    assert (await bench.run(handler, "c1", TEXT)).entities == 3


@pytest.mark.parametrize("how", ["cut", "freeze"])
async def test_an_outage_in_the_middle_loses_nothing(
    bench: Bench, link: Link, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock goes with the database, also when no packet says so; what was begun is finished afterwards."""
    monkeypatch.setattr(lock, "CHECK_SECONDS", 1.0)
    handler = await bench.handler()
    bench.model.holding.add("Helios")  # until the database is away
    waiting = asyncio.create_task(bench.run(handler, "c1", TEXT))
    await wait_until(bench.extracted)
    if how == "cut":
        await link.cut()
    else:
        link.freeze()
        bench.model.holding.clear()  # its answer finds nobody to be kept by
    with pytest.raises(RetryError) as raised:
        await waiting
    assert not raised.value.counts
    bench.model.holding.clear()
    await link.cut()  # those that were frozen would hold the lock for 20 seconds
    await link.mend()

    async def done() -> Result | None:
        try:
            return await bench.run(handler, "c1", TEXT)
        except RetryError:
            return None

    assert await wait_until(done) == Result(entities=3, relations=2)
    assert list((await bench.states()).values()) == ["processed"]
