"""What all settings have in common: a declared type, a range, and an error that names the key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from orchestrator.errors import SettingsError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""Worker types, hosts and workspaces of ours: they become parts of unit names and Redis keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Base class: every value has the type its field declares; numbers are positive unless a check says more."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), hints[field.name])
        self.check()

    def check(self) -> None:
        """Raise SettingsError naming the key when values are out of range or contradict each other."""


def _check_type(name: str, value: Any, declared: Any) -> None:
    if declared is float and type(value) is int:
        return
    # A bool is an int to Python; to an operator `size: yes` is a mistake.
    plain = declared if isinstance(declared, type) else getattr(declared, "__origin__", None)
    if isinstance(plain, type) and (not isinstance(value, plain) or (plain is int and isinstance(value, bool))):
        raise SettingsError(f"{name} must be {plain.__name__}, got {value!r}")


def require(condition: bool, key: str, rule: str, value: object) -> None:
    """Raise SettingsError "<key> must be <rule>, got <value>" unless the condition holds."""
    if not condition:
        raise SettingsError(f"{key} must be {rule}, got {value!r}")


def at_least(settings: Settings, bound: float, names: Iterable[str]) -> None:
    """Raise SettingsError for the first named value below the bound."""
    for name in names:
        value = getattr(settings, name)
        require(value >= bound, name, f">= {bound:g}", value)
