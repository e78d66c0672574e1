"""How a delivery ends is decided in one pure table."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from orchestrator.deliveries import Delivery, Verdict
from orchestrator.errors import RejectError, RetryError
from orchestrator.pool.outcome import RetryPolicy, failed, unfit

POLICY = RetryPolicy(
    attempts=3, max_deliveries=8, backoff_base_seconds=1.0, backoff_cap_seconds=60.0, timeout_seconds=300.0
)


def delivery(attempt: int = 1, deliveries: int = 1) -> Delivery:
    """Return a delivery in its n-th attempt."""
    return Delivery("r", "c", "job", "chunk", attempt=attempt, deliveries=deliveries)


@pytest.mark.parametrize(
    ("error", "attempt", "verdict", "ran"),
    [
        (ValueError("x"), 1, Verdict.RETRY, True),
        (ValueError("x"), 2, Verdict.RETRY, True),
        (ValueError("x"), 3, Verdict.FAILED, True),
        (RetryError("x"), 2, Verdict.RETRY, True),
        (RetryError("x"), 3, Verdict.FAILED, True),
        (RetryError("busy", counts=False, delay_seconds=2), 3, Verdict.RELEASE, False),
        (RejectError("x"), 1, Verdict.FAILED, True),
        (asyncio.CancelledError(), 3, Verdict.RELEASE, False),
    ],
)
def test_x02_every_failure_has_one_ending(error: BaseException, attempt: int, verdict: Verdict, ran: bool) -> None:
    """The seed neither retried, acked, buried nor reclaimed a failed task."""
    outcome = failed(error, delivery(attempt), POLICY)
    assert (outcome.verdict, outcome.ran) == (verdict, ran)


def test_x08_a_timeout_is_a_failed_attempt_that_says_how_long() -> None:
    """The seed never used its timeout."""
    outcome = failed(TimeoutError(), delivery(), POLICY, timed_out=True)
    assert outcome.verdict is Verdict.RETRY and "300 s" in outcome.reason


def test_a_handlers_delay_wins_over_the_backoff() -> None:
    """A model that says Retry-After is believed."""
    assert failed(RetryError("slow down", delay_seconds=7.5), delivery(), POLICY).delay_seconds == 7.5


def test_backoff_grows_and_is_capped() -> None:
    """Full jitter: anything up to the ceiling, never above."""
    rng = random.Random(1)
    policy = RetryPolicy(
        attempts=99, max_deliveries=99, backoff_base_seconds=1, backoff_cap_seconds=10, timeout_seconds=1
    )
    for attempt, ceiling in ((1, 1), (2, 2), (3, 4), (5, 10), (90, 10)):
        delays = [failed(ValueError(), delivery(attempt), policy, rng=rng).delay_seconds for _ in range(200)]
        assert min(delays) >= 0 and ceiling * 0.8 < max(delays) <= ceiling


def test_a_chunk_handed_out_too_often_is_poison() -> None:
    """Crashes count as deliveries, not as attempts; a chunk that kills its workers must end."""
    assert unfit(delivery(deliveries=8), POLICY) is None
    dead = unfit(delivery(deliveries=9), POLICY)
    assert dead is not None and dead.verdict is Verdict.FAILED and not dead.ran


def test_what_its_queue_has_given_up_does_not_run() -> None:
    """It fails with the queue's reason, through the ledger: a chunk that was queued or running there has to end."""
    dead = unfit(replace(delivery(), given_up="stalled\ntoo often"), POLICY)
    assert dead is not None and dead.verdict is Verdict.FAILED and not dead.ran
    assert dead.reason == "given up by its queue: stalled\ufffdtoo often"


def test_untrusted_error_text_cannot_forge_lines_or_break_the_ledger() -> None:
    """NUL breaks PostgreSQL, a newline forges a log line, and a long text fills both."""
    reason = failed(ValueError("a\x00b\nc" + "x" * 5000), delivery(), POLICY).reason
    assert "\x00" not in reason and "\n" not in reason and len(reason) < 1100
