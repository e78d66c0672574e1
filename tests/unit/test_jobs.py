"""States, transitions and progress."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import keys
from orchestrator.jobs import CHUNK_TRANSITIONS, JOB_TRANSITIONS, TERMINAL_CHUNK, TERMINAL_JOB, percent_complete
from orchestrator.pool.meter import Meter


def test_x13_no_state_leads_out_of_an_end() -> None:
    """The seed moved failed and completed jobs back to processing."""
    assert {s.value for s in TERMINAL_JOB} == {"completed", "failed", "cancelled"}
    assert {s.value for s in TERMINAL_CHUNK} == {"processed", "failed", "cancelled"}
    for transitions in (JOB_TRANSITIONS, CHUNK_TRANSITIONS):
        assert all(target in transitions for targets in transitions.values() for target in targets)


@given(st.integers(1, 2_000_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_x19_percent_is_100_only_when_all_is_done(numbers: tuple[int, int]) -> None:
    """The seed rounded 19,999 of 20,000 to 100.0 and completed the job early."""
    processed, total = numbers
    percent = percent_complete(processed, total)
    assert (percent == 100.0) == (processed == total)
    assert 0.0 <= percent <= 100.0 and abs(percent - processed / total * 100) < 0.011


def test_an_open_total_is_never_reached() -> None:
    """Events of a job whose producer had not said how many chunks there are said 100 % with every pause of it."""
    assert [percent_complete(n, 3, declared=False) for n in (0, 1, 3)] == [0.0, 33.33, 99.99]


def test_impossible_counters_are_refused() -> None:
    """More than all, less than nothing, of none."""
    for processed, total in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="cannot be"):
            percent_complete(processed, total)


def test_x11_consumer_names_differ_by_host_type_and_slot() -> None:
    """The seed's worker-0 was the same on every host and in the validation pool."""
    names = {keys.consumer(h, t, s) for h in ("a", "b") for t in ("x", "y") for s in range(2)}
    assert len(names) == 8 and "a-x-0" in names


def test_x10_the_processing_rate_is_measured() -> None:
    """The seed's was a constant zero."""
    now = 100.0
    meter = Meter(clock=lambda: now)
    now = 110.0
    meter.add(20)
    assert meter.per_second() == 2.0 and meter.total == 20
    now = 200.0
    assert meter.per_second() == 0.0 and meter.total == 20
