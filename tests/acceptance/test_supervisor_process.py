"""The umbrella's process: its status line tells what all workers of the host do, and it outlives what it tells of."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.fleet import SYSTEMD_ADDS_SECONDS, Fleet, fleet_over, port_of
from tests.support.link import link_to
from tests.support.process import Process, program
from tests.support.servers import postgres_server
from tests.support.wait import wait_until

LINE = r"lightrag {alive}/2 slots, {queued} queued, \d+\.\d chunks/s, {dead} dead"


@asynccontextmanager
async def umbrella(fleet: Fleet) -> AsyncIterator[Process]:
    """Run the supervisor on the settings of a worker of the host `h`."""
    async with program(fleet.directory / "h", "supervisor", *fleet.options("h")) as process:
        yield process


async def shows(process: Process, pattern: str) -> None:
    """Wait until the status line is like that."""

    async def like() -> bool:
        return re.fullmatch(pattern, process.status) is not None

    await wait_until(like, what=f"{pattern}; it is: {process.status}")


@pytest.fixture
async def fleet(database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Workers over the servers of the session."""
    async with fleet_over(database, redis_url, tmp_path) as made:
        yield made


async def test_x09_the_status_line_tells_the_living_from_the_dead(fleet: Fleet) -> None:
    """The seed was "up" while any one worker lived. A killed worker's slots are gone from the line within its lease."""
    async with fleet.worker() as worker, umbrella(fleet) as process:
        await shows(process, LINE.format(alive=2, queued=0, dead=0))
        await fleet.ended(await fleet.submit(3, reject=True))
        await fleet.running(await fleet.submit(20, hang=9), 8)
        await shows(process, LINE.format(alive=2, queued=12, dead=3))
        worker.send(signal.SIGKILL)
        await worker.ended()
        await shows(process, LINE.format(alive=0, queued=12, dead=3))
        assert await process.stop() == 0, process.log
    assert process.messages[:2] == ["READY=1", "STATUS=starting"] and "STOPPING=1" in process.messages


async def test_another_hosts_workers_are_not_counted_as_ours(fleet: Fleet) -> None:
    """Each host's umbrella answers for its own slots; the backlog is everybody's."""
    async with fleet.worker("other"), umbrella(fleet) as process:
        await shows(process, LINE.format(alive=0, queued=0, dead=0))


async def test_it_outlives_postgresql(redis_url: str, tmp_path: Path) -> None:
    """And says so meanwhile."""
    with postgres_server() as server:
        async with (
            fleet_over(f"{server.url}/postgres", redis_url, tmp_path) as fleet,
            umbrella(fleet) as process,
        ):
            await shows(process, LINE.format(alive=0, queued=0, dead=0))
            await asyncio.to_thread(server.kill)
            await shows(process, r"no status: PostgreSQL does not answer \(\w+\); check `systemctl status postgresql`")
            await asyncio.to_thread(server.start)
            await shows(process, LINE.format(alive=0, queued=0, dead=0))


async def test_it_is_honest_about_a_silent_postgresql_and_stops_all_the_same(fleet: Fleet) -> None:
    """Its line stood still, its watchdog starved, and it took 59 s to end, of the 15 that systemd gives."""
    async with link_to(port_of(fleet.dsn)) as link:
        there = fleet.behind(postgres=link)
        async with umbrella(there) as process:
            await shows(process, LINE.format(alive=0, queued=0, dead=0))
            link.freeze()
            await shows(process, "no status: PostgreSQL is silent; check `systemctl status postgresql`")
            began = time.monotonic()
            assert await process.stop() == 0, process.log
            assert time.monotonic() - began < SYSTEMD_ADDS_SECONDS - 2


async def test_it_outlives_a_ledger_without_schema(fleet: Fleet) -> None:
    """Started before the migration, or in its middle, it used to die of the missing table."""
    await fleet.ledger.database.run(lambda c: c.execute("ALTER TABLE workers RENAME TO no_workers"))
    async with umbrella(fleet) as process:
        await shows(process, "no status: UndefinedTableError; see `journalctl -u orchestrator-workers`")
        await fleet.ledger.database.run(lambda c: c.execute("ALTER TABLE no_workers RENAME TO workers"))
        await shows(process, LINE.format(alive=0, queued=0, dead=0))
