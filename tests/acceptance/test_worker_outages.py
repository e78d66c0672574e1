"""The worker process while a server is away, empty, silent or broken: it waits, says so, goes on, and still stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio as redis

from orchestrator.ledger.obstacles import Obstacle
from orchestrator.ledger.workers import Worker
from tests.support.fleet import STREAM, SYSTEMD_ADDS_SECONDS, Fleet, fleet_over, port_of
from tests.support.link import Link, link_to
from tests.support.servers import redis_server
from tests.support.wait import wait_until

AT_ONCE_SECONDS = 5.0
"""Less than any time-out it could be waiting for: a connection to PostgreSQL may take 10 s."""
NAMES = {"postgres": "PostgreSQL", "redis": "Redis"}


@pytest.fixture
async def fleet(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers over the servers of the session."""
    async with fleet_over(database, redis_url, tmp_path) as made:
        yield made


@asynccontextmanager
async def linked(fleet: Fleet, server: str) -> AsyncIterator[tuple[Fleet, Link]]:
    """Give the fleet with a link between its processes and one of its servers."""
    async with link_to(port_of(fleet.dsn if server == "postgres" else fleet.redis_url)) as link:
        yield fleet.behind(postgres=link) if server == "postgres" else fleet.behind(redis=link), link


@pytest.mark.parametrize("server", ["postgres", "redis"])
async def test_it_gets_ready_when_the_server_comes_up(fleet: Fleet, server: str) -> None:
    """Started first, as after a power cut, it waits instead of dying, and its status line says for what."""
    async with linked(fleet, server) as (there, link):
        await link.cut()
        async with there.worker(ready=False) as worker:
            await worker.told(f"STATUS=waiting: {NAMES[server]} does not answer")
            assert "READY=1" not in worker.messages
            await link.mend()
            await worker.ready()
            job = await fleet.submit(3)
            assert (await fleet.ended(job)).processed == 3


@pytest.mark.parametrize("server", ["postgres", "redis"])
async def test_x04_it_can_be_stopped_while_it_waits_for_a_server(fleet: Fleet, server: str) -> None:
    """At once, and that is no failure."""
    async with linked(fleet, server) as (there, link):
        await link.cut()
        async with there.worker(ready=False) as worker:
            await worker.told("STATUS=waiting: ")
            began = time.monotonic()
            assert await worker.stop() == 0, worker.log
            assert time.monotonic() - began < AT_ONCE_SECONDS
            assert "READY=1" not in worker.messages


async def test_x04_it_can_be_stopped_while_a_server_keeps_it_waiting(fleet: Fleet) -> None:
    """A server that takes the connection and then says nothing: no refusal, no error, for long."""
    called = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    there = Fleet(fleet.ledger, fleet.directory, fleet.redis_url, f"postgresql://nobody@127.0.0.1:{port}/none")
    async with silent, there.worker(ready=False) as worker:
        await asyncio.wait_for(called.wait(), 20)
        began = time.monotonic()
        assert await worker.stop() == 0, worker.log
        assert time.monotonic() - began < AT_ONCE_SECONDS


async def test_x06_it_ends_within_its_time_though_a_server_is_silent(fleet: Fleet) -> None:
    """Each of its last words used to wait for a time-out of its own: 22 s and 46 s, of the 16 that systemd gives."""
    async with AsyncExitStack() as stack:
        links, workers = [], []
        for server in NAMES:
            there, link = await stack.enter_async_context(linked(fleet, server))
            workers.append(await stack.enter_async_context(there.worker(server, size=1, grace_period_seconds=1.0)))
            links.append(link)
        job = await fleet.submit(20, sleep=30)
        await fleet.running(job, 8)
        for link in links:
            link.freeze()
        began = time.monotonic()
        assert await asyncio.gather(*(worker.stop() for worker in workers)) == [0, 0]
        assert time.monotonic() - began < 1.0 + SYSTEMD_ADDS_SECONDS - 2


async def obstacles(fleet: Fleet) -> list[Obstacle]:
    """Return what keeps workers from their work, as they have told the ledger."""
    return await fleet.ledger.obstacles.of_type("lightrag", 60)


async def unhindered(fleet: Fleet) -> bool:
    """Return whether nothing does."""
    return not await obstacles(fleet)


