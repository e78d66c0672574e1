"""What a job of BullMQ says: its life, its producer's wishes, and what the library can read of it. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, TypeGuard

import orjson

LIFE = "orchestrator:life"
"""A field of ours in the job's hash: how often it has ended in our hands. Who retries it then begins another life."""
LONGEST_MS = 10**12  # of a backoff; what is beyond is no number of a producer
LONGEST_NUMBER = 15  # digits
PARENTS = ("fpof", "cpof", "idof", "rdof")
"""What becomes of the parent of a job that fails, as short as the library writes it; one of them at most."""


def sound(fields: Mapping[str, str]) -> dict[str, str]:
    """Return of the hash what settling needs, as the library can read it: it would raise, with the job already locked.

    The payload is not among it: that is ours to read.
    """
    given = _object(fields.get("opts"))
    options: dict[str, Any] = {"attempts": 0}
    if _is_count(given.get("attempts")):
        options["attempts"] = given["attempts"]
    for name in ("removeOnComplete", "removeOnFail"):
        if (kept := _keeping(given.get(name))) is not None:
            options[name] = kept
    if given.get("lifo") is True:
        options["lifo"] = True
    if len(said := [name for name in PARENTS if given.get(name) is True]) == 1:
        options[said[0]] = True
    return {"opts": orjson.dumps(options).decode(), "atm": str(_made(fields)), "data": "{}"}


def _keeping(value: Any) -> bool | int | dict[str, int] | None:
    """Return how many ended jobs are to be kept, or for how long; None when it says nothing that could be done."""
    if isinstance(value, bool) or _is_count(value):
        return value
    if isinstance(value, dict):
        return {name: value[name] for name in ("age", "count", "limit") if _is_count(value.get(name))} or None
    return None


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < LONGEST_MS


def generation(fields: Mapping[str, str]) -> str:
    """Return which life of which job of this id it is: an id can be used again when its job was removed."""
    return f"{number(fields, 'timestamp')}-{number(fields, LIFE)}"


def attempts_left(fields: Mapping[str, str]) -> int | None:
    """Return how many attempts the producer still allows, this one included; None when he says nothing of it.

    Those that other workers of the queue have made count.
    """
    attempts = _object(fields.get("opts")).get("attempts")
    if type(attempts) is not int or attempts < 1:
        return None
    return max(1, attempts - _made(fields))


def backoff_seconds(fields: Mapping[str, str]) -> float | None:
    """Return how long the producer wants us to wait after a failure; None when that is ours to say.

    Whoever gives `attempts` and no backoff wants no pause. A strategy that we do not know is answered by ours.
    """
    options = _object(fields.get("opts"))
    backoff = options.get("backoff")
    if not backoff:
        return None if attempts_left(fields) is None else 0.0
    if not isinstance(backoff, dict):
        backoff = {"type": "fixed", "delay": backoff}
    delay = backoff.get("delay")
    if not _is_number(delay) or not 0 <= delay < LONGEST_MS:
        return None
    if backoff.get("type") == "exponential":
        delay = min(LONGEST_MS, delay * 2 ** min(_made(fields), 40))
    elif backoff.get("type") != "fixed":
        return None
    jitter = backoff.get("jitter")
    share = jitter if _is_number(jitter) and 0 < jitter <= 1 else 0
    return random.uniform(1 - share, 1) * delay / 1000  # noqa: S311 - nothing depends on its being secret


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float)


def _made(fields: Mapping[str, str]) -> int:
    return number(fields, "atm") or number(fields, "attemptsMade")


def number(fields: Mapping[str, str], name: str) -> int:
    """Return a field as a number; 0 when it is none."""
    text = fields.get(name, "")
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else 0


def _object(text: str | None) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
