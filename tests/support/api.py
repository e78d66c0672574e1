"""The API as tests need it: over a real ledger and Redis, called in the process or through a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx
import orjson
import redis.asyncio as redis
from fastapi import FastAPI

from orchestrator.api.app import create_app
from orchestrator.api.auth import KeyRing
from orchestrator.api.backlog import Backlog
from orchestrator.api.deps import WORKER_TYPE, Deps
from orchestrator.api.dispatch import Dispatch
from orchestrator.api.serve import listen, run
from orchestrator.events.follow import Follower
from orchestrator.events.log import EventLog
from orchestrator.ledger import Ledger
from orchestrator.settings import ApiSettings, WorkerTypeSettings
from orchestrator.sources.redis_client import connect
from orchestrator.tracker.redis_view import RedisView
from orchestrator.tracker.relay import Relay

STREAM = "shield:ingestion_queue"
LINES = "application/x-ndjson"
KEYS = {"operator": "*", "alpha": "alpha", "beta": "beta"}
"""Name of a key -> its tenant; the key itself is key-of-<name>."""


def key_lines() -> str:
    """Return the credential api-keys."""
    return "\n".join(f"{n} {t} {sha256(f'key-of-{n}'.encode()).hexdigest()}" for n, t in KEYS.items())


def bearer(name: str) -> dict[str, str]:
    """Return the header that authenticates as the owner of a key."""
    return {"Authorization": f"Bearer key-of-{name}"}


def body(size: int = 2, **changes: Any) -> dict[str, Any]:
    """Return the seed's body with `size` chunks."""
    chunks = [{"text": f"Test chunk {i}", "source_uri": f"test://{i}"} for i in range(1, size + 1)]
    return {"chunks": chunks, "source_type": "test", **changes}


def in_lines(frame: Any, chunks: Iterable[Any]) -> bytes:
    """Return a body of type LINES."""
    return b"\n".join(orjson.dumps(line) for line in (frame, *chunks))


@dataclass(frozen=True, slots=True)
class Api:
    """A running API."""

    app: FastAPI
    deps: Deps
    client: redis.Redis

    def as_(self, name: str | None, base_url: str = "http://api", **transport: Any) -> httpx.AsyncClient:
        """Return a client that calls the app in this process, with a key of that name."""
        inside = httpx.ASGITransport(self.app, **transport)
        return httpx.AsyncClient(transport=inside, base_url=base_url, headers=bearer(name) if name else {})


@asynccontextmanager
async def api_over(
    ledger: Ledger, redis_url: str, *, engine: Any = None, types: bool = True, poll_seconds: float = 0.02, **values: Any
) -> AsyncIterator[Api]:
    """Give an API with settings of the test's."""
    lightrag = WorkerTypeSettings(name="lightrag", handler="noop", stream=STREAM, group="lightrag-workers")
    async with AsyncExitStack() as stack:
        client = connect(redis_url)
        stack.push_async_callback(client.aclose)
        view = RedisView(client, 3600)
        dispatch = Dispatch(Relay(ledger, client), view)
        stack.push_async_callback(dispatch.close)
        follower = Follower(EventLog(ledger.database), poll_seconds=poll_seconds)
        stack.callback(follower.close)
        settings = ApiSettings(**values)
        deps = Deps(
            settings=settings,
            types={"lightrag": lightrag} if types else {},
            keys=KeyRing.parse(key_lines()),
            ledger=ledger,
            backlog=Backlog(ledger, WORKER_TYPE, settings.max_backlog_chunks),
            redis=client,
            view=view,
            dispatch=dispatch,
            follower=follower,
            engine=engine,
        )
        yield Api(create_app(deps), deps, client)


@asynccontextmanager
async def served(api: Api, port: int = 0) -> AsyncIterator[str]:
    """Serve the API on a port, 0 for a free one; gives its URL."""
    stop = asyncio.Event()
    with listen("127.0.0.1", port) as listener:
        task = asyncio.create_task(run(api.app, listener, api.deps.follower, stop))
        try:
            yield f"http://127.0.0.1:{port_of(listener)}"
        finally:
            stop.set()
            await task


def port_of(listener: socket.socket) -> int:
    """Return the port of a listening socket."""
    port: int = listener.getsockname()[1]
    return port


@dataclass(slots=True)
class Sse:
    """An open event stream, read as a client would."""

    lines: AsyncIterator[str]
    comments: list[str] = field(default_factory=list)
    last_event_id: str = ""

    async def next(self, within: float = 15.0) -> tuple[str, dict[str, Any]]:
        """Return the next event: its type and data. Comments are kept aside."""
        return await asyncio.wait_for(self._next(), within)

    async def _next(self) -> tuple[str, dict[str, Any]]:
        kind, data = "", b""
        while True:
            line = await anext(self.lines)
            name, _, value = line.partition(": ")
            if line == "" and data:
                return kind, orjson.loads(data)
            if line.startswith(":"):
                self.comments.append(line[2:])
            elif name == "event":
                kind = value
            elif name == "data":
                data = value.encode()
            elif name == "id":
                self.last_event_id = value

    async def take(self, count: int) -> list[str]:
        """Return the types of the next events."""
        return [(await self.next())[0] for _ in range(count)]

    async def comment(self, within: float = 15.0) -> str:
        """Return the next comment line."""

        async def wait() -> str:
            while not (line := await anext(self.lines)).startswith(":"):
                pass
            return line[2:]

        return await asyncio.wait_for(wait(), within)


@asynccontextmanager
async def open_stream(url: str, key: str = "operator", last: str | None = None, **params: str) -> AsyncIterator[Sse]:
    """Open an event stream and wait until it is connected."""
    headers = bearer(key) | ({"Last-Event-ID": last} if last is not None else {})
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("GET", f"{url}/events/stream", headers=headers, params=params) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        sse = Sse(response.aiter_lines())
        assert await sse.comment() == "connected"
        yield sse
