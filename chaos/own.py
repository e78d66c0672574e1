"""Our own queue: a Redis Stream filled from the ledger and by external producers, in a Redis that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis.asyncio as redis

from chaos.facts import Facts
from chaos.findings import Finding
from chaos.fleet import Fleet, Reach
from chaos.plan import Shape
from chaos.producer import MALFORMED, StreamProducers
from chaos.watch import StreamWatch

STREAM, GROUP = "chaos:queue", "chaos"


class OwnStream:
    """Implements Queue."""

    name = "redis_stream"
    shape = Shape(
        lacks=frozenset({"cut queue", "queue kill", "queue freeze"}),  # its server is our Redis
        noise=(*MALFORMED, "duplicate", "duplicate"),
    )
    permanent = frozenset({STREAM, f"{STREAM}:dead"})
    """The stream itself, and its dead letters, which are trimmed."""

    async def open(self) -> Reach:
        """Everybody has our Redis."""
        return Reach({"stream": STREAM, "group": GROUP})

    async def close(self) -> None:
        """Nothing of its own."""

    def producers(self, fleet: Fleet) -> StreamProducers:
        """Return its producers."""
        return StreamProducers(fleet, STREAM)

    def watch(self, fleet: Fleet) -> StreamWatch:
        """Return what looks at the stream."""
        return StreamWatch(fleet, STREAM, GROUP)

    async def left(self, fleet: Fleet) -> Mapping[str, int]:
        """Return what Redis says of the stream, its group and its delayed entries."""
        async with redis.Redis.from_url(fleet.redis_url) as client:
            entries = await client.xlen(STREAM)
            groups = await client.xinfo_groups(STREAM) if await client.exists(STREAM) else []
            pending = sum(int(group["pending"]) for group in groups if group["name"].decode() == GROUP)
            delayed = await client.zcard(f"{STREAM}:delayed")
        return {"entries on the stream": entries, "pending entries": pending, "delayed entries": delayed}

    async def look(self, facts: Facts) -> Sequence[Finding]:
        """Its dead letters are trimmed, and go with Redis: the ledger's are looked at instead."""
        return []
