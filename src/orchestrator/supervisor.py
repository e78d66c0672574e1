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
from orchestrator.tasks import end, within

log = logging.getLogger("orchestrator.supervisor")

PULSE_SECONDS = 2.0
PATIENCE_SECONDS = 5.0
"""How long a ledger may be silent before the line says so; the watchdog wants to hear of us meanwhile."""
CLOSE_SECONDS = 1.0


async def run(settings_dir: Path, credentials: Credentials) -> None:
    """Report until SIGTERM or SIGINT. Raises SettingsError and CredentialError at once."""
    settings = load(settings_dir / "workers" / "worker_pool.py", WorkerPoolSettings)
    dsn = credentials.read("postgres-dsn")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    supervisor = Supervisor(settings, dsn)
    systemd.notify("READY=1\nSTATUS=starting")
    pulse, stopped = asyncio.create_task(supervisor.run()), asyncio.create_task(stop.wait())
    await asyncio.wait((pulse, stopped), return_when=asyncio.FIRST_COMPLETED)
    if pulse.done():
        pulse.result()
    systemd.notify("STOPPING=1\nSTATUS=stopping")
    await end((pulse, stopped))
    await supervisor.close()


class Supervisor:
    """Reads the ledger and puts it into one line."""

    def __init__(self, settings: WorkerPoolSettings, dsn: str) -> None:
        self._settings = settings
        self._expected = {name: settings.for_type(name).size for name in settings.types}
        self._dsn = dsn
        self._ledger: Ledger | None = None

    async def run(self) -> None:
        """Report until cancelled, whatever happens to the ledger."""
        while True:
            systemd.notify("WATCHDOG=1")
            systemd.status(await self.pulse())
            await asyncio.sleep(PULSE_SECONDS)

    async def pulse(self) -> str:
        """Return the status line; it is honest when the ledger does not answer."""
        try:
            return await within(PATIENCE_SECONDS, self._look())
        except DependencyError as error:
            return f"no status: {error}"
        except TimeoutError:
            await self.close()  # a connection that is stuck may stay so for long: begin anew
            return "no status: PostgreSQL is silent; check `systemctl status postgresql`"
        except Exception as error:  # as with a schema that is not there yet
            log.exception("no status")
            return f"no status: {type(error).__name__}; see `journalctl -u orchestrator-workers`"

    async def _look(self) -> str:
        if self._ledger is None:
            self._ledger = await Ledger.open(self._dsn, connections=1, name="orchestrator supervisor")
        workers = await self._ledger.workers.alive(3 * self._settings.heartbeat_seconds)
        totals = await self._ledger.workers.totals()
        here = [w for w in workers if w.host == self._settings.host]
        return "; ".join(str(status) for status in summarise(self._expected, here, totals))

    async def close(self) -> None:
        """Close the connection; one whose server is silent is cut."""
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            with contextlib.suppress(TimeoutError):
                await within(CLOSE_SECONDS, ledger.close())
