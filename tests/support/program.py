"""The installed program `orchestrator`, run as people run it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).with_name("orchestrator"))


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass(slots=True)
class Cli:
    """Runs the program with the address and key of one API."""

    url: str
    key_file: Path
    connection: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.connection = ["--url", self.url, "--key-file", str(self.key_file)]

    async def __call__(self, *words: str, stdin: str = "") -> Done:
        """Run a client command to its end."""
        return await run(*words, *self.connection, stdin=stdin)


async def run(*words: str, stdin: str = "") -> Done:
    """Run the program to its end."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(PROGRAM, *words, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 40)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
