"""Texts, ids and workspaces as they come, against what LightRAG 1.5.7 does with them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import RejectError
from tests.integration.lightrag.bench import Bench
from tests.integration.lightrag.test_contract import TEXT

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize("text", ["", "  \n\t ", "\x01\x02", "&nbsp;"])
async def test_a_chunk_without_text_is_done_at_once(bench: Bench, text: str) -> None:
    """LightRAG would take the first, and call the second a duplicate of it."""
    handler = await bench.handler()
    assert await bench.run(handler, "c1", text) == Result()
    assert await bench.run(handler, "c2", text) == Result()
    assert await bench.rows() == {}


async def test_wrong_input_is_rejected_before_lightrag_sees_it(bench: Bench) -> None:
    """No text loses a whole batch, an empty id stops the workspace for good, "/" in a workspace leads elsewhere."""
    handler = await bench.handler()
    wrong: list[dict[str, Any]] = [
        {"text": None},
        {"job_id": ""},
        {"chunk_id": ""},
        {"workspace": "a/b"},
        {"workspace": ".."},
    ]
    for values in wrong:
        with pytest.raises(RejectError):
            await bench.run(handler, **{"chunk_id": "c1", "text": TEXT, **values})
    assert (await bench.run(handler, "c1", TEXT)).entities == 3


async def test_odd_texts_and_names_are_processed(bench: Bench) -> None:
    """Control characters, lone surrogates, entities, LightRAG's own separators; ids of any length and kind."""
    handler = await bench.handler()
    texts = {
        "nul": "Helios Labs\x00 acquired\x01 Nul Corp.",
        "surrogate": "Helios Labs \ud83d acquired Surrogate Corp.",
        "entities": "Helios Labs &amp;amp; Entities Corp &lt;b&gt;.",
        "separators": "Helios Labs<|#|>acquired<|COMPLETE|> Separators<SEP>Corp <|endoftext|>.",
        "x" * 2000: "Helios Labs acquired Long Corp.",
        "a b/ç:ü [native].pdf 🚀 \ud83d": "Helios Labs acquired Strange Corp 🚀.",
    }
    ends = await bench.run_all(handler, texts)
    assert {type(r) for r in ends.values()} == {Result}, ends
    again = await bench.run_all(handler, texts)  # what LightRAG stores differs from what it got; the hash must not
    assert again == ends and set((await bench.states()).values()) == {"processed"}


async def test_a_long_chunk_is_one_document(bench: Bench) -> None:
    """Longer than the chunk size: LightRAG splits it, and the counts are of the whole."""
    handler = await bench.handler(chunk_token_size=300)
    text = " ".join(f"Unit{i} Works supplies Helios Labs." for i in range(60))
    result = await bench.run(handler, "c1", text)
    assert len(bench.model.texts) > 1 and result.entities == 61 and result.relations == 60
