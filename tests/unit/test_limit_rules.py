"""The limiter's rules: bounds that always hold, and what they find out about an endpoint that bears so much."""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.limits import rules
from orchestrator.limits.reason import again_in, reason
from orchestrator.limits.rules import State, bucket

STATES = st.builds(
    State,
    limit=st.integers(1, 500),
    peak=st.integers(0, 600),
    answers=st.integers(0, 600),
    changed_at=st.floats(0, 1000),
    too_much=st.integers(0, 600),
    baseline=st.floats(0, 100),
    samples=st.lists(st.floats(0, 300), max_size=rules.SAMPLES).map(tuple),
)


@given(STATES, st.integers(1, 400), st.floats(0, 2000), st.floats(0, 2000))
def test_a_limit_never_leaves_its_bounds(state: State, ceiling: int, began: float, now: float) -> None:
    """Whatever was stored, and whatever the settings say now."""
    after = [rules.refused(state, began, now, ceiling), rules.answered(state, now, ceiling)]
    for new in after:
        assert new is state or rules.FLOOR <= new.limit <= ceiling
        assert rules.window(new) >= 1


@given(STATES, st.integers(1, 400))
def test_a_window_of_answers_adds_at_most_one(state: State, ceiling: int) -> None:
    """And only when the limit was reached."""
    after = rules.answered(state, 5.0, ceiling)
    assert after.limit <= state.limit + 1
    if after.limit > state.limit:
        assert state.peak >= state.limit


@given(STATES, st.integers(1, 400))
def test_a_refusal_lowers_the_limit_to_half_of_what_was_used(state: State, ceiling: int) -> None:
    """A limit of 64 of which 8 were used, all refused, is no 32."""
    after = rules.refused(state, state.changed_at + 1, state.changed_at + 2, ceiling)
    used = min(state.limit, state.peak) if state.peak else state.limit
    assert after.limit == max(1, min(ceiling, used // 2)) and after.answers == 0 and after.too_much == used


def test_calls_that_are_refused_together_halve_once() -> None:
    """All of them began before the limit was lowered: they say nothing about the new one."""
    state = State(limit=16, peak=16)
    for _ in range(12):
        state = rules.refused(state, began=10.0, now=10.5, ceiling=64)
    assert state.limit == 8
    assert rules.refused(state, began=10.6, now=11.0, ceiling=64).limit == 4


def test_an_endpoint_that_queues_is_seen_by_its_latency() -> None:
    """It refuses nothing, and answers ever later."""
    calm = State(limit=8, peak=8, samples=(1.0,) * rules.SAMPLES)
    known = rules.answered(calm, 1.0, 64)
    assert (known.limit, known.baseline) == (9, 1.0)
    slow = replace(known, peak=9, samples=(4.0,) * rules.SAMPLES)
    lowered = rules.answered(slow, 2.0, 64)
    assert lowered.limit == 4 and 1.0 < lowered.baseline < 2.0 and lowered.samples == ()
    slower = replace(known, peak=9, samples=(1.9,) * rules.SAMPLES)
    assert rules.answered(slower, 2.0, 64).limit == 10, "a little slower is normal"


def test_milliseconds_of_noise_are_no_latency() -> None:
    """A model that answers in 2 ms instead of 0.5 is not in trouble."""
    state = State(limit=8, peak=8, baseline=0.0005, samples=(0.002,) * rules.SAMPLES)
    assert rules.answered(state, 2.0, 64).limit == 9


def test_work_that_became_heavier_is_not_punished_for_ever() -> None:
    """The baseline drifts to what is normal now, and the limit rises again."""
    state = State(limit=8, peak=8, baseline=1.0)
    limits = []
    for now in range(60):
        state = rules.answered(replace(state, peak=state.limit, samples=(5.0,) * rules.SAMPLES), float(now), 64)
        limits.append(state.limit)
    assert min(limits) < 8 <= limits[-1]


class Server:
    """A model server that bears `capacity` calls at once, and what came of driving it by the rules."""

    def __init__(self, capacity: int, limit: int, ceiling: int, callers: int) -> None:
        self.capacity = capacity
        self.ceiling = ceiling
        self.callers = callers
        self.state = rules.started(limit, ceiling)
        self.now = 0.0
        self.answered = self.refused = 0
        self.used: list[int] = []
        self._under_way: list[tuple[float, int, float, bool]] = []
        self._numbers = count()
        self._served = 0  # of those under way

    def run(self, calls: int) -> None:
        """Make so many calls, as many at once as the rules allow and there are callers."""
        for _ in range(calls):
            while len(self._under_way) < min(self.state.limit, self.callers):
                self._begin()
            self._end()

    def _begin(self) -> None:
        served = self._served < self.capacity
        self._served += served
        took = 1.0 if served else 0.01
        self.now += 0.001
        heapq.heappush(self._under_way, (self.now + took, next(self._numbers), self.now, served))
        self.state = replace(self.state, peak=max(self.state.peak, len(self._under_way)))

    def _end(self) -> None:
        ends, _, began, served = heapq.heappop(self._under_way)
        self.used.append(len(self._under_way) + 1)
        self.now = max(self.now, ends)
        self._served -= served
        if not served:
            self.refused += 1
            self.state = rules.refused(self.state, began, self.now, self.ceiling)
            return
        self.answered += 1
        latest = (1.0, *self.state.samples)[: rules.SAMPLES]
        self.state = replace(self.state, answers=self.state.answers + 1, samples=latest)
        if self.state.answers >= rules.window(self.state):
            self.state = rules.answered(self.state, self.now, self.ceiling)


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 64))
def test_the_limit_converges_to_what_the_server_bears(capacity: int, initial: int) -> None:
    """Whether it starts too high or too low; once there, few calls are refused and most of the server is used."""
    server = Server(capacity, initial, ceiling=64, callers=64)
    server.run(1500)
    server.refused, server.answered = 0, 0
    server.used.clear()
    server.run(1500)
    assert server.state.limit <= capacity + 1
    assert server.refused <= 0.05 * server.answered + 3
    assert sum(server.used) / len(server.used) >= 0.6 * capacity


def test_a_server_that_grows_is_used() -> None:
    """What was too much yesterday is tried again, carefully."""
    server = Server(4, 8, ceiling=64, callers=64)
    server.run(500)
    assert server.state.limit <= 5
    server.capacity = 16
    server.run(3000)
    assert server.state.limit >= 12


def test_a_ceiling_is_not_passed_when_all_goes_well() -> None:
    """The settings have the last word."""
    server = Server(1000, 4, ceiling=10, callers=50)
    server.run(2000)
    assert server.state.limit == 10 and max(server.used) == 10 and server.refused == 0


@given(st.integers(1, 100_000), st.integers(1, 7200))
def test_no_minute_sees_more_than_its_cap(per_minute: int, from_second: int) -> None:
    """Also the one that begins with a full bucket."""
    found = bucket(per_minute)
    assert found.capacity >= 1 and found.per_second > 0
    if per_minute >= 2:
        assert found.capacity + 60 * found.per_second <= per_minute + 1e-6
    assert bucket(0).capacity == 0


@pytest.mark.parametrize("seconds", [0.0, 12.0, 3600.0])
def test_when_to_come_again_is_read_back_from_the_words(seconds: float) -> None:
    """They are all that LightRAG keeps of an error."""
    text = f"C[1/1]: ck-1-chunk-000: {reason('llm: throttled for 12 s more', seconds)}"
    assert again_in(text) == seconds
    assert again_in("rate limited; again in 5 s") is None
