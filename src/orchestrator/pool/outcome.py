"""Decide how a delivery ends. Pure: every rule of retry, reject, timeout and poison is here, and nothing acts."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from orchestrator.backoff import full_jitter
from orchestrator.deliveries import DONE, NOTHING, Delivery, Outcome, Result, Usage, Verdict
from orchestrator.errors import RejectError, RetryError

REASON_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how far apart."""

    attempts: int
    max_deliveries: int
    backoff_base_seconds: float
    backoff_cap_seconds: float
    timeout_seconds: float


def done(result: Result, usage: Usage | None = None) -> Outcome:
    """Return the outcome of a handler that returned."""
    return DONE if result is NOTHING and usage is None else Outcome(Verdict.PROCESSED, result, usage=usage)


def unfit(delivery: Delivery, policy: RetryPolicy) -> Outcome | None:
    """Return how a chunk ends that is not to run. Else None.

    Its queue has given it up, or it was handed out too often without ending: it kills its workers.
    """
    if delivery.given_up:
        return Outcome(Verdict.FAILED, reason=f"given up by its queue: {_text(delivery.given_up)}", ran=False)
    if delivery.deliveries <= policy.max_deliveries:
        return None
    reason = f"poison: handed out {delivery.deliveries} times and never settled; its workers died of it or were killed"
    return Outcome(Verdict.FAILED, reason=reason, ran=False)


def suspect(delivery: Delivery, policy: RetryPolicy) -> bool:
    """Return whether a chunk has seen so many workers die that it may be what kills them: half of what poison may."""
    deaths = delivery.deliveries - delivery.attempt  # handed out, and neither settled nor in our hands now
    return deaths >= max(1, policy.max_deliveries // 2)


def failed(
    error: BaseException,
    delivery: Delivery,
    policy: RetryPolicy,
    *,
    timed_out: bool = False,
    usage: Usage | None = None,
    rng: random.Random | None = None,
) -> Outcome:
    """Return the outcome of a handler that raised.

    Cancellation is no failure of the chunk: it is released. A run that never tried the work is released with its delay.
    """
    if timed_out:
        reason = f"timed out after {policy.timeout_seconds:g} s"
    elif isinstance(error, asyncio.CancelledError):
        return Outcome(Verdict.RELEASE, ran=False, usage=usage)
    elif isinstance(error, RetryError) and not error.counts:
        pause = error.delay_seconds or 0.0
        return Outcome(Verdict.RELEASE, reason=_text(error), delay_seconds=pause, ran=False, usage=usage)
    elif isinstance(error, RejectError):
        return Outcome(Verdict.FAILED, reason=f"rejected: {_text(error)}", usage=usage)
    else:
        reason = _text(error) if isinstance(error, RetryError) else f"{type(error).__name__}: {_text(error)}"
    left = delivery.attempts_left
    attempts = policy.attempts if left is None else delivery.attempt + left - 1
    if delivery.attempt >= attempts:
        reason = f"{reason} (attempt {delivery.attempt} of {attempts})"
        return Outcome(Verdict.FAILED, reason=reason, usage=usage)
    delay = error.delay_seconds if isinstance(error, RetryError) else None
    if delay is None:
        delay = delivery.backoff_seconds
    if delay is None:
        base, cap = policy.backoff_base_seconds, policy.backoff_cap_seconds
        delay = full_jitter(delivery.attempt, base_seconds=base, cap_seconds=cap, rng=rng)
    return Outcome(Verdict.RETRY, reason=reason, delay_seconds=delay, usage=usage)


def _text(error: object) -> str:
    """Return the error's text as PostgreSQL and a log can hold it: bounded, no control characters."""
    text = str(error)[:REASON_LENGTH]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
