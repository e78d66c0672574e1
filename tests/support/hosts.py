"""Hosts of a cluster that share the limiter of a model endpoint."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from orchestrator import keys
from orchestrator.limits.endpoint import Endpoint
from orchestrator.limits.limiter import Limiter
from orchestrator.limits.scripts import Scripts
from orchestrator.sources.redis_client import connect


def endpoint(**changes: Any) -> Endpoint:
    """Return an endpoint that bears three calls, unless told otherwise."""
    values: dict[str, Any] = {
        "kind": "llm",
        "url": "http://user:pw@host:1/v1",
        "model": "m",
        "ceiling": 3,
        "initial": 3,
    }
    return Endpoint(**{**values, **changes})


class Hosts:
    """Limiters as several hosts have them."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self._stack = stack
        self.under_way = 0
        self.most = 0
        self.client = connect(url)
        stack.push_async_callback(self.client.aclose)

    def host(self, which: Endpoint | None = None) -> Limiter:
        """Return a limiter with a connection of its own."""
        client = connect(self.url)
        self._stack.push_async_callback(client.aclose)
        made = Limiter(which or endpoint(), Scripts(client))
        self._stack.push_async_callback(made.close)
        return made

    async def call(
        self,
        host: Limiter,
        seconds: float = 0.02,
        tokens: int = 10,
        patience: float = 20.0,
        until: asyncio.Event | None = None,
    ) -> None:
        """Make a call that takes so long, or until an event."""
        async with host.permit(tokens, patience=patience) as permit:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await (until.wait() if until else asyncio.sleep(seconds))
            self.under_way -= 1
            permit.answered(tokens)

    async def held(self) -> int:
        """Return how many permits Redis knows of."""
        return int(await self.client.zcard(keys.limit_held(endpoint().id)))

    async def leases(self) -> dict[bytes, float]:
        """Return when the lease of each permit ends that Redis knows of."""
        found: Any = await self.client.zrange(keys.limit_held(endpoint().id), 0, -1, withscores=True)
        return dict(found)

    async def nothing_held(self) -> bool:
        """Return whether it knows of none, waiting or held."""
        waiting = await self.client.zcard(keys.limit_waiting(endpoint().id))
        return await self.held() == 0 and waiting == 0

    async def state(self, name: str) -> str:
        """Return a field of the endpoint's state."""
        found = await self.client.hget(keys.limit(endpoint().id), name)
        return found.decode() if isinstance(found, bytes) else ""

    async def has_held(self, count: int) -> bool:
        """Return whether Redis knows of so many permits."""
        return await self.held() == count

    async def is_blocked(self) -> bool:
        """Return whether the endpoint has asked for a pause."""
        return bool(await self.state("blocked"))

    async def has_waiting(self) -> bool:
        """Return whether somebody waits."""
        return bool(await self.client.exists(keys.limit_waiting(endpoint().id)))
