"""How far a stream runs ahead: as far as two seconds of the present work, never less than the floor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tracker.streams import Depth
from orchestrator.tracker.window import DELAYED_MOST, LATEST_SECONDS, SECONDS, SOONEST_SECONDS, WATCHED_SECONDS, Window


def test_slow_work_has_the_floor_and_no_more() -> None:
    """One chunk a second: what is submitted now waits behind sixteen, not behind a thousand."""
    window = Window(16)
    for second in range(100):
        assert window.size(Depth(waiting=0, delayed=0, left=second), float(second)) == 16


def test_fast_work_has_two_seconds_of_it() -> None:
    """30,000 a second, looked at every 50 ms."""
    window = Window(16)
    for look in range(100):
        size = window.size(Depth(waiting=0, delayed=0, left=look * 1500), look * 0.05)
    assert abs(size - 30_000 * SECONDS) <= 1500


def test_it_opens_within_a_few_looks() -> None:
    """Workers that empty the stream between two looks get a multiple at each."""
    window, left, sizes = Window(16), 0, []
    for look in range(12):
        left += window.room(Depth(waiting=0, delayed=0, left=left), look * 0.005)
        sizes.append(left)
    assert sizes[-1] > 16_000


def test_what_was_watched_for_a_moment_is_not_taken_for_the_rate() -> None:
    """A thousand that left within a millisecond are not two million in two seconds."""
    window = Window(16)
    window.size(Depth(0, 0, 0), 0.0)
    assert window.size(Depth(0, 0, 1000), 0.001) == 1000 * SECONDS / WATCHED_SECONDS


def test_work_that_stops_closes_it_again() -> None:
    """Two seconds later."""
    window = Window(16)
    window.size(Depth(0, 0, 0), 0.0)
    assert window.size(Depth(0, 0, 5000), 1.0) == 5000 * SECONDS
    assert window.size(Depth(0, 0, 5000), 3.5) == 16


def test_a_redis_that_was_emptied_counts_from_the_start() -> None:
    """The numbers go back; the window does not become negative."""
    window = Window(16)
    window.size(Depth(0, 0, 90_000), 0.0)
    assert window.size(Depth(0, 0, 10), 1.0) == 16
    assert window.size(Depth(0, 0, 110), 2.0) == 100 * SECONDS


def test_retries_without_end_close_the_door() -> None:
    """When everything fails, what waits to be tried again in Redis is bounded too."""
    assert Window(16).room(Depth(0, DELAYED_MOST, 0), 0.0) == 0
    assert Window(16).room(Depth(0, DELAYED_MOST - 1, 0), 0.0) == 16


@pytest.mark.parametrize("per_second", [0, 1, 25, 4000])
def test_steady_work_is_looked_at_seldom(per_second: int) -> None:
    """A language model's chunks leave one by one: twenty looks a second would each find one gone."""
    window, size = Window(16), 0
    for look in range(5):
        size = window.size(Depth(16, 0, look * per_second // 2), look * 0.5)
    assert window.pause(size) == LATEST_SECONDS
    assert LATEST_SECONDS * per_second <= size / 4, "most of the window is left by then"


def test_work_that_may_be_fast_is_looked_at_often() -> None:
    """Nothing is known of it; or it empties the floor within moments."""
    window = Window(16)
    assert window.pause(window.size(Depth(16, 0, 0), 0.0)) == SOONEST_SECONDS
    assert window.pause(window.size(Depth(16, 0, 5), 0.9)) == SOONEST_SECONDS
    least = Window(16)
    least.size(Depth(16, 0, 0), 0.0)
    assert SOONEST_SECONDS < least.pause(least.size(Depth(16, 0, 40), 1.9)) < LATEST_SECONDS


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0.001, 5)), max_size=30), st.integers(1, 100))
def test_there_is_never_less_room_than_the_floor_leaves(steps: list[tuple[int, float]], least: int) -> None:
    """And never a negative one."""
    window, now, left = Window(least), 0.0, 0
    for count, pause in steps:
        now, left = now + pause, left + count
        waiting = count % 200
        assert window.room(Depth(waiting, 0, left), now) >= max(0, least - waiting)
