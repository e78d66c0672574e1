"""A command table as its producers and its own tools see it, with a source over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from surrealdb import AsyncWsSurrealConnection, RecordID

from orchestrator.deliveries import Delivery
from orchestrator.settings.credentials import Credentials
from orchestrator.sources.base import SourceSetup
from orchestrator.sources.surrealdb import SurrealSource

LEASE = 30.0
SEED, LIBRARY = "seed 003", "surreal-commands"


def setup(directory: Path, url: str, table: str, **options: Any) -> SourceSetup:
    """What a worker type would give."""
    (directory / "source-url").write_text(url)
    return SourceSetup("commands", table, options, LEASE, Credentials(directory))


@dataclass
class Commands:
    """A command table, and the source under test."""

    client: AsyncWsSurrealConnection
    table: str
    source: SurrealSource

    async def put(self, spelling: str = LIBRARY, **columns: Any) -> RecordID:
        """Insert a command as one of its producers would; return its id."""
        if spelling == LIBRARY:
            row: dict[str, Any] = {"app": "lab", "name": "double", "args": {"x": 21}, "context": {}, "status": "new"}
        else:
            now = datetime.now(UTC)
            row = {"app": "lab", "command": "double", "input": {"x": 21}, "status": "new", "created": now}
        [made] = await self.run(f"INSERT INTO {self.table} $row", row={**row, **columns})
        found: RecordID = made["id"]
        return found

    async def run(self, text: str, **parameters: Any) -> Any:
        """Run one statement; return its result."""
        return await self.client.query(text, parameters)

    async def set(self, row: RecordID, **columns: Any) -> None:
        """Change columns as the application would."""
        await self.run("UPDATE $row MERGE $columns", row=row, columns=columns)

    async def one(self, row: RecordID) -> dict[str, Any]:
        """Return a row."""
        [found] = await self.run("SELECT * FROM $row", row=row)
        return dict(found)

    async def claim(self, limit: int = 10) -> list[Delivery]:
        """Claim without waiting."""
        return await self.source.claim("c0", limit, 0)

    async def lapse(self, row: RecordID, left: float = -1) -> None:
        """Let a lease run out, as it does when nobody renews it, or nearly: with so many seconds left."""
        await self.set(row, orchestrator={"lease_until": datetime.now(UTC) + timedelta(seconds=left)})

    async def recover(self) -> list[Delivery]:
        """Take over what is left."""
        return await self.source.recover("c0", 10)


def ago(**of: float) -> datetime:
    """Return a time in the past."""
    return datetime.now(UTC) - timedelta(**of)
