"""Questions: answers name their sources, and leave no trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.errors import DependencyError
from orchestrator.handlers.lightrag.query import Answer, QueryEngine
from orchestrator.settings.credentials import Credentials
from tests.integration.lightrag.bench import Bench
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def engine(bench: Bench, tmp_path: Path) -> AsyncIterator[QueryEngine]:
    """A query engine as the API makes it."""
    (tmp_path / "lightrag-dsn").write_text(bench.dsn)
    made = QueryEngine(bench.settings, Credentials(tmp_path))
    yield made
    await made.close()


@pytest.mark.parametrize("mode", ["local", "global", "hybrid", "naive", "mix"])
async def test_an_answer_names_its_sources(bench: Bench, engine: QueryEngine, mode: str) -> None:
    """While the worker holds the workspace; addresses come back as they were given."""
    handler = await bench.handler()
    uri = "https://example.org/a b/report.pdf?x=1&y=%2F#ü"
    await bench.run(handler, "c1", "Helios Labs acquired Titan Corp.", source_uri=uri)
    before = await bench.rows()
    found = await engine.query("Why did Helios Labs acquire Titan Corp?", mode=mode, workspace=bench.workspace)
    assert found.sources == [uri] and found.answer == "According to the sources, so it is."
    assert found.passages[0].excerpt == "Helios Labs acquired Titan Corp."
    assert await bench.rows() == before


async def test_a_workspace_nobody_filled_stays_empty(bench: Bench, engine: QueryEngine) -> None:
    """Asking leaves no row, and says that nothing is known."""
    found = await engine.query("Who acquired Titan Corp?", mode="mix", workspace=bench.workspace)
    assert "not able to" in found.answer and found.sources == [] and await bench.rows() == {}
    assert isinstance(await engine.query("a", mode="mix", workspace=bench.workspace), Answer)


async def test_a_model_that_is_away_is_no_answer(bench: Bench, engine: QueryEngine) -> None:
    """It is said as such."""
    handler = await bench.handler()
    await bench.run(handler, "c1", "Helios Labs acquired Titan Corp.")
    bench.model.broken_embeddings = True
    with pytest.raises(DependencyError):
        await engine.query("Who acquired Titan Corp?", mode="naive", workspace=bench.workspace)


async def test_a_workspace_nobody_asks_any_more_is_left(bench: Bench, tmp_path: Path) -> None:
    """Its engine holds memory and connections; the next question opens it again."""
    handler = await bench.handler()
    await bench.run(handler, "c1", "Helios Labs acquired Titan Corp.")
    (tmp_path / "lightrag-dsn").write_text(bench.dsn)
    engine = QueryEngine(replace(bench.settings, idle_engine_seconds=0.05), Credentials(tmp_path))

    async def left() -> bool:
        return not engine.workspaces

    for _ in range(2):
        found = await engine.query("Who acquired Titan Corp?", mode="naive", workspace=bench.workspace)
        assert len(found.sources) == 1
        await wait_until(left)
    await engine.close()
