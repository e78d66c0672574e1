"""The calls of a method, counted: how often it is asked does not depend on the machine, as seconds do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(slots=True)
class Calls:
    """What became of them so far."""

    begun: int = 0
    returned: list[Any] = field(default_factory=list)


def calls_of(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Calls:
    """Count the calls of an async method, of one object or of all of a class."""
    calls, method = Calls(), getattr(owner, name)

    async def counted(*args: Any) -> Any:
        calls.begun += 1
        found = await method(*args)
        calls.returned.append(found)
        return found

    monkeypatch.setattr(owner, name, counted)
    return calls
