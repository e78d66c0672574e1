"""Producers of our own stream: through the API and straight to it; they remember what was accepted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx
import redis.asyncio as redis

from chaos.accepted import Accepted
from chaos.facts import Facts
from chaos.findings import Finding
from chaos.fleet import Fleet, key_of
from chaos.plan import Job, Noise
from chaos.sending import Sending

PAUSE_SECONDS = 0.4
MALFORMED: Mapping[str, Mapping[bytes, bytes]] = {
    "no job": {b"chunk_id": b"c", b"content": b"x"},
    "no version": {b"job_id": b"j", b"chunk_id": b"c"},
    "not utf-8": {b"job_id": b"j\xff", b"chunk_id": b"c", b"content": b"x"},
    "bad total": {b"job_id": b"j", b"chunk_id": b"c", b"content": b"x", b"chunks_total": b"-1"},
    "deep metadata": {
        b"job_id": b"j",
        b"chunk_id": b"c",
        b"content": b"x",
        b"metadata": b'{"a":' * 99 + b"1" + b"}" * 99,
    },
    "metadata no object": {b"job_id": b"j", b"chunk_id": b"c", b"content": b"x", b"metadata": b"[1]"},
    "long id": {b"job_id": b"j" * 500, b"chunk_id": b"c", b"content": b"x"},
    "nul": {b"job_id": b"j", b"chunk_id": b"c", b"content": b"a\x00b"},
    "unknown chunk": {b"job_id": b"nobody-knows", b"chunk_id": b"c", b"v": b"1", b"workspace": b"w"},
}


class StreamProducers:
    """Everybody who submits. Implements Producers."""

    def __init__(self, fleet: Fleet, stream: str) -> None:
        self.sending = Sending()
        self.wrong: list[Finding] = []
        self._fleet = fleet
        self._stream = stream
        self._accepted: dict[str, Accepted] = {}
        self._malformed: dict[str, str] = {}
        self._http = httpx.AsyncClient(base_url=fleet.api_url, timeout=15.0)
        self._redis = redis.Redis.from_url(fleet.redis_url, socket_timeout=5.0)

    def accepted(self, facts: Facts) -> Mapping[str, Accepted]:
        """Return what the API said yes to, and what was put on the stream in the calm."""
        return self._accepted

    def malformed(self) -> Mapping[str, str]:
        """Return the entries that cannot have gone with Redis before they were read."""
        after = self._fleet.emptied_ms
        return {entry: what for entry, what in self._malformed.items() if int(entry.split("-")[0]) > after}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._redis.aclose()

    async def submit(self, job: Job) -> None:
        """Submit a job until it is accepted; twice when the plan says so."""
        if job.straight:
            await self._put(job)
            if job.again:
                await self._put(job)
            return
        job_id = await self._until_accepted(job)
        if job_id is not None and job.again and job.keyed:
            second = await self._until_accepted(job)
            if second != job_id:
                what = f"{job.name} was submitted again and became {second}"
                self.wrong.append(Finding("counted_twice", what))
        if job_id is not None and job.cancel_after is not None:
            await asyncio.sleep(job.cancel_after)
            await self._cancel(job, job_id)

    async def calm(self, jobs: Sequence[Job]) -> None:
        """What lay on the stream alone may have gone with Redis: its producers send it again, as they must."""
        for job in jobs:
            if job.straight:
                await self._put(job)
                self._accepted[job.name] = Accepted(job.name, _named(job))

    async def _put(self, job: Job) -> None:
        """Put a job's chunks straight on the stream, each an entry."""
        for chunk_id, text in _named(job).items():
            fields = {"job_id": job.name, "chunk_id": chunk_id, "content": text, "workspace": job.tenant}
            if job.declared:
                fields["chunks_total"] = str(len(job.chunks))
            if len(text) % 2:
                fields["metadata"] = json.dumps({"n": chunk_id})
            await self._add(fields)

    async def disturb(self, noise: Noise) -> None:
        """Put an entry on the stream that is no new work."""
        if noise.kind == "duplicate":
            known = sorted(self._accepted)
            if known:
                job = self._accepted[known[int(noise.chance * len(known))]]
                names = sorted(job.chunks)
                chunk_id = names[int(noise.chance * 7919) % len(names)]
                await self._add({"job_id": job.job_id, "chunk_id": chunk_id, "workspace": "again", "v": "1"})
            return
        entry = await self._add(MALFORMED[noise.kind])
        self._malformed[entry] = noise.kind

    async def _add(self, fields: Mapping[str, str] | Mapping[bytes, bytes]) -> str:
        while True:
            with suppress(redis.RedisError, OSError):
                entry = await self._redis.xadd(self._stream, dict(fields))  # type: ignore[arg-type]
                return entry.decode() if isinstance(entry, bytes) else entry
            await asyncio.sleep(PAUSE_SECONDS)

    async def _until_accepted(self, job: Job) -> str | None:
        body = _body(job)
        headers = {"Authorization": f"Bearer {key_of(job.tenant)}"}
        if job.keyed:
            headers["Idempotency-Key"] = job.name
        while True:
            try:
                with self.sending:
                    response = await self._http.post("/lightrag/ingest-async", json=body, headers=headers)
            except httpx.HTTPError:
                if not job.keyed:
                    return None  # nobody knows whether it was accepted, and nobody may send it again
            else:
                if response.status_code == httpx.codes.ACCEPTED:
                    job_id = str(response.json()["job_id"])
                    cancelled = job.cancel_after is not None
                    self._accepted[job_id] = Accepted(job_id, _named(job), job.policy, job.max_failed, cancelled)
                    return job_id
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    what = f"{job.name} was refused: {response.status_code} {response.text[:300]}"
                    self.wrong.append(Finding("lost", what))
                    return None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _cancel(self, job: Job, job_id: str) -> None:
        headers = {"Authorization": f"Bearer {key_of(job.tenant)}"}
        until = time.monotonic() + 30
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):
                response = await self._http.post(f"/jobs/{job_id}/cancel", headers=headers)
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    return
            await asyncio.sleep(PAUSE_SECONDS)


def _named(job: Job) -> dict[str, str]:
    """Return the chunks by their ids; each text ends with a number, so that no two are the same."""
    return {f"c{n:05d}": f"{what} {n}" for n, what in enumerate(job.chunks)}


def _body(job: Job) -> dict[str, Any]:
    chunks = [{"text": text, "chunk_id": name, "source_uri": f"chaos:{name}"} for name, text in _named(job).items()]
    wishes = {"max_failed": job.max_failed} if job.policy == "threshold" else {}
    return {"chunks": chunks, "source_type": "chaos", "failure_policy": job.policy, **wishes}
