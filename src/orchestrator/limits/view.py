"""What each model endpoint is doing, as Redis knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import redis.asyncio as redis

from orchestrator import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """An endpoint that was called within the last hour."""

    kind: str
    url: str
    model: str
    limit: int  # calls at once it is given now
    ceiling: int  # and never more than this
    in_use: int
    waiting: int
    throttled_until: datetime | None
    refused: int  # calls since it is known
    requests_per_minute: int
    tokens_per_minute: int
    last_call: datetime


async def limits_of(client: redis.Redis) -> list[LimitView]:
    """Return the endpoints in use, by kind and URL. Raises what redis-py raises."""
    endpoints: Any = await client.zrange(keys.LIMIT_INDEX, 0, -1, withscores=True)
    time: Any = await client.time()
    seconds, micro = time
    now = seconds * 1000 + micro // 1000
    found = [await _view(client, name.decode(), float(last), now) for name, last in endpoints]
    return sorted((v for v in found if v is not None), key=lambda v: (v.kind, v.url, v.model))


async def _view(client: redis.Redis, name: str, last: float, now: int) -> LimitView | None:
    async with client.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.limit(name))
        pipe.zcount(keys.limit_held(name), f"({now}", "+inf")
        pipe.zcount(keys.limit_asked(name), f"({now}", "+inf")
        fields, in_use, waiting = await pipe.execute()
    if b"about" not in fields:  # gone since the index was read
        return None
    about: dict[str, Any] = orjson.loads(fields[b"about"])
    blocked = int(float(fields.get(b"blocked", 0)))
    return LimitView(
        kind=about["kind"],
        url=about["url"],
        model=about["model"],
        limit=min(int(fields.get(b"limit", 0)), about["ceiling"]),
        ceiling=about["ceiling"],
        in_use=in_use,
        waiting=waiting,
        throttled_until=_time(blocked) if blocked > now else None,
        refused=int(fields.get(b"refused", 0)),
        requests_per_minute=about["requests_per_minute"],
        tokens_per_minute=about["tokens_per_minute"],
        last_call=_time(last),
    )


def _time(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
