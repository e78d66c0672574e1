"""What the system has taken, and so has to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Accepted:
    """A job."""

    job_id: str
    chunks: dict[str, str]  # chunk id -> what it does
    policy: str = "strict"
    max_failed: int = 0
    cancelled: bool = False  # somebody wants to cancel it

    def given_up(self, failed: int) -> bool:
        """Return whether with so many dead chunks its policy gives the job up, and cancels what is left."""
        return failed > 0 if self.policy == "fail_fast" else self.policy == "threshold" and failed > self.max_failed
