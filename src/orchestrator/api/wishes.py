"""How a job shall be done, as its submitter wishes: priority, delay, failure policy, budget. Checked by hand. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from orchestrator.jobs import FailurePolicy, Priority

WISH_KEYS = frozenset({"priority", "delay_seconds", "not_before", "failure_policy", "max_failed", "budget"})
LONGEST_DELAY = timedelta(days=366)
LARGEST_BUDGET = 1_000_000_000
LARGEST_COUNT = 10_000_000

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a submission asks for beside its chunks."""

    priority: Priority = Priority.NORMAL
    not_before: datetime | None = None
    failure_policy: FailurePolicy = FailurePolicy.STRICT
    max_failed: int = 0
    budget: Decimal | None = None


def check(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (where, what is wrong) for each wish that cannot be granted."""
    yield from _check_name(document, "priority", Priority)
    yield from _check_name(document, "failure_policy", FailurePolicy)
    delay, not_before = document.get("delay_seconds"), document.get("not_before")
    if delay is not None and not (_is_number(delay) and 0 <= delay <= LONGEST_DELAY.total_seconds()):
        yield "delay_seconds", f"must be a number of seconds from 0 to {LONGEST_DELAY.total_seconds():.0f}"
    if not_before is not None and _time(not_before) is None:
        yield "not_before", f"must be a time with its zone, within {LONGEST_DELAY.days} days: 2026-01-31T18:00:00Z"
    if delay is not None and not_before is not None:
        yield "not_before", "contradicts delay_seconds; give one of them"
    most = document.get("max_failed")
    if most is not None and not (isinstance(most, int) and not isinstance(most, bool) and 0 <= most <= LARGEST_COUNT):
        yield "max_failed", f"must be a whole number from 0 to {LARGEST_COUNT}"
    if most is not None and document.get("failure_policy") != FailurePolicy.THRESHOLD:
        yield "max_failed", "is of the failure_policy threshold; ask for that too"
    budget = document.get("budget")
    if budget is not None and not (_is_number(budget) and 0 <= budget <= LARGEST_BUDGET):
        yield "budget", f"must be a number from 0 to {LARGEST_BUDGET}"


def wishes(document: Mapping[str, Any], now: datetime | None = None) -> Wishes:
    """Return the wishes of a document that `check` found sound; a delay counts from `now`."""
    delay, not_before = document.get("delay_seconds"), document.get("not_before")
    at = _time(not_before) if not_before else None
    if delay:
        at = (now or datetime.now(UTC)) + timedelta(seconds=delay)
    budget = document.get("budget")
    return Wishes(
        priority=Priority(document.get("priority") or Priority.NORMAL),
        not_before=at,
        failure_policy=FailurePolicy(document.get("failure_policy") or FailurePolicy.STRICT),
        max_failed=document.get("max_failed") or 0,
        budget=None if budget is None else Decimal(str(budget)),
    )


def _check_name(document: Mapping[str, Any], key: str, known: type[E]) -> Iterator[tuple[str, str]]:
    value = document.get(key)
    if value is not None and (not isinstance(value, str) or value not in {k.value for k in known}):
        yield key, "must be one of " + ", ".join(k.value for k in known)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _time(value: Any) -> datetime | None:
    """Return the moment, None when it is none or too far away to be meant."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo and abs(found - datetime.now(UTC)) <= LONGEST_DELAY else None
    except (ValueError, OverflowError):
        return None
