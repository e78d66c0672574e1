"""What an error of a model client means, what a call costs, and who is charged."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import ollama
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.deliveries import Usage
from orchestrator.errors import SettingsError
from orchestrator.handlers.base import Context
from orchestrator.handlers.lightrag.accounts import Accounts
from orchestrator.handlers.lightrag.faults import Kind, ThrottledAnswer, fault, retry_after
from orchestrator.handlers.lightrag.prices import Prices, estimate
from orchestrator.settings import LightRAGSettings

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


def test_prices_are_exact() -> None:
    """Ten calls at 0.1 are one."""
    prices = Prices({"m": (0.1, 0.3), "free": (0, 0)})
    assert sum(prices.cost("m", 1_000_000, 0) for _ in range(10)) == Decimal(1)
    assert prices.cost("m", 1000, 2000) == Decimal("0.0007")
    assert prices.cost("free", 10, 10) == prices.cost("unknown", 10, 10) == 0
    assert (estimate("abcd", "e"), estimate(), estimate("\ud83d")) == (2, 0, 1)


@pytest.mark.parametrize("prices", [1, (1,), (1, 2, 3), (1, -1), ("1", 2), (True, 1), (float("nan"), 1), (10**400, 1)])
def test_a_price_table_that_is_none_is_refused(prices: object) -> None:
    """With the model's name."""
    with pytest.raises(SettingsError, match=r"price_table\['gpt'\] must be two prices"):
        LightRAGSettings(price_table={"gpt": prices})
    LightRAGSettings(price_table={"gpt": [0.15, 1]})


def test_a_call_outside_a_document_is_nobodys() -> None:
    """As one for a query."""
    accounts, context = Accounts(), Context()
    with accounts.open("w", "d1", context, "text"):
        accounts.charge(Usage(1, 10, 10, Decimal(1)))
        assert not accounts.is_about_its_text("text")
    assert context.used is None


@given(st.integers(1, 9), st.integers(0, 10_000), st.decimals(0, 1000, places=6))
def test_what_is_shared_adds_up(documents: int, tokens: int, cost: Decimal) -> None:
    """To the token, and to the last digit."""
    accounts = Accounts()
    contexts = [Context() for _ in range(documents)]
    with ExitStack() as stack:
        for i, context in enumerate(contexts):
            stack.enter_context(accounts.open("w", f"d{i}", context, ""))
            stack.enter_context(accounts.processing("w", f"d{i}"))
        stack.enter_context(accounts.processing("other", "elsewhere"))
        stack.enter_context(accounts.processing("w", "d0"))
        accounts.charge(Usage(1, tokens, 0, cost), shared=True)
    used = [context.usage for context in contexts]
    assert sum(u.calls for u in used) == 1 == used[0].calls
    assert sum(u.prompt_tokens for u in used) == tokens
    assert abs(sum(u.cost for u in used) - cost) < Decimal("1e-18")
    assert max(u.prompt_tokens for u in used) <= tokens / documents * 2 + documents


def test_what_nobody_claims_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first."""
    monkeypatch.setattr("orchestrator.handlers.lightrag.accounts.UNCLAIMED", 2)
    accounts = Accounts()
    for i in range(3):
        with accounts.processing("w", f"d{i}"):
            accounts.charge(Usage(1, 5, 5, Decimal(1)))
    contexts = [Context() for _ in range(3)]
    for i, context in enumerate(contexts):
        with accounts.open("w", f"d{i}", context, ""):
            pass
    assert [c.used is not None for c in contexts] == [False, True, True]


def test_only_the_chunks_of_a_workspace_are_told() -> None:
    """Those of another one wait for something else, if at all."""
    accounts, mine, other = Accounts(), Context(), Context()
    with accounts.open("w", "d1", mine, ""), accounts.open("x", "d2", other, ""):
        with accounts.processing("w", "d1"), accounts.telling() as say:
            say("waiting for the model limiter (llm)")
            assert (mine.doing, other.doing) == ("waiting for the model limiter (llm)", "starting")
        assert mine.doing == "in LightRAG's pipeline" and other.doing == "starting"
