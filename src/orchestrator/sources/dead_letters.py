"""Dead letters on the side of Redis: entries put back on their stream, and the copies in `<stream>:dead` removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import redis.asyncio as redis

from orchestrator import keys
from orchestrator.sources.redis_client import reachable, script
from orchestrator.sources.stream_entry import reference

BETWEEN = "\x00"  # in no name of ours


async def put_back(client: redis.Redis, stream: str, payloads: Sequence[Mapping[str, Any]]) -> None:
    """Append entries as they came, by what the ledger kept of them. Raises DependencyError."""
    with reachable("put entries back"):
        async with client.pipeline(transaction=False) as pipe:
            for payload in payloads:
                pipe.xadd(stream, entry_of(payload))  # type: ignore[arg-type]  # their dict is invariant
            await pipe.execute()


def entry_of(payload: Mapping[str, Any]) -> dict[str | bytes, str | bytes]:
    """Return the fields of the entry that was buried. Pure."""
    if "content" not in payload:
        return reference(payload["job_id"], payload["chunk_id"], payload.get("workspace", ""))
    fields: dict[str | bytes, str | bytes] = {n: str(payload[n]) for n in ("job_id", "chunk_id", "content")}
    fields |= {n: str(payload[n]) for n in ("workspace", "source_uri", "chunks_total") if n in payload}
    if "metadata" in payload:
        fields["metadata"] = orjson.dumps(payload["metadata"]).decode()
    return fields


async def forget(
    client: redis.Redis, stream: str, *, receipts: Sequence[str] = (), chunks: Sequence[tuple[str, str]] = ()
) -> int:
    """Remove the copies of letters from `<stream>:dead`, by their entry or by their chunk; return how many there were.

    Raises DependencyError.
    """
    wanted = [f"entry{BETWEEN}{r}" for r in receipts] + [f"chunk{BETWEEN}{j}{BETWEEN}{c}" for j, c in chunks]
    if not wanted:
        return 0
    with reachable("remove copies of dead letters"):
        return int(await client.register_script(script("forget"))(keys=[keys.dead(stream)], args=wanted))
