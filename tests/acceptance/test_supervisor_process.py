"""The umbrella's process: its status line tells what all workers of the host do, and it outlives what it tells of."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.fleet import Fleet, fleet_over
from tests.support.process import Process, program
from tests.support.servers import postgres_server
from tests.support.wait import wait_until

LINE = re.compile(r"lightrag (\d+)/2 slots, \d+ queued, \d+\.\d chunks/s, \d+ dead")


@asynccontextmanager
async def umbrella(fleet: Fleet, host: str = "h") -> AsyncIterator[Process]:
    """Run the supervisor on the settings of that host's worker."""
    home = fleet.directory / host
    options = ["--settings", str(home / "settings"), "--credentials", str(home / "credentials")]
    async with program(home, "supervisor", *options) as process:
        yield process


async def shows(process: Process, pattern: str) -> bool:
    """Return whether the status line is like that."""
    return re.fullmatch(pattern, process.status) is not None


async def test_x09_the_status_line_tells_the_living_from_the_dead(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    """The seed was "up" while any one worker lived. A killed worker's slots are gone from the line within its lease."""
    async with (
        fleet_over(database, redis_url, tmp_path) as fleet,
        fleet.worker() as worker,
        umbrella(fleet) as process,
    ):
        await wait_until(lambda: shows(process, LINE.pattern.replace(r"(\d+)", "2")), what="two slots")
        job = await fleet.submit(3, reject=True)
        await fleet.ended(job)
        await wait_until(lambda: shows(process, r"lightrag 2/2 slots, 0 queued, .* chunks/s, 3 dead"), what="the dead")
        worker.send(signal.SIGKILL)
        await worker.ended()
        await wait_until(lambda: shows(process, LINE.pattern.replace(r"(\d+)", "0")), what="no slots")
        assert await process.stop() == 0, process.log


async def test_it_outlives_postgresql(redis_url: str, tmp_path: Path) -> None:
    """And says so meanwhile."""
    with postgres_server() as server:
        async with (
            fleet_over(f"{server.url}/postgres", redis_url, tmp_path) as fleet,
            fleet.worker(),
            umbrella(fleet) as process,
        ):
            await wait_until(lambda: shows(process, LINE.pattern), what="a status")
            await asyncio.to_thread(server.kill)
            await wait_until(lambda: shows(process, "no status: PostgreSQL.*"), what="the outage")
            await asyncio.to_thread(server.start)
            await wait_until(lambda: shows(process, LINE.pattern), what="a status again")
