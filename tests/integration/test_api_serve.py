"""The API process: READY, watchdog, requests, and an end within five seconds with streams open."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from orchestrator.api.serve import GRACE_SECONDS, listen
from orchestrator.ledger import Ledger
from tests.support.api import bearer, body, key_lines, open_stream
from tests.support.servers import free_port
from tests.support.wait import wait_until

PROGRAM = """
import asyncio, logging, sys
from pathlib import Path
from orchestrator.api import serve as api
from orchestrator.errors import OrchestratorError
from orchestrator.settings.credentials import Credentials
logging.basicConfig(level="INFO")
api.GRACE_SECONDS = 60  # whoever waited for a stream would wait for so long
try:
    asyncio.run(api.serve(Path(sys.argv[1]), Credentials(Path(sys.argv[2]))))
except OrchestratorError as error:
    sys.exit(str(error))
"""
POOL = """
from orchestrator.settings import WorkerPoolSettings
settings = WorkerPoolSettings(host="h", types={"lightrag": {"handler": "noop", "stream": "s", "group": "g"}})
"""
TRACKER = "from orchestrator.settings import JobTrackerSettings\nsettings = JobTrackerSettings()\n"
API = "from orchestrator.settings import ApiSettings\nsettings = ApiSettings(port={port})\n"


class Unit:
    """A host's directories and a listener in systemd's place."""

    def __init__(self, root: Path, dsn: str, redis_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._root = root
        files = {
            "workers/worker_pool.py": POOL,
            "services/job_tracker.py": TRACKER,
            "api/jobs.py": API.format(port=self.port),
            "credentials/postgres-dsn": dsn,
            "credentials/redis-url": redis_url,
            "credentials/api-keys": key_lines(),
        }
        for name, text in files.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(root / "notify"))
        self._notify.setblocking(False)
        asyncio.get_running_loop().add_reader(self._notify, self._listen)
        self.notes = ""
        self._processes: list[Process] = []

    async def start(self) -> Process:
        """Start the process."""
        environment = {"NOTIFY_SOCKET": str(self._root / "notify"), "WATCHDOG_USEC": "300000"}
        arguments = ["-c", PROGRAM, str(self._root), str(self._root / "credentials")]
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment, stderr=PIPE)
        self._processes.append(process)
        return process

    def _listen(self) -> None:
        """Keep what systemd is told, as it comes: the socket holds about eleven notes, and then its sender blocks."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.notes += self._notify.recv(4096).decode() + "\n"

    async def told(self, what: str) -> None:
        """Wait until systemd has been told."""

        async def look() -> bool:
            return what in self.notes

        await wait_until(look, what=f"{what} in {self.notes!r}")

    async def close(self) -> None:
        """End what is still there."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        asyncio.get_running_loop().remove_reader(self._notify)
        self._notify.close()


@pytest.fixture
async def unit(ledger: Ledger, database: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Unit]:
    """A host with a migrated ledger."""
    made = Unit(tmp_path, database, redis_url)
    yield made
    await made.close()


async def test_it_serves_and_ends_within_five_seconds_with_streams_open(unit: Unit) -> None:
    """Type=notify, the watchdog, a job over HTTP, its event over SSE; SIGTERM twice is as good as once.

    Five seconds are for requests that take all of the grace; no stream is waited for.
    """
    assert GRACE_SECONDS < 5
    process = await unit.start()
    await unit.told("READY=1")
    await unit.told("WATCHDOG=1")
    async with open_stream(unit.url) as sse, httpx.AsyncClient(base_url=unit.url, headers=bearer("alpha")) as client:
        answer = await client.post("/lightrag/ingest-async", json=body(2))
        assert answer.status_code == 202 and "server" not in answer.headers
        assert await sse.take(1) == ["ingestion.queued"]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert [line async for line in sse.lines if line] == []
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    assert time.monotonic() - began < 30
    await unit.told("STOPPING=1")
    assert b"key-of" not in errors and b"Traceback" not in errors


async def test_answers_do_not_wait_for_an_ack() -> None:
    """Nagle and the delayed ACK made every answer take 40 ms: asyncio sets TCP_NODELAY not on every socket."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_taken_port_is_said_at_once(unit: Unit) -> None:
    """With the address and what to do."""
    with socket.create_server(("127.0.0.1", unit.port)):
        process = await unit.start()
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1 and f"cannot listen on 127.0.0.1 port {unit.port}".encode() in errors


async def test_it_waits_for_postgresql_and_can_be_stopped_meanwhile(unit: Unit, tmp_path: Path) -> None:
    """The status line says what it waits for, without the password."""
    dsn = f"postgresql://api:hunter2@127.0.0.1:{free_port()}/orchestrator"
    (tmp_path / "credentials" / "postgres-dsn").write_text(dsn)
    process = await unit.start()
    await unit.told("STATUS=waiting: PostgreSQL does not answer")
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0 and b"hunter2" not in errors and "hunter2" not in unit.notes


@pytest.mark.parametrize(("name", "text"), [("api-keys", "only two"), ("api-keys", None), ("postgres-dsn", "")])
async def test_wrong_credentials_stop_it_with_their_name(
    unit: Unit, tmp_path: Path, name: str, text: str | None
) -> None:
    """Never with their content."""
    path = tmp_path / "credentials" / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    process = await unit.start()
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1 and f"credential '{name}'".encode() in errors
    assert not text or text.encode() not in errors
