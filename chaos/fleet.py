"""What the faults happen to: a real Redis and PostgreSQL, the API, and workers that reach both over links."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
from tests.support.process import write_module, write_settings
from tests.support.program import PROGRAM
from tests.support.servers import Server, free_port, postgres_server, redis_server
from tests.support.wait import wait_until

from chaos.history import INSTALL
from chaos.net import Link, link_to
from chaos.plan import RETRY_ATTEMPTS, TENANTS, WORKERS
from chaos.unit import Unit

STREAM, GROUP, TYPE, DATABASE = "chaos:queue", "chaos", "lightrag", "chaos"
MAX_DELIVERIES = 12
"""A chunk in the hands of a worker that is killed is handed out again, for no fault of its own: with kills every few
seconds and chunks of at most three seconds, twelve times in a row is what happens to a deadly chunk alone."""
TIMES: dict[str, Any] = {
    "read_block_seconds": 0.2,
    "heartbeat_seconds": 0.5,
    "lease_seconds": 2.0,
    "grace_period_seconds": 2.0,
    "backoff_base_seconds": 0.05,
    "backoff_cap_seconds": 0.3,
    "timeout_seconds": 4.0,
    "retry_attempts": RETRY_ATTEMPTS,
    "max_deliveries": MAX_DELIVERIES,
    "max_tasks_per_child": 200,
    "size": 2,
    "batch": 8,
}
TRACKING: dict[str, Any] = {
    "reconcile_interval_seconds": 1.0,
    "relay_interval_seconds": 0.2,
    "open_job_quiet_seconds": 2.0,
}
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
FAKETIME_IS_HERE = FAKETIME.exists()
DISK_BYTES = "16m"


@dataclass(slots=True)
class Worker:
    """A worker process, and everything that can be done to it."""

    unit: Unit
    to_redis: Link
    to_postgres: Link
    directory: Path
    state: Path  # a small disk of its own, if that could be had
    clock: Path  # what libfaketime reads
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Fleet:
    """Everything that runs."""

    redis: Server
    postgres: Server
    api: Unit
    api_url: str
    workers: list[Worker]
    runs: Path  # what the handlers write down
    without: frozenset[str]  # faults that this host cannot do
    redis_busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    postgres_busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    api_busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    emptied_ms: int = 0  # when Redis was last emptied, by its clock
    emptied: int = 0

    @property
    def dsn(self) -> str:
        """The ledger, past all links."""
        return f"{self.postgres.url}/{DATABASE}"

    def redis_is_empty(self) -> None:
        """Remember that Redis has lost all it held."""
        self.emptied += 1
        self.emptied_ms = int(time.time() * 1000)

    def start(self) -> None:
        """Start the processes of the product."""
        for unit in self.units:
            unit.start()

    @property
    def units(self) -> list[Unit]:
        """All processes of the product."""
        return [self.api, *(w.unit for w in self.workers)]


def key_of(tenant: str) -> str:
    """Return the API key of a tenant."""
    return f"key-of-{tenant}"


@asynccontextmanager
async def fleet_in(directory: Path, mutant: str | None = None) -> AsyncIterator[Fleet]:
    """Give a fleet that is ready to be started; everything of it has ended afterwards."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        postgres = stack.enter_context(postgres_server())
        await _make_database(postgres, directory)
        api, url = _api(redis, postgres, directory)
        runs, workers = directory / "runs", []
        without = set() if FAKETIME_IS_HERE else {"clock"}
        for n in range(WORKERS):
            links = [await stack.enter_async_context(link_to(s.port)) for s in (redis, postgres)]
            worker, has_disk = _worker(n, (links[0], links[1]), directory, runs, mutant)
            if has_disk:
                stack.callback(subprocess.run, ["umount", "--lazy", str(worker.state)], check=False)
            else:
                without.add("disk")
            workers.append(worker)
        fleet = Fleet(redis, postgres, api, url, workers, runs, frozenset(without))
        stack.push_async_callback(_end, fleet)
        yield fleet


async def _end(fleet: Fleet) -> None:
    for server in (fleet.redis, fleet.postgres):
        with suppress(ProcessLookupError, AttributeError):
            if server.process is None:
                await asyncio.to_thread(server.start)
    await asyncio.gather(*(unit.stop() for unit in fleet.units))


async def _make_database(postgres: Server, directory: Path) -> None:
    await wait_until(lambda: _answers(postgres), what="PostgreSQL")
    admin = await asyncpg.connect(f"{postgres.url}/postgres")
    await admin.execute(f"CREATE DATABASE {DATABASE}")
    for n in range(WORKERS):  # a role a worker: the history says who did it
        await admin.execute(f"CREATE ROLE w{n} LOGIN SUPERUSER")
    await admin.close()
    credentials = directory / "migrate"
    credentials.mkdir()
    (credentials / "migrate-dsn").write_text(f"{postgres.url}/{DATABASE}")
    command = [PROGRAM, "migrate", "--credentials", str(credentials)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    connection = await asyncpg.connect(f"{postgres.url}/{DATABASE}")
    await connection.execute(INSTALL)
    await connection.close()


async def _answers(postgres: Server) -> bool:
    try:
        connection = await asyncpg.connect(f"{postgres.url}/postgres")
    except asyncpg.CannotConnectNowError:  # its port answers before it does
        return False
    await connection.close()
    return True


def _types(runs: Path) -> dict[str, Any]:
    return {TYPE: {"handler": "chaos", "stream": STREAM, "group": GROUP, "options": {"runs": str(runs)}}}


def _api(redis: Server, postgres: Server, directory: Path) -> tuple[Unit, str]:
    home, port = directory / "api", free_port()
    home.mkdir()
    types = _types(directory / "runs")
    options = write_settings(home, redis_url=redis.url, dsn=f"{postgres.url}/{DATABASE}", types=types, **TIMES)
    write_module(home / "settings/api/jobs.py", "ApiSettings", port=port)
    write_module(home / "settings/services/job_tracker.py", "JobTrackerSettings", **TRACKING)
    lines = "\n".join(f"{t} {t} {sha256(key_of(t).encode()).hexdigest()}" for t in TENANTS)
    (home / "credentials/api-keys").write_text(lines)
    return Unit("api", [PROGRAM, "api", *options], home, {}), f"http://127.0.0.1:{port}"


def _worker(n: int, links: tuple[Link, Link], directory: Path, runs: Path, mutant: str | None) -> tuple[Worker, bool]:
    home, (to_redis, to_postgres) = directory / f"w{n}", links
    state, clock = home / "state", home / "clock"
    state.mkdir(parents=True)
    clock.write_text("+0\n")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", str(state)]
    has_disk = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    redis_url = f"redis://127.0.0.1:{to_redis.port}/0"
    dsn = f"postgresql://w{n}@127.0.0.1:{to_postgres.port}/{DATABASE}"
    options = write_settings(home, redis_url=redis_url, dsn=dsn, types=_types(runs), **{**TIMES, "host": f"w{n}"})
    write_module(home / "settings/services/job_tracker.py", "JobTrackerSettings", **TRACKING)
    command = [sys.executable, "-m", "chaos.run_worker", *([mutant] if mutant else []), "worker", TYPE, *options]
    unit = Unit(f"w{n}", command, state, _environment(state, clock))
    return Worker(unit, to_redis, to_postgres, home, state, clock), has_disk


def _environment(state: Path, clock: Path) -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    found = {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(state), "TMPDIR": str(state)}
    if FAKETIME_IS_HERE:
        found |= {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_CACHE_DURATION": "1",
            # a step of the clock moves no monotonic clock
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
    return found
