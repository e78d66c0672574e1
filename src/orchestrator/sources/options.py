"""Read `source_options` into the dataclass that a source declares for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from orchestrator.errors import SettingsError

T = TypeVar("T")


def read_options(kind: type[T], given: Mapping[str, Any]) -> T:
    """Return the options; a field is a text, a whole number, a number, a truth value or a tuple of texts.

    Raises SettingsError naming the key that is unknown, missing or of a wrong type.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # a dataclass, which no type can say
    types = get_type_hints(kind)
    if unknown := sorted(set(given) - set(known)):
        raise SettingsError(f"source_options: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(known))}")
    for name, field in known.items():
        if name not in given and field.default is MISSING:
            raise SettingsError(f"source_options {name}: required")
    return kind(**{name: _value(name, types[name], value) for name, value in given.items()})


def _value(name: str, kind: Any, value: Any) -> Any:
    if kind in (str, int, bool):
        if type(value) is kind and value != "":
            return value
        wanted = {str: "a text", int: "a whole number", bool: "true or false"}[kind]
    elif kind is float:
        if type(value) in (int, float):
            return float(value)
        wanted = "a number"
    else:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        wanted = "a list of texts"
    raise SettingsError(f"source_options {name}: must be {wanted}, got {value!r}")
