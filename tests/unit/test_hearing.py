"""Deaf is who hears nothing, again and again, though somebody speaks and he has time."""

from __future__ import annotations

import pytest

from orchestrator.pool.hearing import LOOKS, Hearing


def test_nothing_comes_though_entries_wait() -> None:
    """Not at the first look: it may have fallen between two reads."""
    hearing = Hearing()
    found = [hearing.deaf(waiting=5, room=1, delivered=7) for _ in range(LOOKS + 1)]
    assert found == [False] * LOOKS + [True]


@pytest.mark.parametrize("change", [{"waiting": 0}, {"room": 0}, {"delivered": 8}])
def test_one_good_look_is_enough(change: dict[str, int]) -> None:
    """An empty queue, full hands, or a delivery."""
    hearing, values = Hearing(), {"waiting": 5, "room": 1, "delivered": 7}
    for _ in range(LOOKS):
        hearing.deaf(**values)
    assert not hearing.deaf(**{**values, **change})
    assert not hearing.deaf(**values)
