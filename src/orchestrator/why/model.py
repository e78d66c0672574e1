"""What the reason of a chunk that was put off says about a model endpoint, in the words it was written with. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL, THROTTLED


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that no text is to blame for."""

    words: str
    remedy: str
    credentials: bool = False


_LOOK = "orchestrator limits; curl llm_base_url and embedding_base_url of the settings"
_KEY = "put a valid key into credential llm-api-key or embedding-api-key, restart"
TROUBLES = (Trouble(NO_CREDENTIALS, _KEY, credentials=True), Trouble(NO_MODEL, _LOOK), Trouble(THROTTLED, _LOOK))


def trouble(error: str) -> Trouble | None:
    """Return what is wrong with an endpoint by this error, None when it speaks of something else."""
    return next((t for t in TROUBLES if t.words in error), None)
