"""Which events may be handed out when a seq is missing. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.events.follow import settled
from orchestrator.events.log import Event


@pytest.mark.parametrize(
    ("seqs", "watermark", "void_upto", "expected"),
    [
        ([], 5, 5, 0),
        ([6, 7, 8], 5, 5, 3),
        ([7, 8], 5, 5, 0),  # 6 may still come
        ([6, 8, 9], 5, 5, 1),
        ([8, 9], 5, 7, 2),  # 6 and 7 never will
        ([8, 9], 5, 6, 0),  # 7 may
        ([8, 11, 12], 5, 9, 1),
        ([8, 11, 12], 5, 10, 3),
        ([3, 4], 2, 0, 2),
    ],
)
def test_events_wait_for_what_is_missing_below_them(
    seqs: list[int], watermark: int, void_upto: int, expected: int
) -> None:
    """All up to the first seq that may still come."""
    events = [Event(seq, None, None, "t", {}, datetime.now(UTC)) for seq in seqs]
    assert settled(events, watermark, void_upto) == expected
