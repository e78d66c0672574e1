"""The deployed API, called over one connection that is kept open, by a client that costs next to nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import orjson
from tests.support.process import Process, program

from bench import durable
from bench.stage import Scene

KIND, STREAM = "lightrag", "bench:api"
"""The type that the API submits to; its handler does nothing here."""
HEAD = (
    "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer key\r\n"
    "Content-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Body:
    """A body and what it is."""

    content: bytes = b""
    kind: str = "application/json"


NONE = Body()
FRAME = {"source_type": "bench", "workspace": "w"}


@dataclass(slots=True)
class Api:
    """A connection to the API, and its process."""

    process: Process
    options: list[str]  # of a worker of that type
    port: int
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def fresh(self) -> None:
        """Connect anew: the server closes what was silent for some seconds."""
        self._writer.close()
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def call(self, method: str, path: str, body: Body = NONE) -> Any:
        """Return the answer to a request. Raises RuntimeError when it is not a success."""
        head = HEAD.format(method=method, path=path, kind=body.kind, size=len(body.content))
        self._writer.write(head.encode() + body.content)
        await self._writer.drain()
        told = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = re.search(r"content-length: (\d+)", told)
        answer = await self._reader.readexactly(int(size[1]) if size else 0)
        if not told.startswith("http/1.1 2"):
            raise RuntimeError(f"{method} {path}: {told.splitlines()[0]} {answer[:500]!r}")
        return orjson.loads(answer)

    async def submit(self, body: Body) -> str:
        """Submit a body; return the id of the job."""
        return str((await self.call("POST", "/lightrag/ingest-async", body))["job_id"])


def document(count: int, text: str = "text") -> Body:
    """Return a job of so many chunks as one JSON document."""
    return Body(orjson.dumps({**FRAME, "chunks": _chunks(count, text)}))


def lines(count: int, text: str = "text") -> Body:
    """Return the same job in lines."""
    return Body(b"\n".join(orjson.dumps(line) for line in (FRAME, *_chunks(count, text))), "application/x-ndjson")


def _chunks(count: int, text: str) -> list[dict[str, str]]:
    return [{"text": f"{text} {n}", "source_uri": f"bench://{n}"} for n in range(count)]


@asynccontextmanager
async def api(it: Scene, *, batch: int = 100) -> AsyncIterator[Api]:
    """Run the API."""
    options = durable.settings(it, batch=batch, kind=KIND, stream=STREAM)
    async with program(it.directory, "api", *options) as process:
        port = int(process.status.rpartition(" ")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with closing(writer):
            yield Api(process, options, port, reader, writer)