async def test_a_worker_that_begins_finds_what_redis_has_lost(fleet: Fleet) -> None:
    """Redis was emptied while nobody worked: it is filled again at the start, not at the next look, an hour later."""
    async with fleet.worker() as former:
        job = await fleet.submit(20, sleep=1)
        await fleet.running(job, 8)
        assert await former.stop() == 0, former.log
    async with redis.Redis.from_url(fleet.redis_url) as client:
        await client.flushall()
    async with fleet.worker(tracking={"reconcile_interval_seconds": 3600}) as worker:
        assert (await fleet.ended(job)).processed == 20
        assert "dispatched again" in worker.log


async def test_x09_redis_lost_in_the_middle_is_survived(database: str, tmp_path: Path) -> None:
    """Killed and begun again empty: the worker makes its group anew, and the ledger has the work.

    Redis stays away for some looks of the reconciler, which used to die of the first one that failed.
    """
    with redis_server() as server:
        async with fleet_over(database, server.url, tmp_path) as fleet, fleet.worker() as worker:
            job = await fleet.submit(30, sleep=0.2)
            await fleet.running(job)
            server.kill()
            await fleet.beaten()
            told = await wait_until(lambda: obstacles(fleet), what="an obstacle")
            assert [(o.host, o.credentials) for o in told] == [("h", False)] and "Redis does not answer" in told[0].what
            server.start()
            ended = await fleet.ended(job)
            worker.check()
            assert (ended.processed, ended.failed) == (30, 0)
            assert {c[:2] for c in await fleet.chunks(job)} == {("processed", 1)}
            await fleet.beaten()
            await wait_until(lambda: unhindered(fleet), what="the end of what is over")


async def test_x09_a_loop_that_broke_comes_back(fleet: Fleet) -> None:
    """One unexpected error used to end the heartbeats, or a seed's worker, for ever, while the process looked well."""

    async def renamed(what: str, name: str) -> None:
        await fleet.ledger.database.run(lambda c: c.execute(f"ALTER TABLE {what} RENAME TO {name}"))

    async def broke() -> bool:
        return "reading broke" in worker.log and 'relation "workers" does not exist' in worker.log

    async def alive() -> list[Worker]:
        return await fleet.ledger.workers.alive(0.9)

    async def ended() -> bool:
        return (await fleet.ledger.jobs.get("ext")).processed == 1

    entry = {"job_id": "ext", "chunk_id": "c", "workspace": "w", "content": "text", "chunks_total": "1"}
    async with fleet.worker(lease_seconds=1.0) as worker:
        for table in ("pauses", "workers"):
            await renamed(table, f"no_{table}")
        client = redis.Redis.from_url(fleet.redis_url)
        await client.xadd(STREAM, entry)  # type: ignore[arg-type]  # their dict is invariant
        await client.aclose()
        await wait_until(broke, what="errors of the reader and the heartbeat")
        for table in ("pauses", "workers"):
            await renamed(f"no_{table}", table)
        ours = await fleet.submit(4)
        assert (await fleet.ended(ours)).processed == 4
        await wait_until(ended, what="end of what was read and not begun")
        assert len(await wait_until(alive, what="heartbeats")) == 2
        worker.check()


async def test_x09_a_worker_whose_start_cannot_be_told_works_on(fleet: Fleet) -> None:
    """The seed's died of it in silence. What could not be told is told later, in its order."""

    async def run(sql: str) -> None:
        await fleet.ledger.database.run(lambda c: c.execute(sql))

    async def refused() -> bool:
        return "no events of workers" in worker.log

    await run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no events of workers'; END $$"
    )
    when = "BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.type LIKE 'worker.%')"
    await run(f"CREATE TRIGGER refused {when} EXECUTE FUNCTION refuse()")
    async with fleet.worker(max_tasks_per_child=2, size=1) as worker:
        await wait_until(refused, what="a refused announcement")
        job = await fleet.submit(4)
        assert (await fleet.ended(job)).processed == 4
        await run("DROP TRIGGER refused ON events")
        assert await worker.stop() == 0, worker.log
    told = [event for _, event in await fleet.worker_events()]
    assert told[:4] == [("started", 0), ("stopped", 2)] * 2
    assert told[4:] in ([], [("started", 0), ("stopped", 0)]), "the stop may come before a third one or after it"
