"""A process of the product as systemd would keep it: started again when it ends, told to stop by its own pid."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ERROR = re.compile(r"[\w.]+(Error|Exception|Group|Cancelled|Warning)\b")
RESTART_SECONDS = 0.5
STOP_SECONDS = 30.0
EXPECTED = (0, -signal.SIGTERM, -signal.SIGKILL, 137)
"""Told to stop (the second: before it listened), killed by us, killed by a deadly chunk."""


class Unit:
    """One process, over all its lives."""

    def __init__(self, name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.lives = 0
        self.crashes: list[str] = []
        """How it ended when nobody meant it to."""
        self._command = command
        self._directory = directory
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Start it and keep it running."""
        self._keeper = asyncio.create_task(self._keep())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it lives."""
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def stop(self) -> bool:
        """Tell it to stop for good; return whether it did within its time. Else it is killed."""
        self._stopping = True
        if self._keeper is None:
            return True
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        _, late = await asyncio.wait([self._keeper], timeout=STOP_SECONDS)
        if late:
            self.send(signal.SIGKILL)
            await asyncio.wait([self._keeper], timeout=STOP_SECONDS)
        return not late

    def log(self) -> str:
        """Return the end of what it wrote."""
        path = self._directory / f"{self.name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def errors(self) -> dict[str, int]:
        """Return the last lines of the tracebacks it wrote, and how often each."""
        path, found = self._directory / f"{self.name}.log", Counter[str]()
        inside = False
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            bare = line.lstrip(" |+-")
            if bare.startswith("Traceback"):
                inside = True
            elif inside and bare and ERROR.match(bare):
                found[f"{self.name}: {bare[:200]}"] += 1
                inside = False
        return found

    async def _keep(self) -> None:
        while not self._stopping:
            with (self._directory / f"{self.name}.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, env=self._environment, stderr=log, stdout=log, cwd=self._directory
                )
            self.lives += 1
            if self._stopping:  # told to stop while it was being started
                self.send(signal.SIGTERM)
            code = await self._process.wait()
            if code not in EXPECTED:
                self.crashes.append(f"{self.name} ended with {code}:\n{self.log()}")
            if not self._stopping:
                await asyncio.sleep(RESTART_SECONDS)
