"""The fast view of a job: a Redis hash with the seed's fields (E-39), written from the ledger, never counted up."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import orjson
import redis.asyncio as redis

from orchestrator import keys
from orchestrator.ledger.jobs import Job
from orchestrator.sources.redis_client import reachable

SCRIPT = (files("orchestrator.tracker") / "lua" / "write_view.lua").read_text(encoding="utf-8")


class RedisView:
    """Views of jobs. One is whole or absent: no command adds a field to an expired one (X-21)."""

    def __init__(self, client: redis.Redis, ttl_seconds: int) -> None:
        self._client = client
        self.ttl_seconds = ttl_seconds
        self._write = client.register_script(SCRIPT)

    async def write(self, jobs: Sequence[Job]) -> None:
        """Write the views in one round trip; each lives `ttl_seconds` from now. An older version never overwrites.

        Raises DependencyError.
        """
        if not jobs:
            return
        with reachable("write job views"):
            async with self._client.pipeline(transaction=False) as pipe:
                for job in jobs:
                    pairs = [part for pair in fields_of(job).items() for part in pair]
                    args: list[int | str] = [job.version, self.ttl_seconds, *pairs]
                    await self._write(keys=[keys.job(job.job_id)], args=args, client=pipe)
                await pipe.execute()

    async def read(self, job_id: str) -> dict[str, str] | None:
        """Return the view's fields, None when it has expired or never was."""
        found: dict[bytes | str, bytes | str] = await self._client.hgetall(keys.job(job_id))
        return {_text(k): _text(v) for k, v in found.items()} or None


def fields_of(job: Job) -> dict[str, str]:
    """Return the view's fields of a job: all text, times in ISO 8601 UTC, absent values empty. Pure."""
    return {
        "status": job.status.value,
        "job_type": job.job_type,
        "tenant": job.tenant,
        "workspace": job.workspace,
        "chunks_total": str(job.chunks_total),
        "chunks_processed": str(job.processed),
        "chunks_failed": str(job.failed),
        "chunks_cancelled": str(job.cancelled),
        "chunks_queued": str(job.queued),
        "chunks_running": str(job.running),
        "percent_complete": f"{job.percent_complete:.2f}",
        "entities": str(job.entities),
        "relations": str(job.relations),
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else "",
        "completed_at": job.completed_at.isoformat() if job.completed_at else "",
        "metadata": orjson.dumps(job.metadata).decode(),
        "error_message": job.error_message or "",
        "priority": job.priority.value,
        "not_before": job.not_before.isoformat() if job.not_before else "",
        "failure_policy": job.failure_policy.value,
        "max_failed": str(job.max_failed),
        "model_calls": str(job.model_calls),
        "prompt_tokens": str(job.prompt_tokens),
        "completion_tokens": str(job.completion_tokens),
        "cost": str(job.cost),
        "budget": "" if job.budget is None else str(job.budget),
    }


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
