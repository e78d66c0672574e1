"""Programs in Node (tests/node): they read lines of JSON and write lines of JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.wait import wait_until

PROGRAMS = Path(__file__).resolve().parent.parent / "node"
START_SECONDS = 30.0
END_SECONDS = 20.0


class Node:
    """A running program."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.lines: list[dict[str, Any]] = []
        """What it wrote so far, its replies left out."""

    async def listen(self) -> None:
        """Keep what it writes, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "reply" in said:
                self._replies.put_nowait(said)
            else:
                self.lines.append(said)

    async def call(self, method: str, *args: Any, **target: Any) -> Any:
        """Have a method called, by default of the queue; return its reply. Raises RuntimeError when it raises."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"method": method, "args": args, **target}).encode() + b"\n")
        said = await asyncio.wait_for(self._replies.get(), END_SECONDS)
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["reply"]

    def said(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the lines that hold these fields."""
        return [line for line in self.lines if fields.items() <= line.items()]

    async def until(self, **fields: Any) -> dict[str, Any]:
        """Wait until it has written a line with these fields; return the first."""

        async def look() -> list[dict[str, Any]]:
            if not self.said(**fields) and self._process.returncode is not None:
                raise RuntimeError(f"the program ended with {self._process.returncode}")
            return self.said(**fields)

        return (await wait_until(look, within=START_SECONDS, what=f"{fields} among {self.lines[-5:]}"))[0]

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    async def close(self) -> None:
        """End its input, and wait until it has ended; it is killed when it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise


@asynccontextmanager
async def node(program: str, *words: str) -> AsyncIterator[Node]:
    """Run `tests/node/<program>.mjs` until the block ends; gives it once it is ready."""
    process = await asyncio.create_subprocess_exec(
        "node", f"{program}.mjs", *words, cwd=PROGRAMS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    running = Node(process)
    listening = asyncio.create_task(running.listen())
    try:
        await running.until(ready=True)
        yield running
    finally:
        await running.close()
        await listening
