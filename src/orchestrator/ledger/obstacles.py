"""The obstacles table: what keeps workers from their work, though they live."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """What the worker of a host says it cannot do."""

    host: str
    what: str  # with what to look at
    credentials: bool  # a server answers and refuses ours; otherwise it is away


class Obstacles:
    """Obstacles in the ledger: one a host and worker type."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, worker_type: str, obstacle: Obstacle) -> None:
        """Write what keeps a worker from its work; it has to say so again within a lease."""
        await self._database.execute("obstacle_put", obstacle.host, worker_type, obstacle.what, obstacle.credentials)

    async def remove(self, worker_type: str, host: str) -> None:
        """Write that nothing keeps it any more."""
        await self._database.execute("obstacle_remove", host, worker_type)

    async def of_type(self, worker_type: str, within_seconds: float) -> list[Obstacle]:
        """Return what workers of a type have said within that time, by host."""
        return [Obstacle(**row) for row in await self._database.fetch("obstacles", worker_type, within_seconds)]
