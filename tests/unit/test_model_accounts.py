"""What a call to a model costs, and who is charged."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.deliveries import Usage
from orchestrator.errors import SettingsError
from orchestrator.handlers.base import Context
from orchestrator.handlers.lightrag.accounts import Accounts
from orchestrator.handlers.lightrag.prices import Prices, estimate
from orchestrator.settings import LightRAGSettings


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
