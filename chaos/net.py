"""The way between a worker and a server: can be cut, frozen and mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BLOCK = 65536


class Link:
    """Forwards connections from a port of its own to a server on this host, which may come and go."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    async def mend(self) -> None:
        """Take connections (again), always on the same port."""
        self._flows.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse new connections and reset those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        self._flows.set()

    def freeze(self) -> None:
        """Keep connections and let nothing through: a lost route."""
        self._flows.clear()

    async def close(self) -> None:
        """Cut it for good."""
        await self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        back: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(back)
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            for end in (writer, back):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # uvloop's word for a connection that was cut in this very moment
            while data := await reader.read(BLOCK):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()  # whoever reads there sees the end, after what was sent before it


@asynccontextmanager
async def link_to(port: int) -> AsyncIterator[Link]:
    """Give a link to a port."""
    link = Link(port)
    await link.mend()
    try:
        yield link
    finally:
        await link.close()
