"""What is said of a model endpoint that gives no answer, and read again where only the words arrive. Pure.

LightRAG keeps of an error what it says, and writes that into the row of the document that failed; the ledger keeps the
reason of a chunk that was put off, and a heartbeat the step it is at.
"""

from __future__ import annotations

import re

THROTTLED = "model endpoint is throttled"
"""Nobody's fault."""

NO_MODEL = "model endpoint does not answer"
"""Nobody's but the endpoint's."""

NO_CREDENTIALS = "model endpoint refuses our credentials"
"""The operator's."""

TEXT_REFUSED = "model endpoint refuses this text"
"""The text's: another would have been answered."""

WAITING = "waiting for the model limiter"
"""The step of who has no permit yet."""

_AGAIN = re.compile(rf"{THROTTLED}.*?; again in (\d{{1,6}}(?:\.\d{{1,3}})?) s")


def reason(why: str, seconds: float) -> str:
    """Return the words for it, with when to come again."""
    return f"{THROTTLED}: {why}; again in {seconds:.1f} s"


def again_in(text: str) -> float | None:
    """Return when to come again, None when the text speaks of something else."""
    found = _AGAIN.search(text)
    return float(found[1]) if found else None
