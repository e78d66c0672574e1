"""What metadata may be: a JSON object of bounded depth, without NUL, which PostgreSQL holds in no text. Pure."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 32  # the encoder of jsonb goes no deeper than 254
RULE = f"must be an object, nested at most {MAX_DEPTH} deep"


def is_metadata(value: Any) -> bool:
    """Return whether the value is an object that is not nested too deep."""
    return isinstance(value, dict) and not _deeper(value, MAX_DEPTH)


def _deeper(value: Any, levels: int) -> bool:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels == 0 or any(_deeper(item, levels - 1) for item in inner)
    return False
