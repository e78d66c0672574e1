"""A process of the product as systemd would keep it: started again when it ends, told to stop by its own pid."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.wait import wait_until

ERROR = re.compile(r"[\w.]+(Error|Exception|Group|Cancelled|Warning)\b")
RESTART_SECONDS = 0.5
STOP_SECONDS = 30.0
ALIVE_SECONDS = 60.0
DEADLY = 137
"""The exit code with which a deadly chunk ends its worker."""


def explained(code: int, sent: Collection[int]) -> bool:
    """Return whether a deadly chunk, or one of the signals we sent, explains that a process ended like this. Pure."""
    return code == DEADLY or -code in sent or (code == 0 and signal.SIGTERM in sent)


class Unit:
    """One process, over all its lives."""

    def __init__(
        self, name: str, command: Sequence[str], home: Path, *, state: Path, environment: Mapping[str, str]
    ) -> None:
        """`state` is its working directory; its log goes to `home`, as the journal is on another disk, too."""
        self.name = name
        self.lives = 0
        self.crashes: list[str] = []
        """How it ended when nobody meant it to."""
        self._command = command
        self._log = home / f"{name}.log"
        self._state = state
        self._environment = {**os.environ, **environment}
        self._process: asyncio.subprocess.Process | None = None
        self._sent: set[int] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Start it and keep it running."""
        self._keeper = asyncio.create_task(self._keep())

    def send(self, number: signal.Signals) -> bool:
        """Send it a signal; return whether it was there to get it."""
        process = self._process
        if process is None or process.returncode is not None:
            return False
        self._sent.add(number)
        with suppress(ProcessLookupError):
            process.send_signal(number)
        return True

    async def hit(self, number: signal.Signals) -> None:
        """Send it a signal, after its next start if it has just ended. Raises AssertionError when it never starts."""

        async def sent() -> bool:
            return self.send(number)

        await wait_until(sent, within=ALIVE_SECONDS, what=f"a life of {self.name}")

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
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def errors(self) -> dict[str, int]:
        """Return the last lines of the tracebacks it wrote, and how often each."""
        found = Counter[str]()
        inside = False
        for line in self._log.read_text(errors="replace").splitlines() if self._log.exists() else []:
            bare = line.lstrip(" |+-")
            if bare.startswith("Traceback"):
                inside = True
            elif inside and bare and ERROR.match(bare):
                found[f"{self.name}: {bare[:200]}"] += 1
                inside = False
        return found

    async def _keep(self) -> None:
        while not self._stopping:
            self._sent.clear()
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command, env=self._environment, stderr=log, stdout=log, cwd=self._state
                )
            self.lives += 1
            if self._stopping:  # told to stop while it was being started
                self.send(signal.SIGTERM)
            code = await self._process.wait()
            if not explained(code, self._sent):
                self.crashes.append(f"{self.name} ended with {code}:\n{self.log()}")
            if not self._stopping:
                await asyncio.sleep(RESTART_SECONDS)
