"""The process of the model server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from orchestrator import systemd
from orchestrator.models.app import ModelServer
from orchestrator.settings import ModelsSettings
from orchestrator.settings.load import load
from orchestrator.tasks import end


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            systemd.notify("READY=1\nSTATUS=rules and MiniLM: a lab's models")


async def serve(settings_dir: Path) -> None:
    """Serve until SIGTERM or SIGINT. Raises SettingsError at once when settings or weights are missing."""
    settings = load(settings_dir / "services" / "models.py", ModelsSettings)
    app = ModelServer().app()
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
    watchdog = asyncio.create_task(_watchdog())
    try:
        await server.serve()
    finally:
        await end([watchdog])


async def _watchdog() -> None:
    interval = systemd.watchdog_interval()
    while interval is not None:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(interval)
