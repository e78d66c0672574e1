"""The umbrella's pulse: it works nothing itself, but `systemctl status orchestrator-workers` says how all types are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from orchestrator import systemd
from orchestrator.errors import DependencyError
from orchestrator.ledger import Ledger
from orchestrator.settings import WorkerPoolSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load
from orchestrator.status import summarise

log = logging.getLogger("orchestrator.supervisor")

PULSE_SECONDS = 2.0


async def run(settings_dir: Path, credentials: Credentials) -> None:
    """Report until SIGTERM or SIGINT. Raises SettingsError and CredentialError at once."""
    settings = load(settings_dir / "workers" / "worker_pool.py", WorkerPoolSettings)
    dsn = credentials.read("postgres-dsn")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    supervisor = Supervisor(settings, dsn)
    systemd.notify("READY=1\nSTATUS=starting")
    while not stop.is_set():
        systemd.notify("WATCHDOG=1")
        systemd.status(await supervisor.pulse())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PULSE_SECONDS):
                await stop.wait()
    systemd.notify("STOPPING=1\nSTATUS=stopping")
    await supervisor.close()


class Supervisor:
    """Reads the ledger and puts it into one line."""

    def __init__(self, settings: WorkerPoolSettings, dsn: str) -> None:
        self._settings = settings
        self._expected = {name: settings.for_type(name).size for name in settings.types}
        self._dsn = dsn
        self._ledger: Ledger | None = None

    async def pulse(self) -> str:
        """Return the status line; it is honest when the ledger does not answer."""
        try:
            if self._ledger is None:
                self._ledger = await Ledger.open(self._dsn, connections=1, name="orchestrator supervisor")
            workers = await self._ledger.workers.alive(3 * self._settings.heartbeat_seconds)
            totals = await self._ledger.workers.totals()
        except DependencyError as error:
            return f"no status: {error}"
        here = [w for w in workers if w.host == self._settings.host]
        return "; ".join(str(status) for status in summarise(self._expected, here, totals))

    async def close(self) -> None:
        """Close the connection."""
        if self._ledger is not None:
            await self._ledger.close()
