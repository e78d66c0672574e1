"""How long to wait before the next attempt. Pure."""

from __future__ import annotations

import random


def full_jitter(attempt: int, *, base_seconds: float, cap_seconds: float, rng: random.Random | None = None) -> float:
    """Return a delay in seconds, uniform between 0 and min(cap, base x 2^(attempt - 1)); `attempt` is 1-based.

    Full jitter: retries of many chunks that failed together must not come back together.
    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    ceiling = min(cap_seconds, base_seconds * 2.0 ** min(attempt - 1, 32))
    return (rng or random).uniform(0.0, ceiling)
