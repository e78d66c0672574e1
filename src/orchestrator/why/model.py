"""What the reason of a chunk that was put off says about a model endpoint, in the words it was written with. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL, THROTTLED
from orchestrator.why.remedies import DEPLOY, WAIT


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that no text is to blame for."""

    words: str
    remedy: str
    credentials: bool = False


_KEY = f"put a valid key into orchestrator_base_llm_api_key or orchestrator_base_embedding_api_key, then {DEPLOY}"
_AWAY = f"bring it back, or set llm_base_url or embedding_base_url to another, then {DEPLOY}; see orchestrator limits"
SLOWED = f"{WAIT}: it goes on by itself; orchestrator limits says when"
TROUBLES = (Trouble(NO_CREDENTIALS, _KEY, credentials=True), Trouble(NO_MODEL, _AWAY), Trouble(THROTTLED, SLOWED))


def trouble(error: str) -> Trouble | None:
    """Return what is wrong with an endpoint by this error, None when it speaks of something else."""
    return next((t for t in TROUBLES if t.words in error), None)
