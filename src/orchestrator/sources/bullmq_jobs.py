"""What a job of BullMQ says: its life, its producer's wishes, and what the library can read of it. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import orjson

LIFE = "orchestrator:life"
"""A field of ours in the job's hash: how often it has ended in our hands. Who retries it then begins another life."""
LONGEST_MS = 10**12  # of a backoff; what is beyond is no number of a producer


def sound(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the hash as the library can read it: it would raise on bad JSON, with the job already locked."""
    options = {name: value for name, value in _object(fields.get("opts")).items() if _is_plain(name, value)}
    kept = {**fields, "opts": orjson.dumps(options).decode(), "progress": "0", "stacktrace": "[]", "returnvalue": ""}
    if not _is_json(fields.get("data", "")):
        kept["data"] = "{}"
    for name in ("delay", "priority", "timestamp", "processedOn", "finishedOn", "ats", "atm", "attemptsMade", "stc"):
        kept[name] = str(number(fields, name))
    return kept


def _is_plain(name: str, value: Any) -> bool:
    """Return whether the library and its scripts can calculate with an option."""
    if name in {"attempts", "delay", "priority", "timestamp", "stackTraceLimit", "keepLogs"}:
        return type(value) is int
    if name in {"removeOnComplete", "removeOnFail"}:
        return isinstance(value, bool | int | dict)
    return name not in {"backoff", "parent"} or isinstance(value, dict | int)


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
    if type(backoff) is int:
        backoff = {"type": "fixed", "delay": backoff}
    if not isinstance(backoff, dict) or type(delay := backoff.get("delay")) is not int or not 0 <= delay < LONGEST_MS:
        return None
    if backoff.get("type") == "exponential":
        delay = min(LONGEST_MS, delay * 2 ** min(_made(fields), 40))
    elif backoff.get("type") != "fixed":
        return None
    jitter = backoff.get("jitter")
    share = jitter if isinstance(jitter, int | float) and 0 < jitter <= 1 else 0
    return random.uniform(1 - share, 1) * delay / 1000  # noqa: S311 - nothing depends on its being secret


def _made(fields: Mapping[str, str]) -> int:
    return number(fields, "atm") or number(fields, "attemptsMade")


def number(fields: Mapping[str, str], name: str) -> int:
    """Return a field as a number; 0 when it is none."""
    text = fields.get(name, "")
    return int(text) if text.isdecimal() else 0


def _object(text: str | None) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
