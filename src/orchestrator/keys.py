"""Every Redis key we write, and how long it lives. No other module spells a key."""

from __future__ import annotations

from hashlib import sha256


def job(job_id: str) -> str:
    """Return the key of the fast view: a hash, TTL `job_status_ttl_seconds` renewed at each write."""
    return f"job:{job_id}"


def delayed(stream: str) -> str:
    """Return the sorted set of retries not yet due: gone when empty; members leave when due."""
    return f"{stream}:delayed"


def dead(stream: str) -> str:
    """Return the stream of dead letters: trimmed to its newest 10,000; the ledger keeps them all."""
    return f"{stream}:dead"


LIMIT_INDEX = "limit:index"
"""Sorted set of the model endpoints in use, by the time of their last call: lives an hour after the last of them."""


def limit(endpoint: str) -> str:
    """Return the hash of a model endpoint's limiter, `endpoint` being its hash: lives an hour after its last call."""
    return f"limit:{endpoint}"


def limit_held(endpoint: str) -> str:
    """Return the sorted set of its permits by the end of their lease: lives as long as the longest of them."""
    return f"limit:{endpoint}:held"


def limit_waiting(endpoint: str) -> str:
    """Return the sorted set of who waits for a permit, in order: lives ten seconds after the last of them asked."""
    return f"limit:{endpoint}:waiting"


def limit_asked(endpoint: str) -> str:
    """Return the sorted set of when those who wait are to be forgotten: lives as long as `limit_waiting`."""
    return f"limit:{endpoint}:asked"


def consumer(host: str, worker_type: str, slot: int) -> str:
    """Return the name of a slot in its consumer group: unique in the cluster, stable across restarts (X-11)."""
    return f"{host}-{worker_type}-{slot}"


def lock_id(name: str) -> int:
    """Return the PostgreSQL advisory lock of a name: the first 64 bits of its SHA-256, signed."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)
