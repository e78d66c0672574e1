"""A workspace, handlers on it, and what the database says afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg

from orchestrator.deliveries import Delivery, Result
from orchestrator.handlers.base import Context
from orchestrator.handlers.lightrag.handler import LightRAGHandler
from orchestrator.handlers.lightrag.identity import document_id
from orchestrator.settings import LightRAGSettings
from tests.support.model_server import ModelServer


class Bench:
    """What a test works on."""

    def __init__(self, settings: LightRAGSettings, dsn: str, model: ModelServer) -> None:
        self.settings = settings
        self.dsn = dsn
        self.way = dsn  # how the handlers get to it
        self.model = model
        self.workspace = f"w{uuid4().hex[:12]}"
        self._handlers: list[LightRAGHandler] = []

    async def handler(self, **changes: Any) -> LightRAGHandler:
        """Return an open handler."""
        made = LightRAGHandler(replace(self.settings, **changes), self.way)
        await made.open()
        self._handlers.append(made)
        return made

    def keep(self, handler: LightRAGHandler) -> None:
        """Close an open handler with the others."""
        self._handlers.append(handler)

    async def close(self) -> None:
        """Close the handlers that are still open."""
        for made in self._handlers:
            await made.close()

    def delivery(self, chunk_id: str, text: str | None, **values: Any) -> Delivery:
        """Return a chunk of job-1 for the workspace."""
        known = {"job_id": "job-1", "workspace": self.workspace, **values}
        return Delivery("r", "h-lightrag-0", chunk_id=chunk_id, content=text, **known)

    async def run(self, handler: LightRAGHandler, chunk_id: str, text: str | None, **values: Any) -> Result:
        """Run the handler on a chunk."""
        return await handler(self.delivery(chunk_id, text, **values), Context())

    async def run_all(self, handler: LightRAGHandler, texts: dict[str, str]) -> dict[str, Result | BaseException]:
        """Run the handler on many chunks at once, and return what came of each."""
        ends = await asyncio.gather(*(self.run(handler, i, t) for i, t in texts.items()), return_exceptions=True)
        return dict(zip(texts, ends, strict=True))

    async def extracted(self) -> list[str]:
        """Return the texts the model was given so far."""
        return list(self.model.texts)

    async def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Return the rows of a statement on the LightRAG database."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def states(self) -> dict[str, str]:
        """Return the status of every document of the workspace that has a row."""
        try:
            rows = await self.sql("SELECT id, status FROM lightrag_doc_status WHERE workspace = $1", self.workspace)
        except asyncpg.UndefinedTableError:  # nobody has opened a workspace yet
            return {}
        return {row["id"]: row["status"] for row in rows}

    async def state(self, chunk_id: str, job_id: str = "job-1") -> str | None:
        """Return the status of a chunk's document."""
        return (await self.states()).get(document_id(job_id, chunk_id))

    async def rows(self) -> dict[str, int]:
        """Return how many rows of the workspace each table of LightRAG holds, without the empty ones."""
        tables = await self.sql(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name = 'workspace'"
        )
        names: Sequence[str] = [row["table_name"] for row in tables]
        counts = {
            name: (await self.sql(f'SELECT count(*) AS n FROM "{name}" WHERE workspace = $1', self.workspace))[0]["n"]
            for name in names
        }
        return {name: count for name, count in counts.items() if count}
