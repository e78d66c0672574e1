"""Redis Streams: an external producer puts its chunks straight on the stream, each a job of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import orjson
import redis.asyncio as redis

from orchestrator import keys
from tests.conformance.backend import Message, ServerBackend
from tests.support.servers import redis_server

GROUP = "g"


class RedisStreamBackend(ServerBackend):
    """Implements Backend and Restarts over a Redis of its own, which writes everything down at once."""

    source = "redis_stream"
    rules: Mapping[str, Any] = {}  # they are those of its entries
    too_large = 1 << 20
    many = 10_000

    def __init__(self) -> None:
        super().__init__(partial(redis_server, "--appendonly", "yes", "--appendfsync", "always"))

    def settings(self, queue: str) -> dict[str, Any]:
        """Return what is its own."""
        return {"stream": queue, "group": GROUP}

    def credentials(self) -> dict[str, str]:
        """Return the way to this Redis."""
        return {"redis-url": self.server.url}

    async def restart(self) -> None:
        """Cut its power, and start it with its log."""
        self.server.kill()
        self.server.start()

    async def prepare(self, queue: str) -> None:
        """The source makes stream and group."""

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.server.url, decode_responses=True)

    async def put(self, queue: str, messages: Sequence[Message]) -> list[str]:
        """Append an entry each."""
        async with self._client() as client, client.pipeline(transaction=False) as pipe:
            for message in messages:
                pipe.xadd(queue, _fields(message))
            return [str(receipt) for receipt in await pipe.execute()]

    async def left(self, queue: str) -> int:
        """Return the stream's length and the delayed."""
        async with self._client() as client:
            return int(await client.xlen(queue)) + int(await client.zcard(keys.delayed(queue)))

    async def dead(self, queue: str) -> list[str]:
        """Return the reasons in the dead-letter stream."""
        async with self._client() as client:
            entries: Any = await client.xrange(keys.dead(queue))
        return [fields["dead_reason"] for _, fields in entries]


def _fields(message: Message) -> dict[Any, Any]:
    if isinstance(message.payload, str | bytes):
        return {"garbage": message.payload}
    given = dict(message.payload)
    if "metadata" in given:
        given["metadata"] = orjson.dumps(given["metadata"])
    return {"job_id": f"job-{uuid4().hex}", "chunk_id": "0", "chunks_total": 1, **given}
