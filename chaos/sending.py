"""The submissions that are under way, of all producers together."""

from __future__ import annotations

import asyncio


class Sending:
    """Counts them: `with sending:` around each; true while there is one."""

    def __init__(self) -> None:
        self._count = 0
        self._some = asyncio.Event()

    def __bool__(self) -> bool:
        """Whether one is under way."""
        return self._some.is_set()

    def __enter__(self) -> None:
        """One begins."""
        self._count += 1
        self._some.set()

    def __exit__(self, *error: object) -> None:
        """One has ended, however it did."""
        self._count -= 1
        if not self._count:
            self._some.clear()

    async def amid(self, seconds: float) -> None:
        """Wait until one is under way, and still one so much later; where it was not, half of that after the next."""
        while True:
            await self._some.wait()
            await asyncio.sleep(seconds)
            if self:
                return
            seconds /= 2
