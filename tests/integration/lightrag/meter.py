"""Handlers with limits and prices, and what their runs say and are charged."""

from __future__ import annotations

from typing import Any

from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RejectError, RetryError
from orchestrator.handlers.base import Context
from orchestrator.handlers.lightrag.handler import LightRAGHandler
from orchestrator.settings import LightRAGSettings
from tests.integration.lightrag.bench import Bench

TEXT = "Helios Labs acquired Titan Corp. Titan Corp employs Anna Keller."
PRICES = {"rules": (2.0, 10.0), "hash": (0.1, 0.0)}


def texts(count: int) -> dict[str, str]:
    """Return chunks of one sentence."""
    return {f"c{i}": f"Unit{i} Works supplies Helios Labs." for i in range(count)}


async def opened(bench: Bench, redis_url: str | None = None, timeout_seconds: float = 60.0, **changes: Any) -> Any:
    """Return an open handler that shares its limits through Redis."""
    settings = LightRAGSettings(**{**_values(bench), **changes})
    made = LightRAGHandler(settings, bench.way, redis_url=redis_url, timeout_seconds=timeout_seconds)
    await made.open()
    bench.keep(made)
    return made


def _values(bench: Bench) -> dict[str, Any]:
    names = LightRAGSettings.__dataclass_fields__
    return {name: getattr(bench.settings, name) for name in names} | {"price_table": PRICES}


class Recording(Context):
    """A context that remembers every step."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self.steps = steps

    def step(self, doing: str) -> None:
        """Remember it."""
        self.steps.append(doing)


class Meter:
    """Runs of a handler, and what each was charged."""

    def __init__(self, bench: Bench, handler: LightRAGHandler) -> None:
        self.bench = bench
        self.handler = handler

    async def run(self, chunk_id: str, text: str, **values: Any) -> tuple[Context, Result | Exception]:
        """Run the handler on a chunk."""
        context = Context()
        delivery: Delivery = self.bench.delivery(chunk_id, text, **values)
        try:
            return context, await self.handler(delivery, context)
        except (RetryError, RejectError) as error:
            return context, error
