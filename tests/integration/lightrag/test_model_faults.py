"""What an error of a model client means: of those that are installed, whose import alone takes a second."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import ollama
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.handlers.lightrag.faults import Kind, ThrottledAnswer, fault, retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST: Any = httpx.Request("POST", "http://model/v1/chat/completions")


def status(code: int, headers: dict[str, str] | None = None, message: str = "no") -> openai.APIStatusError:
    """Return what OpenAI's client raises."""
    response: Any = httpx.Response(code, headers=headers, request=REQUEST)
    return openai.APIStatusError(message, response=response, body=None)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, Kind.REFUSED), (401, Kind.CREDENTIALS), (402, Kind.AWAY), (403, Kind.REFUSED), (404, Kind.AWAY),
        (408, Kind.PASSING), (409, Kind.PASSING), (413, Kind.REFUSED), (422, Kind.REFUSED), (429, Kind.THROTTLED),
        (500, Kind.PASSING), (502, Kind.PASSING), (503, Kind.AWAY), (504, Kind.PASSING), (529, Kind.THROTTLED),
    ],
)  # fmt: skip
def test_every_status_has_a_meaning(code: int, kind: Kind) -> None:
    """The same in both protocols."""
    assert fault(status(code)).kind is kind
    assert fault(ollama.ResponseError("no", code)).kind is kind
    assert f"says {code}" in fault(status(code)).why


def test_a_retry_after_makes_it_throttling() -> None:
    """Also of a 503, and through a client that hides headers; a spent quota is none."""
    for error in (status(503, {"retry-after": "7"}), ThrottledAnswer(503, {"retry-after": "7"})):
        found = fault(error)
        assert (found.kind, found.wait_seconds, found.overload) == (Kind.THROTTLED, 7.0, True)
    assert fault(status(429, message="Error: insufficient_quota")).kind is Kind.AWAY
    assert fault(status(503)).again and not fault(status(404)).again


def test_who_cannot_be_reached_has_not_seen_the_text() -> None:
    """And who drops the connection, or takes too long, may have died of it."""
    connect = openai.APIConnectionError(request=REQUEST)
    connect.__cause__ = httpx.ConnectError("refused")
    assert fault(connect).kind is Kind.AWAY and fault(ConnectionError("ollama")).kind is Kind.AWAY
    slow = openai.APITimeoutError(request=REQUEST)
    slow.__cause__ = httpx.ReadTimeout("slow")
    assert fault(slow).kind is Kind.UNFINISHED and fault(slow).overload
    assert fault(httpx.RemoteProtocolError("gone")).kind is Kind.UNFINISHED


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "12", "retry-after-ms": "300"}, 0.3),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 2015 00:01:00 GMT"}, 0.0),
        ({"retry-after": "86400"}, 3600.0),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_a_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """In seconds, in OpenAI's milliseconds, as a date; never for longer than an hour."""
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=60))
def test_a_retry_after_of_nonsense_is_none(text: str) -> None:
    """Or a sound number of seconds."""
    found = retry_after({"retry-after": text}, NOW)
    assert found is None or 0 <= found <= 3600
