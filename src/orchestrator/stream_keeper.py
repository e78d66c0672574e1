"""What our own stream needs beside being read: dispatch, retired consumers, and an ear for what waits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import redis.asyncio as redis

from orchestrator import keys
from orchestrator.ledger import Ledger
from orchestrator.settings import JobTrackerSettings, WorkerTypeSettings
from orchestrator.sources.redis_stream import RedisStreamSource
from orchestrator.tracker.relay import Relay
from orchestrator.tracker.streams import Streams

log = logging.getLogger("orchestrator.workers")


class StreamKeeper:
    """Keeps one worker type's stream."""

    def __init__(
        self,
        settings: WorkerTypeSettings,
        tracking: JobTrackerSettings,
        *,
        ledger: Ledger,
        client: redis.Redis,
        source: RedisStreamSource,
    ) -> None:
        self._settings = settings
        self._interval = tracking.relay_interval_seconds
        self._source = source
        self._relay = Relay(ledger, client, window=tracking.dispatch_window)
        self._streams = Streams(client)

    async def retire(self, host: str, consumers: Sequence[str]) -> None:
        """Remove consumers of slots this host no longer has, if they hold nothing; the rest go at a later start."""
        mine = keys.consumer(host, self._settings.name, 0).removesuffix("0")
        names = [c.name for c in await self._source.consumers()]
        gone = [n for n in names if n.startswith(mine) and n[len(mine) :].isdigit() and n not in consumers]
        if retired := await self._source.retire(gone):
            log.info("consumers retired", extra={"consumers": ", ".join(retired)})

    async def run(self) -> None:
        """Keep the stream filled until cancelled."""
        await self._relay.run(self._settings.stream, self._interval)

    async def waiting(self) -> int:
        """Return how many entries nobody has read yet."""
        return (await self._streams.look(self._settings.stream)).waiting
