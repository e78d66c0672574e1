"""Answers from the graph of a workspace. Only reads: takes no lock, and leaves nothing in any workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from orchestrator.handlers.lightrag import environment, storages
from orchestrator.handlers.lightrag.accounts import Accounts
from orchestrator.handlers.lightrag.handler import ENGINE
from orchestrator.handlers.lightrag.identity import source_uri, workspace_name
from orchestrator.limits.pair import Limiters
from orchestrator.settings import LightRAGSettings
from orchestrator.settings.credentials import Credentials

if TYPE_CHECKING:  # importing it imports LightRAG
    from orchestrator.handlers.lightrag.engine import Engine, Engines

EXCERPT_LENGTH = 500
PATIENCE_SECONDS = 30.0  # somebody waits for the answer: say that the model is busy rather than wait for it
SHORTEST = 3
TOO_SHORT = "Please ask with at least three characters."


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text an answer rests on."""

    uri: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the passages that were put before the model."""

    answer: str
    passages: Sequence[Passage] = ()

    @property
    def sources(self) -> list[str]:
        """Return the source of each passage once, the most relevant first."""
        return list(dict.fromkeys(p.uri for p in self.passages))


@dataclass(slots=True, eq=False)
class _Seat:
    """A workspace that was asked something, and when it may be left."""

    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    engine: Engine | None = None
    users: int = 0
    timer: asyncio.TimerHandle | None = None


class QueryEngine:
    """One for a process. LightRAG is loaded at the first question."""

    def __init__(self, settings: LightRAGSettings, credentials: Credentials) -> None:
        """Raise CredentialError when a credential is missing or wrong, SettingsError when a storage cannot be used."""
        storages.check(settings)
        self._settings = settings
        self._dsn = credentials.read("lightrag-dsn")
        self._keys = {
            "llm_key": credentials.find("llm-api-key"),
            "embedding_key": credentials.find("embedding-api-key"),
        }
        self._environment = environment.variables(settings, self._dsn, storages.secrets(settings, credentials.find))
        self._loading = asyncio.Lock()
        self._redis_url = credentials.find("redis-url")
        self._limiters: Limiters | None = None
        self._engines: Engines | None = None
        self._seats: dict[str, _Seat] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def workspaces(self) -> list[str]:
        """Return the workspaces whose engines are open."""
        return list(self._seats)

    async def query(self, question: str, *, mode: str, workspace: str) -> Answer:
        """Answer a question. Raises DependencyError when the database or a model does not answer."""
        if len(question.strip()) < SHORTEST:
            return Answer(TOO_SHORT)
        name = workspace_name(workspace)
        seat = self._seats.setdefault(name, _Seat())
        seat.users += 1
        if seat.timer is not None:
            seat.timer.cancel()
        try:
            async with seat.gate:
                if seat.engine is None:
                    seat.engine = await (await self._loaded()).open(name, read_only=True)
            return _answer(await seat.engine.ask(question, mode))
        finally:
            seat.users -= 1
            if seat.users == 0:
                loop = asyncio.get_running_loop()
                seat.timer = loop.call_later(self._settings.idle_engine_seconds, self._leave, name, seat)

    async def close(self) -> None:
        """Close all engines."""
        async with AsyncExitStack() as stack:
            if self._limiters is not None:
                stack.push_async_callback(self._limiters.close)
            if self._engines is not None:
                stack.push_async_callback(self._engines.close)
            for seat in self._seats.values():
                if seat.timer is not None:
                    seat.timer.cancel()
                if seat.engine is not None:
                    stack.push_async_callback(seat.engine.close)
            self._seats.clear()
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _loaded(self) -> Engines:
        async with self._loading:
            if self._engines is None:
                environment.apply(self._environment)
                module = await asyncio.to_thread(import_module, ENGINE)
                self._limiters = Limiters(self._settings, self._redis_url)
                self._engines = module.Engines(
                    self._settings,
                    self._dsn,
                    **self._keys,
                    limiters=self._limiters,
                    accounts=Accounts(),  # no job asks: nobody is charged
                    patience_seconds=PATIENCE_SECONDS,
                )
        return self._engines

    def _leave(self, name: str, seat: _Seat) -> None:
        """Close the engine of a workspace nobody asks any more."""
        if seat.users == 0 and self._seats.get(name) is seat:
            del self._seats[name]
            if seat.engine is not None:
                task = asyncio.create_task(seat.engine.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)


def _answer(found: Mapping[str, Any]) -> Answer:
    """Return what LightRAG found, with its file paths read back into source addresses."""
    text = str(found["llm_response"]["content"])
    data = found.get("data") or {}
    paths = {str(r.get("file_path") or "") for r in data.get("references") or ()}
    for path in sorted(paths, key=len, reverse=True):
        if path:
            text = text.replace(path, source_uri(path))
    chunks = data.get("chunks") or ()
    return Answer(text, [Passage(source_uri(str(c["file_path"])), str(c["content"])[:EXCERPT_LENGTH]) for c in chunks])
