"""The ledger: PostgreSQL tables that are the truth about every job and chunk."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.ledger.audit import Audit
from orchestrator.ledger.chunks import Chunks
from orchestrator.ledger.database import Database
from orchestrator.ledger.dead_letters import DeadLetters
from orchestrator.ledger.jobs import Jobs
from orchestrator.ledger.obstacles import Obstacles
from orchestrator.ledger.outbox import Outbox
from orchestrator.ledger.pauses import Pauses
from orchestrator.ledger.workers import Workers


@dataclass(frozen=True, slots=True)
class Ledger:
    """The tables, over one pool of connections."""

    database: Database
    jobs: Jobs
    chunks: Chunks
    outbox: Outbox
    workers: Workers
    obstacles: Obstacles
    dead_letters: DeadLetters
    pauses: Pauses
    audit: Audit

    @classmethod
    async def open(cls, dsn: str, *, connections: int = 8, name: str = "orchestrator") -> Ledger:
        """Connect. Raises DependencyError when PostgreSQL does not answer."""
        database = await Database.open(dsn, connections=connections, name=name)
        return cls(
            database=database,
            jobs=Jobs(database),
            chunks=Chunks(database),
            outbox=Outbox(database),
            workers=Workers(database),
            obstacles=Obstacles(database),
            dead_letters=DeadLetters(database),
            pauses=Pauses(database),
            audit=Audit(database),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.database.close()
