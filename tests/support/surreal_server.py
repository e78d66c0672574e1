"""Run the true SurrealDB engine behind our WebSocket (tests/node/surreal-bridge.mjs) on a free port.

Its data is on disk, in RocksDB, and there again after a kill. Not in SurrealKV: its version in this engine lets two
transactions that write the same row both succeed now and then (docs/sources/surrealdb.md).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from surrealdb import AsyncWsSurrealConnection

from tests.support.servers import Server, free_port, plain_server

BRIDGE = Path(__file__).parent.parent / "node" / "surreal-bridge.mjs"
NAMESPACE, DATABASE = "test", "work"
USER = {"username": "root", "password": "root"}


@contextlib.contextmanager
def surreal_server() -> Iterator[Server]:
    """Run one; its URL names a database, and who we are there."""
    port = free_port()
    with plain_server(url_of(port), port, "node", str(BRIDGE), str(port), "rocksdb://rows") as server:
        yield server


def url_of(port: int) -> str:
    """Return the credential for a port."""
    return f"ws://root:root@127.0.0.1:{port}/{NAMESPACE}/{DATABASE}"


@contextlib.asynccontextmanager
async def surreal_client(server: Server) -> AsyncIterator[AsyncWsSurrealConnection]:
    """A client as a producer would have one."""
    async with AsyncWsSurrealConnection(f"ws://127.0.0.1:{server.port}") as client:
        await client.signin(dict(USER))
        await client.use(NAMESPACE, DATABASE)
        yield client


async def surreal_query(server: Server, text: str, **parameters: Any) -> Any:
    """Run one statement over a connection of its own; return its result."""
    async with surreal_client(server) as client:
        return await client.query(text, parameters)
