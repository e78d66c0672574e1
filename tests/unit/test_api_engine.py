"""The query engine is made at the first question, once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.engine import LazyEngine, configured_engine
from orchestrator.errors import CredentialError, DependencyError, SettingsError
from orchestrator.settings.credentials import Credentials


class Echo:
    """An engine that answers with the question."""

    closed = False

    async def query(self, question: str, *, mode: str, workspace: str) -> Any:
        """Return what was asked."""
        return (question, mode, workspace)

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


async def test_it_is_made_at_the_first_question_and_once() -> None:
    """What failed to be made is made again at the next question."""
    echo, tries = Echo(), 0

    async def make() -> Echo:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries == 1:
            raise DependencyError("PostgreSQL does not answer")
        return echo

    engine = LazyEngine(make)
    with pytest.raises(DependencyError):
        await engine.query("q", mode="mix", workspace="w")
    answers = await asyncio.gather(*(engine.query(str(i), mode="mix", workspace="w") for i in range(5)))
    assert answers == [(str(i), "mix", "w") for i in range(5)] and tries == 2
    await engine.close()
    assert echo.closed


async def test_an_engine_that_was_never_asked_is_never_made() -> None:
    """Closing it makes none either."""

    async def make() -> Echo:
        raise AssertionError

    await LazyEngine(make).close()


def test_a_host_without_lightrag_settings_has_no_engine(tmp_path: Path) -> None:
    """Wrong settings and a missing credential stop the process at its start, not at the first question."""
    credentials = Credentials(tmp_path)
    assert configured_engine(tmp_path, credentials) is None
    module = tmp_path / "workers" / "lightrag_processor.py"
    module.parent.mkdir()
    module.write_text("settings = 1")
    with pytest.raises(SettingsError):
        configured_engine(tmp_path, credentials)
    module.write_text("from orchestrator.settings import LightRAGSettings\nsettings = LightRAGSettings()\n")
    with pytest.raises(CredentialError, match="lightrag-dsn"):
        configured_engine(tmp_path, credentials)
    (tmp_path / "lightrag-dsn").write_text("postgresql://nowhere/lightrag")
    assert configured_engine(tmp_path, credentials) is not None
