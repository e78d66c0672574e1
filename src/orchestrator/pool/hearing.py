"""Whether a worker is deaf: entries wait, it has room, its loops turn, and yet nothing reaches it. Pure.

Such consumers were seen elsewhere for days: up by every other sign (X-09, agent-wiki #574).
"""

from __future__ import annotations

LOOKS = 3
"""So many looks in a row with the same finding: one may fall between a read and the next."""


class Hearing:
    """Remembers what the last looks found."""

    def __init__(self) -> None:
        self._delivered = -1
        self._silent = 0

    def deaf(self, *, waiting: int, room: int, delivered: int) -> bool:
        """Return whether nothing has been delivered, look after look, while entries waited and there was room."""
        silent = waiting > 0 and room > 0 and delivered == self._delivered
        self._delivered = delivered
        self._silent = self._silent + 1 if silent else 0
        return self._silent >= LOOKS
