"""The looks of a pool into the ledger for leases that it has lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from orchestrator.deliveries import Delivery
from orchestrator.ledger.chunks import Chunks


def looks_for_lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each look adds how many lost leases it found: seconds depend on the machine."""
    found: list[int] = []
    ask = Chunks.leases_lost

    async def counted(chunks: Chunks, held: Sequence[Delivery]) -> list[Delivery]:
        lost = await ask(chunks, held)
        found.append(len(lost))
        return lost

    monkeypatch.setattr(Chunks, "leases_lost", counted)
    return found
