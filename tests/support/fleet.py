"""Worker processes of one type beside each other, with times short enough for a test, and the ledger they work on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.errors import DependencyError
from orchestrator.jobs import TERMINAL_JOB
from orchestrator.ledger import Ledger
from orchestrator.ledger.jobs import Job, NewChunk, NewJob
from orchestrator.ledger.schema import migrate
from orchestrator.ledger.workers import Worker
from tests.support.jobs import new_job
from tests.support.link import Link
from tests.support.process import Process, program, write_module, write_settings
from tests.support.wait import wait_until

STREAM = "q"
SYSTEMD_ADDS_SECONDS = 15.0
"""What TimeoutStopSec= of the units gives beyond the grace period."""
TIMES = {
    "read_block_seconds": 0.1,
    "heartbeat_seconds": 0.3,
    "lease_seconds": 3.0,
    "grace_period_seconds": 10.0,
    "backoff_base_seconds": 0.05,
    "backoff_cap_seconds": 0.1,
    "timeout_seconds": 30.0,
}
TRACKING = {"reconcile_interval_seconds": 0.3, "relay_interval_seconds": 0.1}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where the processes of a test work."""

    ledger: Ledger
    directory: Path
    redis_url: str
    dsn: str

    def behind(self, *, postgres: Link | None = None, redis: Link | None = None) -> Fleet:
        """Return the same fleet, whose processes reach a server over a link only."""
        return replace(self, dsn=_over(self.dsn, postgres), redis_url=_over(self.redis_url, redis))

    def worker(
        self, host: str = "h", *, ready: bool = True, environment: Mapping[str, str] | None = None, **changes: Any
    ) -> AbstractAsyncContextManager[Process]:
        """Run a worker process of a host of that name; `tracking` are changes of the job tracker's settings."""
        options = self.options(host, **changes)
        return program(self.directory / host, "worker", "lightrag", *options, ready=ready, environment=environment)

    def options(self, host: str, *, tracking: Mapping[str, float] | None = None, **changes: Any) -> list[str]:
        """Write the settings of a host of that name; return the options that name them."""
        home = self.directory / host
        home.mkdir(exist_ok=True)
        types = {"lightrag": {"handler": "noop", "stream": STREAM, "group": "g"}}
        values: dict[str, Any] = {"host": host, "size": 2, "batch": 4, "types": types, **TIMES, **changes}
        options = write_settings(home, redis_url=self.redis_url, dsn=self.dsn, **values)
        write_module(
            home / "settings/services/job_tracker.py", "JobTrackerSettings", **{**TRACKING, **(tracking or {})}
        )
        return options

    async def submit(self, size: int, **wish: Any) -> NewJob:
        """Write a job whose chunks wish the same of the noop handler; the workers dispatch it."""
        chunks = [NewChunk(chunk_id=f"c{i}", content=f"text {i}", metadata=wish or None) for i in range(size)]
        job = new_job(queue=STREAM, chunks=chunks)
        await self.ledger.jobs.create(job)
        return job

    async def ended(self, job: NewJob, within: float = 20.0) -> Job:
        """Return the job when it has ended."""

        async def look() -> Job | None:
            found = await self.ledger.jobs.get(job.job_id)
            return found if found.status in TERMINAL_JOB else None

        found = await wait_until(look, within=within, what=f"end of {job.job_id}")
        assert found is not None
        return found

    async def running(self, job: NewJob, count: int = 1) -> Job:
        """Return the job when so many of its chunks are at work."""

        async def look() -> Job | None:
            found = await self.ledger.jobs.get(job.job_id)
            return found if found.running >= count else None

        found = await wait_until(look, what=f"{count} chunks of {job.job_id} at work")
        assert found is not None
        return found

    async def delivered(self, job: NewJob, times: int) -> None:
        """Wait until every chunk of the job has been handed out so often."""

        async def look() -> bool:
            return {deliveries for *_, deliveries in await self.chunks(job)} == {times}

        await wait_until(look, what=f"delivery {times} of {job.job_id}")

    async def chunks(self, job: NewJob) -> list[tuple[str, int, int]]:
        """Return (status, attempts, deliveries) of every chunk."""
        rows = await self.ledger.jobs.chunks(job.job_id, status=None, after=None, limit=500)
        return [(r["status"], r["attempts"], r["deliveries"]) for r in rows]

    async def beaten(self, within: float = 20.0) -> list[Worker]:
        """Return the slots once each one that was alive has told the ledger so again, three heartbeats from now."""
        before = {w.consumer: w.seen_at for w in await self.ledger.workers.alive(60)}
        later = timedelta(seconds=3 * TIMES["heartbeat_seconds"])

        async def look() -> list[Worker]:
            found = await self.ledger.workers.alive(60)
            return found if all(w.seen_at >= before.get(w.consumer, w.started_at) + later for w in found) else []

        return await wait_until(look, within=within, what="heartbeats")

    async def worker_events(self) -> list[tuple[str, tuple[str, int]]]:
        """Return (consumer, (started or stopped, tasks processed)) of all events of workers, in their order."""
        rows = await self.ledger.database.run(
            lambda c: c.fetch("SELECT type, data FROM events WHERE type LIKE 'worker.%' ORDER BY seq")
        )
        told = [(r["type"].removeprefix("worker."), r["data"]) for r in rows]
        return [(data["worker_id"], (kind, data["tasks_processed"])) for kind, data in told]

    async def events(self, kind: str) -> list[Mapping[str, Any]]:
        """Return the data of all events of a kind."""
        rows = await self.ledger.database.run(
            lambda c: c.fetch("SELECT data FROM events WHERE type = $1 ORDER BY seq", kind)
        )
        return [row["data"] for row in rows]


async def until_hanging(ledger: Ledger, worker: Process) -> None:
    """Wait until the ledger has heard from this very process that it is inside a handler that hangs."""

    async def look() -> bool:
        return any(w.pid == worker.pid and w.step == "hanging" for w in await ledger.workers.alive(60))

    await wait_until(look, what=f"a hanging handler of process {worker.pid}")


def port_of(url: str) -> int:
    """Return the port in a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port


def _over(url: str, link: Link | None) -> str:
    return url if link is None else url.replace(f":{port_of(url)}/", f":{link.port}/")


async def _migrated(database: str) -> bool:
    """Migrate; a server that has just started listens before it serves."""
    try:
        await migrate(database)
    except DependencyError:
        return False
    return True


@asynccontextmanager
async def fleet_over(database: str, redis_url: str, directory: Path) -> AsyncIterator[Fleet]:
    """Give a fleet over a fresh ledger."""
    await wait_until(lambda: _migrated(database), what="PostgreSQL")
    ledger = await Ledger.open(database)
    try:
        yield Fleet(ledger, directory, redis_url, database)
    finally:
        await ledger.close()
