"""A process as it is deployed: the program on settings and credentials, observed as systemd would observe it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.support.program import PROGRAM, Cli
from tests.support.wait import wait_until

START_SECONDS = 40.0
STOP_SECONDS = 40.0
SCHED_NS = 1e9
BROKEN = Path(__file__).parent / "broken"


def fault(name: str, **more: str) -> dict[str, str]:
    """Return the environment of a process with a fault of tests/support/broken."""
    return {"PYTHONPATH": str(BROKEN), "FAULT": name, **more}


def gated(gate: Path) -> dict[str, str]:
    """Return the environment of a worker whose handlers begin when this file is there: work of the test's length."""
    return fault("gated", GATE=str(gate))


class Process:
    """A running process of ours."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.messages: list[str] = []
        """What it told systemd so far, a line each."""
        self._fed_at = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> str:
        """The line `systemctl status` would show."""
        told = [m.removeprefix("STATUS=") for m in self.messages if m.startswith("STATUS=")]
        return told[-1] if told else ""

    @property
    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._log.read_text(errors="replace")

    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far, to the nanosecond."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / SCHED_NS

    def check(self) -> None:
        """Raise when it has ended."""
        if self._process.returncode is not None:
            raise RuntimeError(f"the process ended with {self._process.returncode}:\n{self.log[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; it may have ended already."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Return its exit code once it has ended."""
        return await asyncio.wait_for(self._process.wait(), STOP_SECONDS)

    async def stop(self) -> int:
        """Tell it to stop, as systemd would; return its exit code."""
        self.send(signal.SIGTERM)
        return await self.ended()

    async def close(self) -> None:
        """Stop it in whatever state it is. Raises TimeoutError when it had to be killed."""
        self.send(signal.SIGCONT)
        try:
            await self.stop()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.ended()
            raise

    async def told(self, message: str, *, within: float = 20.0) -> None:
        """Wait until it has told systemd a message that begins like this."""

        async def look() -> bool:
            return any(m.startswith(message) for m in self.messages)

        await wait_until(look, within=within, what=f"{message} among {self.messages[-5:]}")

    async def starved(self, seconds: float, *, within: float = 20.0) -> None:
        """Wait until it has not fed the watchdog for so long: then systemd aborts it, and so do we."""

        async def look() -> bool:
            self.check()
            return time.monotonic() - self._fed_at > seconds

        await wait_until(look, within=within, what=f"{seconds:g} s without WATCHDOG=1")
        self.send(signal.SIGABRT)
        assert await self.ended() == -signal.SIGABRT

    async def ready(self) -> None:
        """Wait until it says that it is. Raises RuntimeError when it ends instead."""

        async def told() -> bool:
            self.check()
            return "READY=1" in self.messages

        await wait_until(told, within=START_SECONDS, what="READY=1")

    def listen(self, notified: socket.socket) -> None:
        """Keep what it sends to the notify socket; call when there is something to read."""
        with suppress(BlockingIOError):
            while True:
                self.messages += (told := notified.recv(4096).decode().split("\n"))
                if "WATCHDOG=1" in told:
                    self._fed_at = time.monotonic()


@asynccontextmanager
async def program(
    directory: Path, *words: str, ready: bool = True, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run `orchestrator …` until the block ends; gives it once it is ready, or at once."""
    path, log = directory / f"notify-{words[0]}", directory / f"{words[0]}.log"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, log.open("wb") as written:
        notified.bind(str(path))
        notified.setblocking(False)
        loop = asyncio.get_running_loop()
        around = {**os.environ, **(environment or {}), "NOTIFY_SOCKET": str(path)}
        started = await asyncio.create_subprocess_exec(PROGRAM, *words, env=around, stderr=written)
        process = Process(started, log)
        loop.add_reader(notified, process.listen, notified)
        try:
            if ready:
                await process.ready()
            yield process
        finally:
            try:
                await process.close()
            finally:
                process.listen(notified)
                loop.remove_reader(notified)


def options_of(home: Path) -> list[str]:
    """Return the options that name the settings and credentials of a host."""
    return ["--settings", str(home / "settings"), "--credentials", str(home / "credentials")]


def client_of(api: Process, home: Path) -> Cli:
    """Return the command line for the address in the API's log."""
    found = re.search(r"api ready host=(\S+) port=(\d+)", api.log)
    assert found, api.log
    (home / "key").write_text("key")
    return Cli(f"http://{found[1]}:{found[2]}", home / "key")


@asynccontextmanager
async def api_of(home: Path) -> AsyncIterator[Cli]:
    """Run the API of a host whose settings are written; give the command line in front of it."""
    async with program(home, "api", *options_of(home)) as api:
        yield client_of(api, home)


def write_settings(directory: Path, *, redis_url: str, dsn: str, lightrag_dsn: str = "", **pool: Any) -> list[str]:
    """Write settings and credentials as a deployment does; return the options that name them.

    The API listens on any free port; its only key is `key`, of all tenants.
    """
    settings, credentials = directory / "settings", directory / "credentials"
    for part in ("workers", "services", "api"):
        (settings / part).mkdir(parents=True, exist_ok=True)
    credentials.mkdir(mode=0o700, exist_ok=True)
    write_module(settings / "workers/worker_pool.py", "WorkerPoolSettings", **{"host": "h", **pool})
    write_module(settings / "services/job_tracker.py", "JobTrackerSettings")
    write_module(settings / "api/jobs.py", "ApiSettings", port=0)
    api_keys = f"operator * {sha256(b'key').hexdigest()}"
    values = {"api-keys": api_keys, "redis-url": redis_url, "postgres-dsn": dsn, "lightrag-dsn": lightrag_dsn}
    for name, value in values.items():
        (credentials / name).write_text(value)
    return options_of(directory)


def write_module(path: Path, kind: str, **values: Any) -> None:
    """Write one rendered settings module."""
    literals = "".join(f"    {key}={value!r},\n" for key, value in values.items())
    path.write_text(
        f'"""Written by a test."""\n\nfrom orchestrator.settings import {kind}\n\nsettings = {kind}(\n{literals})\n'
    )
