"""What the faults happen to: a real Redis and PostgreSQL, the API, and workers that reach both over links."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
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

TYPE, DATABASE = "lightrag", "chaos"
MAX_DELIVERIES = 16
"""A chunk in the hands of a worker that is killed is handed out again, for no fault of its own: with kills every few
seconds, and chunks that hang three times for four seconds, so often is what happens to a deadly chunk alone."""
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
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)  # of Debian, whatever the architecture
DISK_BYTES = "16m"


@dataclass(frozen=True, slots=True)
class Reach:
    """How workers reach the queue: what is its own in their settings and credentials."""

    settings: Mapping[str, Any]
    credentials: Mapping[str, str] = field(default_factory=dict)
    server: Server | None = None  # the queue's own, where it is not our Redis

    def over(self, link: Link | None) -> Reach:
        """Return the same over a link: of what names the server its port is the one thing to change."""
        if link is None or self.server is None:
            return self
        old, new = f":{self.server.port}", f":{link.port}"
        replaced = {name: text.replace(old, new) for name, text in self.credentials.items()}
        return Reach(_replaced(self.settings, old, new), replaced, self.server)


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    return value.replace(old, new) if isinstance(value, str) else value


@dataclass(slots=True)
class Worker:
    """A worker process, and everything that can be done to it."""

    unit: Unit
    links: Mapping[str, Link]  # to the servers
    state: Path  # a small disk of its own, if that could be had
    clock: Path  # what libfaketime reads
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def runs(self) -> Path:
        """What its handlers write down: on its own disk, so that a full one matters."""
        return self.state / "runs"


@dataclass(slots=True)
class Fleet:
    """Everything that runs."""

    servers: Mapping[str, Server]  # redis, postgres and, if it has one of its own, the queue's
    api: Unit
    api_url: str
    workers: list[Worker]
    cannot: frozenset[str]  # faults that this host cannot do
    busy: Mapping[str, asyncio.Lock]  # of the servers and the API
    emptied_ms: int = 0  # when Redis was last emptied, by its clock
    emptied: int = 0  # how often that has begun or was over: odd while it is going on

    @property
    def dsn(self) -> str:
        """The ledger, past all links."""
        return f"{self.servers['postgres'].url}/{DATABASE}"

    @property
    def redis_url(self) -> str:
        """Our Redis, past all links."""
        return self.servers["redis"].url

    @contextmanager
    def emptying_redis(self) -> Iterator[None]:
        """Remember that Redis loses all it holds."""
        self.emptied += 1
        try:
            yield
        finally:
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
async def fleet_in(directory: Path, reach: Reach, mutant: str | None = None) -> AsyncIterator[Fleet]:
    """Give a fleet that is ready to be started; everything of it has ended afterwards."""
    async with AsyncExitStack() as stack:
        servers = {
            "redis": stack.enter_context(redis_server()),
            "postgres": stack.enter_context(postgres_server()),
        }
        await _make_database(servers["postgres"], directory)
        if reach.server is not None:
            servers["queue"] = reach.server
        api, url = _api(servers, reach, directory)
        workers, cannot = [], set() if _clocks_move(directory / "probe") else {"clock"}
        for n in range(WORKERS):
            links = {name: await stack.enter_async_context(link_to(s.port)) for name, s in servers.items()}
            worker = _worker(n, links, reach, directory, mutant)
            if _give_disk(worker.state):
                stack.callback(subprocess.run, ["umount", "--lazy", str(worker.state)], check=False)
            else:
                cannot.add("disk")
            workers.append(worker)
        busy = {name: asyncio.Lock() for name in (*servers, "api")}
        fleet = Fleet(servers, api, url, workers, frozenset(cannot), busy)
        stack.push_async_callback(_end, fleet)
        yield fleet


async def _end(fleet: Fleet) -> None:
    for server in fleet.servers.values():
        if server.process is None:
            await asyncio.to_thread(server.start)
    await asyncio.gather(*(unit.stop() for unit in fleet.units))


def _clocks_move(probe: Path) -> bool:
    """Return whether a process of this host believes libfaketime: it is a thousand days ahead."""
    probe.write_text("+1000d\n")
    told = subprocess.run(["date", "+%s"], env=_environment(probe.parent, probe), check=True, capture_output=True)
    return int(told.stdout) > time.time() + 86_400


def _give_disk(state: Path) -> bool:
    """Mount a small disk; return whether that could be done."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "chaos", str(state)]
    return subprocess.run(mount, check=False, capture_output=True).returncode == 0


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


def _types(reach: Reach, runs: Path) -> dict[str, Any]:
    return {TYPE: {"handler": "chaos", **reach.settings, "options": {"runs": str(runs)}}}


def _api(servers: Mapping[str, Server], reach: Reach, directory: Path) -> tuple[Unit, str]:
    home, port = directory / "api", free_port()
    home.mkdir()
    dsn = f"{servers['postgres'].url}/{DATABASE}"
    options = write_settings(home, redis_url=servers["redis"].url, dsn=dsn, types=_types(reach, home / "none"), **TIMES)
    for name, content in reach.credentials.items():
        (home / "credentials" / name).write_text(content)
    write_module(home / "settings/api/jobs.py", "ApiSettings", port=port)
    write_module(home / "settings/services/job_tracker.py", "JobTrackerSettings", **TRACKING)
    lines = "\n".join(f"{t} {t} {sha256(key_of(t).encode()).hexdigest()}" for t in TENANTS)
    (home / "credentials/api-keys").write_text(lines)
    return Unit("api", [PROGRAM, "api", *options], home, state=home, environment={}), f"http://127.0.0.1:{port}"


def _worker(n: int, links: Mapping[str, Link], reach: Reach, directory: Path, mutant: str | None) -> Worker:
    home = directory / f"w{n}"
    state, clock = home / "state", home / "clock"
    state.mkdir(parents=True)
    clock.write_text("+0\n")
    redis_url = f"redis://127.0.0.1:{links['redis'].port}/0"
    dsn = f"postgresql://w{n}@127.0.0.1:{links['postgres'].port}/{DATABASE}"
    mine = reach.over(links.get("queue"))
    values = {**TIMES, "host": f"w{n}", "types": _types(mine, state / "runs")}
    options = write_settings(home, redis_url=redis_url, dsn=dsn, **values)
    for name, content in mine.credentials.items():
        (home / "credentials" / name).write_text(content)
    write_module(home / "settings/services/job_tracker.py", "JobTrackerSettings", **TRACKING)
    command = [sys.executable, "-m", "chaos.run_worker", *([mutant] if mutant else []), "worker", TYPE, *options]
    unit = Unit(f"w{n}", command, home, state=state, environment=_environment(state, clock))
    return Worker(unit, links, state, clock)


def _environment(state: Path, clock: Path) -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    found = {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(state), "TMPDIR": str(state)}
    if FAKETIME:
        found |= {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_CACHE_DURATION": "1",
            # a step of the clock moves no monotonic clock
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
    return found
