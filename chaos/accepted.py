"""What the system has taken, and so has to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Accepted:
    """A job."""

    job_id: str
    chunks: dict[str, str]  # chunk id -> what it does
    may_cancel: bool = False
