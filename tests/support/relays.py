"""Relays that keep a queue filled, as workers' do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.tasks import end
from orchestrator.tracker.relay import Relay


@asynccontextmanager
async def kept(*relays: Relay) -> AsyncIterator[None]:
    """Keep the queue `q` filled."""
    running = [asyncio.create_task(relay.run("q", 0.1)) for relay in relays]
    try:
        yield
    finally:
        await end(running)
