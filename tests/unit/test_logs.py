"""Log lines: fields as key=value, and no text of anybody's can forge a line."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.logs import JournalFormatter, escape, set_up


def line(message: str = "hello", exc_info: bool = False, *, priorities: bool = False, **extra: object) -> str:
    record = logging.LogRecord(
        "orchestrator.workers", logging.WARNING, __file__, 1, message, (), sys.exc_info() if exc_info else None
    )
    vars(record).update(extra)
    return JournalFormatter(priorities=priorities).format(record)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level
    logging.captureWarnings(False)
    logging.getLogger("orchestrator").setLevel(logging.NOTSET)


def test_fields_follow_the_message() -> None:
    text = line("delivery settled", job_id="j1", attempt=2, seconds=0.25, reason="it said no", empty="")
    assert text == 'warning workers: delivery settled job_id=j1 attempt=2 seconds=0.25 reason="it said no" empty=""'


def test_quotes_cannot_end_a_value() -> None:
    assert line(reason='a" outcome=ok "') == r'warning workers: hello reason="a\" outcome=ok \""'
    assert line(reason="x outcome=ok\\") == 'warning workers: hello reason="x outcome=ok\\\\"'


@given(st.text(), st.text())
def test_untrusted_text_cannot_forge_a_line(message: str, value: str) -> None:
    text = line(message, value=value)
    assert len(text.splitlines()) == 1
    assert text.isprintable()


def test_terminal_sequences_and_bidi_marks_are_escaped() -> None:
    assert escape("\x1b[2Jé\u202e\n") == r"\x1b[2Jé\u202e\n"


def test_a_traceback_follows_behind_bars() -> None:
    try:
        raise RuntimeError("first\nerror workers: forged job_id=j2\x1b[31m")
    except RuntimeError:
        lines = line("slot broke", exc_info=True, priorities=True).splitlines()
    assert lines[0] == "<4>warning workers: slot broke"
    assert all(text.startswith("<4>    | ") for text in lines[1:])
    assert all(text.isprintable() for text in lines)


def test_set_up_takes_ours_from_info_and_others_from_warning(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(stream)
    logging.getLogger("orchestrator.api").info("ready", extra={"port": 8000})
    logging.getLogger("somebody").info("chatter")
    logging.getLogger("somebody").warning("trouble")
    assert stream.getvalue().splitlines() == ["info api: ready port=8000", "warning somebody: trouble"]
