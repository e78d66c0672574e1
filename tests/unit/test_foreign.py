"""A message of another's queue as a job: its id, whatever its producer chose for names."""

from __future__ import annotations

import pytest

from orchestrator.sources.foreign import LONGEST_ID, job_id


def test_two_queues_of_one_name_have_no_job_in_common() -> None:
    """A table `command` in each of two databases, row `a` in both: the second command had the job id of the first, so
    the ledger knew it as processed, and it was acked without having run. The worker type was not in the id.
    """
    assert job_id("notes", "command", "a", 0) == "notes:command:a:0"
    assert job_id("mails", "command", "a", 0) != job_id("notes", "command", "a", 0)


@pytest.mark.parametrize("part", ["x" * 64, "of:three:parts", "ü" * 500])
def test_an_id_fits_into_the_ledger_and_is_nobody_elses(part: str) -> None:
    """A queue and a receipt of 64 letters made an id of more than the ledger's 128: the batch could not be written."""
    ids = {job_id("t" * 32, part, part, life) for life in range(3)} | {job_id("t" * 32, part, f"{part}.", 0)}
    assert len(ids) == 4
    assert max(len(each) for each in ids) <= LONGEST_ID
