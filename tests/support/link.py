"""A network link that can be cut, frozen and mended: what a client sees when a server or the way to it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.servers import free_port


class Link:
    """Forwards connections from a port of its own to a server on this host."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.port = free_port()

    async def mend(self) -> None:
        """Take connections (again), always on the same port."""
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Refuse new connections and reset those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._open.set()

    def freeze(self) -> None:
        """Keep connections and answer nothing: a stopped server, a lost route."""
        self._open.clear()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
        else:
            self._writers.add(back)
            if self._server is None or writer.is_closing():  # cut while this connection was being made
                writer.transport.abort()
                back.transport.abort()
            with suppress(OSError):
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
            self._writers.discard(back)
        self._writers.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def link_to(port: int) -> AsyncIterator[Link]:
    """Give a link to a port."""
    link = Link(port)
    await link.mend()
    try:
        yield link
    finally:
        await link.cut()
