"""Worker processes over one queue, with times short enough for a test; the ledger says what became of its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.ledger import Ledger
from tests.conformance.backend import Backend, Message
from tests.support.process import Process, program, write_settings
from tests.support.wait import wait_until

KIND = "work"
LEASE = 1.5
TIMES = {
    "read_block_seconds": 0.2,
    "heartbeat_seconds": 0.4,
    "lease_seconds": LEASE,
    "grace_period_seconds": 10.0,
    "backoff_base_seconds": 0.05,
    "backoff_cap_seconds": 0.1,
    "timeout_seconds": 30.0,
}


def message(**wish: Any) -> Message:
    """Return a message that wishes this of the noop handler."""
    return Message({"content": "text", "metadata": wish} if wish else {"content": "text"})


@dataclass(frozen=True, slots=True)
class Workers:
    """Where the processes of a test work."""

    backend: Backend
    queue: str
    ledger: Ledger
    dsn: str
    redis_url: str
    directory: Path

    def start(
        self,
        host: str = "h",
        *,
        rules: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        **sizing: Any,
    ) -> AbstractAsyncContextManager[Process]:
        """Run a worker process of a host of that name; `rules` are further source_options."""
        home = self.directory / host
        home.mkdir(exist_ok=True)
        kind = {"handler": "noop", "source": self.backend.source, **self.backend.settings(self.queue)}
        if rules:
            kind["source_options"] = {**kind.get("source_options", {}), **rules}
        values = {"host": host, "size": 2, "batch": 4, "types": {KIND: kind}, **TIMES, **sizing}
        options = write_settings(home, redis_url=self.redis_url, dsn=self.dsn, **values)
        for name, content in self.backend.credentials().items():
            (home / "credentials" / name).write_text(content)
        return program(home, "worker", KIND, *options, environment=environment)

    async def put(self, *messages: Message) -> None:
        """Send messages to the queue."""
        await self.backend.put(self.queue, messages)

    async def states(self) -> Counter[tuple[str, int, int]]:
        """Return how many chunks stand at each (status, attempts, deliveries)."""
        rows = await self.ledger.database.run(
            lambda c: c.fetch("SELECT status, attempts, deliveries, count(*) AS n FROM chunks GROUP BY 1, 2, 3")
        )
        return Counter({(r["status"], r["attempts"], r["deliveries"]): r["n"] for r in rows})

    async def count(self, status: str) -> int:
        """Return how many chunks have this status."""
        return sum(n for (found, *_), n in (await self.states()).items() if found == status)

    async def until(self, status: str, count: int, within: float = 30.0) -> None:
        """Wait until so many chunks have this status."""

        async def look() -> bool:
            return await self.count(status) >= count

        await wait_until(look, within=within, what=f"{count} chunks {status}")

    async def between_runs(self) -> timedelta:
        """Return how long after its first run the last one of the one chunk began."""
        asked = "SELECT c.started_at - j.started_at FROM chunks c JOIN jobs j USING (job_id)"
        passed: timedelta = await self.ledger.database.run(lambda c: c.fetchval(asked))
        return passed

    async def until_held(self, host: str) -> None:
        """Wait until a host has chunks in its hands."""

        async def look() -> bool:
            held = "SELECT count(*) FROM chunks WHERE status = 'running' AND starts_with(consumer, $1)"
            return bool(await self.ledger.database.run(lambda c: c.fetchval(held, f"{host}-")))

        await wait_until(look, what=f"chunks in the hands of {host}")

    async def done(self) -> None:
        """Wait until the queue holds nothing, and the jobs' states and counters say the same as their chunks."""

        async def empty() -> bool:
            return await self.backend.left(self.queue) == 0

        await wait_until(empty, what="an empty queue")
        wrong = await self.ledger.database.run(
            lambda c: c.fetch("SELECT job_id, status FROM jobs WHERE status NOT IN ('completed', 'failed')")
        )
        assert wrong == []
        twice = await self.ledger.database.run(
            lambda c: c.fetch(
                "SELECT job_id, type FROM events WHERE job_id IS NOT NULL AND type ~ '(completed|failed|started)$'"
                " GROUP BY 1, 2 HAVING count(*) > 1"
            )
        )
        assert twice == []
