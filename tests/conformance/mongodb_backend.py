"""MongoDB, by the stand-in whose limits tests/support/mongowire.py names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from pymongo import AsyncMongoClient

from tests.conformance.backend import Message, ServerBackend
from tests.support.mongo_server import mongo_server


class MongoBackend(ServerBackend):
    """Implements Backend; the payload is in a field of its own, where it may be anything."""

    source = "mongodb"
    many = 1000  # the stand-in looks at every document for every question

    def __init__(self) -> None:
        super().__init__(mongo_server)

    def settings(self, queue: str) -> dict[str, Any]:
        """Return what is its own."""
        return {"stream": queue, "source_options": {"payload_field": "payload"}}

    def credentials(self) -> dict[str, str]:
        """Return the URL."""
        return {"source-url": self.server.url}

    async def prepare(self, queue: str) -> None:
        """A collection is there when it is used."""

    @asynccontextmanager
    async def _documents(self, queue: str) -> AsyncIterator[Any]:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self.server.url)
        async with client:
            yield client.get_default_database()[queue]

    async def put(self, queue: str, messages: Sequence[Message]) -> list[str]:
        """Insert a document each."""
        now = datetime.now(UTC)
        new = [{"status": "pending", "created_at": now, "payload": message.payload} for message in messages]
        async with self._documents(queue) as documents:
            done = await documents.insert_many(new)
        return [str(made) for made in done.inserted_ids]

    async def left(self, queue: str) -> int:
        """Count what is pending or in work."""
        async with self._documents(queue) as documents:
            return int(await documents.count_documents({"status": {"$in": ["pending", "processing"]}}))

    async def dead(self, queue: str) -> list[str]:
        """Return the errors of what failed."""
        async with self._documents(queue) as documents:
            return [document["error"] async for document in documents.find({"status": "failed"})]
