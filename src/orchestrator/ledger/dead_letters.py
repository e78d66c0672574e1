"""Dead letters that are no chunk of ours: malformed entries, and work for jobs that have ended. Never dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.deliveries import Delivery
from orchestrator.ledger.database import Database

TEXT_KEPT = 2000
"""Characters of a malformed entry's text that are kept: enough to recognise it."""


class DeadLetters:
    """Dead letters in the ledger. Those of chunks are written by the settle statement itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, worker_type: str, queue: str, letters: Sequence[tuple[Delivery, str]]) -> None:
        """Write entries with their reasons; an entry buried twice is written once."""
        await self._database.execute(
            "bury_entry",
            worker_type,
            queue,
            [d.receipt for d, _ in letters],
            [reason for _, reason in letters],
            [_payload(d) for d, _ in letters],
        )


def _payload(delivery: Delivery) -> dict[str, Any]:
    text = (delivery.content or "")[:TEXT_KEPT].replace("\x00", "\ufffd")
    return {"job_id": _clean(delivery.job_id), "chunk_id": _clean(delivery.chunk_id), "content": text}


def _clean(text: str) -> str:
    return text[:TEXT_KEPT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
