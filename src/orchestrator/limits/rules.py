"""How many calls an endpoint is given at once, by what it answers. Pure: nothing here acts, and nothing reads a clock.

Up by one after a window of answers (as many as the limit), down by half when the endpoint says that it is too much or
does not end in time: additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989). Latency counts too:
an endpoint that queues instead of refusing is seen by the median of its answers against what it used to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

FLOOR = 1
DECREASE = 0.5
SAMPLES = 16  # answers before their median says anything
TOLERANCE = 2.0  # times the baseline: so much slower is normal
SLACK_SECONDS = 0.25  # and less than this is noise, whatever it is a multiple of
DRIFT = 0.1  # of the way the baseline goes towards a slower median in a window; down it goes at once
CAUTION = 10  # times longer is the window below what was too much the last time,
CAUTION_ANSWERS = 20  # and at least so many answers
BURST = 0.1  # of a cap per minute may be used at once


@dataclass(frozen=True, slots=True)
class State:
    """What is known of an endpoint."""

    limit: int  # calls at once
    peak: int = 0  # most calls at once since the limit was changed
    answers: int = 0  # since the limit was changed
    changed_at: float = 0.0  # when the limit was lowered the last time
    too_much: int = 0  # calls at once that were refused the last time; 0 when that is not known
    baseline: float = 0.0  # seconds an answer takes when the endpoint is at ease; 0 when not known yet
    samples: tuple[float, ...] = ()  # seconds of the latest answers


@dataclass(frozen=True, slots=True)
class Bucket:
    """A cap per minute as a token bucket: in any 60 seconds no more than the cap goes through."""

    capacity: float
    per_second: float


def bucket(per_minute: int) -> Bucket:
    """Return the bucket of a cap; one of capacity 0 caps nothing."""
    if per_minute <= 0:
        return Bucket(0.0, 0.0)
    capacity = max(1.0, per_minute * BURST)
    return Bucket(capacity, max(per_minute - capacity, per_minute / 2) / 60)


def started(initial: int, ceiling: int) -> State:
    """Return what is known of an endpoint nobody has called."""
    return State(limit=bounded(initial, ceiling))


def bounded(limit: float, ceiling: int) -> int:
    """Return a limit between floor and ceiling."""
    return max(FLOOR, min(int(limit), ceiling))


def window(state: State) -> int:
    """Return how many answers it takes before the limit is looked at: longer just below what was too much."""
    if state.too_much and state.limit + 1 >= state.too_much:
        return max(state.limit * CAUTION, CAUTION_ANSWERS)
    return state.limit


def refused(state: State, began: float, now: float, ceiling: int) -> State:
    """Return the state after a call that was throttled, or not answered in time.

    Only a call that began after the last decrease says anything about the present limit: so many calls that are refused
    together halve it once. What counts is how many calls there were, not how many there might have been.
    """
    if began <= state.changed_at:
        return state
    used = min(state.limit, state.peak) if state.peak else state.limit
    return _lowered(state, used, used * DECREASE, now, ceiling)


def answered(state: State, now: float, ceiling: int) -> State:
    """Return the state after a window of answers."""
    slow = _median(state.samples)
    if slow is not None:
        used = min(state.limit, state.peak) if state.peak else state.limit
        known = state.baseline or slow
        if slow > TOLERANCE * known and slow - known > SLACK_SECONDS and used > FLOOR:
            gradient = max(DECREASE, TOLERANCE * known / slow)
            lowered = _lowered(state, used, min(used * gradient, used - 1), now, ceiling)
            return replace(lowered, baseline=_drifted(known, slow))
        state = replace(state, baseline=_drifted(known, slow))
    full = state.peak >= state.limit  # a limit nobody reached was not tried
    risen = bounded(state.limit + 1 if full else state.limit, ceiling)
    survived = state.too_much if risen < state.too_much else 0
    return replace(state, limit=risen, peak=0, answers=0, too_much=survived)


def _lowered(state: State, used: int, limit: float, now: float, ceiling: int) -> State:
    lower = bounded(limit, ceiling)
    return replace(state, limit=lower, peak=0, answers=0, changed_at=now, too_much=used, samples=())


def _median(samples: Sequence[float]) -> float | None:
    return median(samples) if len(samples) >= SAMPLES else None


def _drifted(baseline: float, slow: float) -> float:
    return slow if slow < baseline else baseline + DRIFT * (slow - baseline)
