"""What is said of an endpoint that lets nobody in, and read again where only the words arrive. Pure.

LightRAG keeps of an error what it says, and writes that into the row of the document that failed.
"""

from __future__ import annotations

import re

THROTTLED = "model endpoint is throttled"
_AGAIN = re.compile(rf"{THROTTLED}.*?; again in (\d{{1,6}}(?:\.\d{{1,3}})?) s")


def reason(why: str, seconds: float) -> str:
    """Return the words for it, with when to come again."""
    return f"{THROTTLED}: {why}; again in {seconds:.1f} s"


def again_in(text: str) -> float | None:
    """Return when to come again, None when the text speaks of something else."""
    found = _AGAIN.search(text)
    return float(found[1]) if found else None
