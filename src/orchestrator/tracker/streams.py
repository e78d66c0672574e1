"""The streams as dispatch sees them: how full they are, and new entries at their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import orjson
import redis.asyncio as redis

from orchestrator import keys
from orchestrator.ledger.outbox import References
from orchestrator.sources.redis_client import reachable
from orchestrator.sources.stream_entry import reference

LUA = files("orchestrator.tracker") / "lua"


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is."""

    waiting: int  # entries nobody has read yet
    delayed: int  # retries that are not due yet
    left: int  # entries that have left it since it was made


class Streams:
    """Redis Streams by their name. Methods cost one round trip and raise DependencyError."""

    def __init__(self, client: redis.Redis) -> None:
        self._look = client.register_script((LUA / "look.lua").read_text(encoding="utf-8"))
        self._append = client.register_script((LUA / "append.lua").read_text(encoding="utf-8"))

    async def look(self, queue: str) -> Depth:
        """Return how full a queue is; one that does not exist is empty."""
        with reachable("look at the stream"):
            return Depth(*await self._look(keys=[queue, keys.delayed(queue)]))

    async def append(self, queue: str, references: Sequence[References]) -> None:
        """Append an entry for each chunk, in their order."""
        with reachable("publish"):
            await self._append(keys=[queue], args=[orjson.dumps([_run(r) for r in references])])


def _run(references: References) -> tuple[list[str], Sequence[str]]:
    """Return the fields that the entries have in common, chunk_id's name last, and the values of that one."""
    fields = reference(references.job_id, "", references.workspace)
    common = [_text(part) for field in fields.items() if field[0] != "chunk_id" for part in field]
    return [*common, "chunk_id"], references.chunk_ids


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
