"""SurrealDB: the true engine, behind the socket of ours that tests/support/surreal_server.py names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.conformance.backend import Message, ServerBackend
from tests.support.surreal_server import surreal_query, surreal_server


class SurrealBackend(ServerBackend):
    """Implements Backend and Restarts; the payload is in the arguments of a command, where it may be anything."""

    source = "surrealdb"
    many = 3000  # each costs the engine 1.6 ms of processor, on two cores that it shares with all else

    def __init__(self) -> None:
        super().__init__(surreal_server)

    def settings(self, queue: str) -> dict[str, Any]:
        """Return what is its own."""
        return {"stream": queue, "source_options": {"payload_field": "args"}}

    def credentials(self) -> dict[str, str]:
        """Return the URL."""
        return {"source-url": self.server.url}

    async def restart(self) -> None:
        """Cut its power, and start it with its data."""
        self.server.kill()
        self.server.start()

    async def prepare(self, queue: str) -> None:
        """Make the table, as its producers would."""
        await surreal_query(self.server, f"DEFINE TABLE IF NOT EXISTS `{queue}` SCHEMALESS")

    async def put(self, queue: str, messages: Sequence[Message]) -> list[str]:
        """Insert a command each."""
        receipts: list[str] = []
        for start in range(0, len(messages), 1000):
            command = {"app": "test", "name": "work", "status": "new", "created": datetime.now(UTC)}
            new = [{**command, "args": message.payload} for message in messages[start : start + 1000]]
            receipts += await surreal_query(
                self.server, f"INSERT INTO `{queue}` $rows RETURN VALUE record::id(id)", rows=new
            )
        return receipts

    async def left(self, queue: str) -> int:
        """Count what is new or in work."""
        counted = await surreal_query(
            self.server, f"SELECT count() FROM `{queue}` WHERE status IN ['new', 'running'] GROUP ALL"
        )
        return sum(row["count"] for row in counted)

    async def dead(self, queue: str) -> list[str]:
        """Return the errors of what failed."""
        failed = await surreal_query(self.server, f"SELECT error_message FROM `{queue}` WHERE status = 'failed'")
        return [row["error_message"] for row in failed]
