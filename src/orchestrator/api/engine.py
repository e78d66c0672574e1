"""The seam to whatever answers questions, and its making at the first question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from orchestrator.settings import LightRAGSettings
from orchestrator.settings.credentials import Credentials
from orchestrator.settings.load import load


class Engine(Protocol):
    """Answers questions from the graph of a workspace."""

    async def query(self, question: str, *, mode: str, workspace: str) -> Any:
        """Return an object with `answer` and `sources`. Raises DependencyError when a service does not answer."""

    async def close(self) -> None:
        """Close connections."""


class LazyEngine:
    """An engine made at the first question: its libraries take seconds and much memory to load."""

    def __init__(self, make: Callable[[], Awaitable[Engine]]) -> None:
        self._make = make
        self._made: Engine | None = None
        self._making = asyncio.Lock()

    async def query(self, question: str, *, mode: str, workspace: str) -> Any:
        """Ask the engine, after making it if there is none yet; what fails to be made is made again next time."""
        async with self._making:
            if self._made is None:
                self._made = await self._make()
        return await self._made.query(question, mode=mode, workspace=workspace)

    async def close(self) -> None:
        """Close the engine if there is one."""
        if self._made is not None:
            await self._made.close()


def configured_engine(settings_dir: Path, credentials: Credentials) -> Engine | None:
    """Return an engine, None when this host has no LightRAG settings. Wrong settings raise SettingsError at once."""
    path = settings_dir / "workers" / "lightrag_processor.py"
    if not path.exists():
        return None
    settings = load(path, LightRAGSettings)
    credentials.read("lightrag-dsn")  # a missing one is said at start, not at the first question

    async def make() -> Engine:
        module = await asyncio.to_thread(import_module, "orchestrator.handlers.lightrag.query")
        engine: Engine = module.QueryEngine(settings, credentials)
        return engine

    return LazyEngine(make)
