"""What a submission may wish beside its chunks, and what it is told when it cannot be granted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.wishes import Wishes, check, wishes
from orchestrator.jobs import FailurePolicy, Priority

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_nothing_wished_is_the_ordinary_job() -> None:
    """Normal priority, at once, strict, without a budget."""
    assert list(check({})) == [] and wishes({}) == Wishes()


def test_wishes_are_read() -> None:
    """A delay counts from the submission; money is decimal, never binary."""
    found = wishes({"priority": "high", "delay_seconds": 90, "budget": 0.1}, NOW)
    assert (found.priority, found.not_before, found.budget) == (
        Priority.HIGH,
        NOW + timedelta(seconds=90),
        Decimal("0.1"),
    )
    found = wishes({"failure_policy": "threshold", "max_failed": 3})
    assert (found.failure_policy, found.max_failed) == (FailurePolicy.THRESHOLD, 3)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    assert wishes({"not_before": at.isoformat()}).not_before == at


@pytest.mark.parametrize(
    ("wish", "where", "says"),
    [
        ({"priority": "urgent"}, "priority", "high, normal, low"),
        ({"failure_policy": 1}, "failure_policy", "fail_fast"),
        ({"delay_seconds": -1}, "delay_seconds", "number of seconds"),
        ({"delay_seconds": True}, "delay_seconds", "number of seconds"),
        ({"delay_seconds": 10**9}, "delay_seconds", "number of seconds"),
        ({"not_before": "tomorrow"}, "not_before", "its zone"),
        ({"not_before": "2026-01-01T00:00:00"}, "not_before", "its zone"),
        ({"not_before": "9999-12-31T23:59:59-23:59"}, "not_before", "its zone"),
        ({"max_failed": 3}, "max_failed", "threshold"),
        ({"failure_policy": "threshold", "max_failed": 1.5}, "max_failed", "whole number"),
        ({"budget": "10"}, "budget", "must be a number"),
    ],
)
def test_what_cannot_be_granted_is_said(wish: dict[str, Any], where: str, says: str) -> None:
    """Where it is, and what would be right."""
    [(found, message)] = check(wish)
    assert found == where and says in message


def test_two_delays_contradict_each_other() -> None:
    """Neither is silently preferred."""
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert [where for where, _ in check({"delay_seconds": 5, "not_before": at})] == ["not_before"]


KEYS = st.sampled_from(["priority", "delay_seconds", "not_before", "failure_policy", "max_failed", "budget"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(KEYS, VALUES))
def test_whatever_is_sent_is_refused_or_read(document: dict[str, Any]) -> None:
    """Nothing raises on the way."""
    if not list(check(document)):
        wishes(document)
