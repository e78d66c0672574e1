"""LightRAG 1.5.7 as it is, trap by trap, and what the handler makes of it."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path

import pytest

from orchestrator.deliveries import Result
from orchestrator.errors import CredentialError, RetryError
from orchestrator.handlers.base import Context, HandlerSetup
from orchestrator.handlers.lightrag import completion, create
from orchestrator.handlers.lightrag.identity import document_id
from orchestrator.settings.credentials import Credentials
from tests.integration.lightrag.bench import Bench
from tests.support.model_server import DIMENSIONS
from tests.support.wait import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="package")

TEXT = "Helios Labs acquired Titan Corp. Titan Corp employs Anna Keller."


class Recording(Context):
    """A context that remembers every step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def step(self, doing: str) -> None:
        """Remember it."""
        self.steps.append(doing)


async def test_x31_the_counts_are_the_names_and_pairs_of_the_chunk(bench: Bench) -> None:
    """LightRAG answers no counts at all; ours are read from what it stored, once the chunk is processed."""
    handler = await bench.handler()
    assert await bench.run(handler, "c1", TEXT) == Result(entities=3, relations=2)
    assert await bench.states() == {document_id("job-1", "c1"): "processed"}


async def test_x30_no_call_returns_before_its_chunk_is_processed(bench: Bench) -> None:
    """15 of 20 concurrent `ainsert` calls returned while their document was PENDING, and the entry was acked."""
    handler = await bench.handler()
    bench.model.delay = 0.05

    async def one(i: int) -> str | None:
        await bench.run(handler, f"c{i}", f"Unit{i} Works supplies Helios Labs.")
        return await bench.state(f"c{i}")

    assert set(await asyncio.gather(*(one(i) for i in range(20)))) == {"processed"}


async def test_the_same_chunk_again_costs_nothing(bench: Bench) -> None:
    """A redelivery of a processed chunk is answered from doc_status; no `dup-` row appears."""
    handler = await bench.handler()
    first = await bench.run(handler, "c1", TEXT)
    asked = len(bench.model.texts)
    assert await bench.run(handler, "c1", TEXT) == first
    assert len(bench.model.texts) == asked == 1 and len(await bench.states()) == 1


async def test_two_deliveries_of_one_chunk_at_once_are_one_document(bench: Bench) -> None:
    """A zombie and its successor may be in one process."""
    handler = await bench.handler()
    ends = await asyncio.gather(*(bench.run(handler, "c1", TEXT) for _ in range(3)))
    assert ends == [Result(entities=3, relations=2)] * 3 and len(bench.model.texts) == 1


async def test_the_same_text_of_another_chunk_resolves_to_the_original(bench: Bench) -> None:
    """LightRAG never writes a row for the second id: whoever polls it waits for ever."""
    handler = await bench.handler()
    await bench.run(handler, "c1", TEXT)
    again = await bench.run(handler, "c1", TEXT, job_id="job-2")
    assert again == Result(entities=3, relations=2, duplicate_of=document_id("job-1", "c1"))
    assert len(await bench.states()) == 1 and len(bench.model.texts) == 1


async def test_one_text_many_times_in_one_micro_batch(bench: Bench) -> None:
    """An early prototype hung here: the copy looked for its original before that was enqueued."""
    handler = await bench.handler(micro_batch_linger_seconds=0.05)
    ends = await bench.run_all(handler, {f"c{i}": TEXT for i in range(5)})
    originals = {r.duplicate_of for r in ends.values() if isinstance(r, Result)}
    assert len(originals) == 2 and None in originals and len(bench.model.texts) == 1
    assert {(r.entities, r.relations) for r in ends.values() if isinstance(r, Result)} == {(3, 2)}
    assert list((await bench.states()).values()) == ["processed"]


async def test_the_end_of_a_chunk_is_told_while_others_are_under_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By LightRAG's own function for one document, so that nobody has to ask again and again."""
    monkeypatch.setattr(completion, "POLL_SECONDS", 600)
    bench.model.delay = 0.2
    handler = await bench.handler(max_parallel_insert=1)
    ends = [asyncio.create_task(bench.run(handler, f"c{i}", f"Unit{i} Works supplies Helios Labs.")) for i in range(4)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    unfinished = [e for e in ends if not e.done()]  # at this moment: to ask for the states takes a while
    assert unfinished and "processed" in (await bench.states()).values()
    await asyncio.gather(*ends)


async def test_a_copy_waits_until_its_original_is_processed(bench: Bench) -> None:
    """Not until it is merely known."""
    handler = await bench.handler()
    bench.model.delay = 0.4
    first = asyncio.create_task(bench.run(handler, "c1", TEXT))
    await wait_until(bench.states, what="a row")
    second = asyncio.create_task(bench.run(handler, "c2", TEXT))
    done, _ = await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
    assert await bench.state("c1") == "processed" and done
    assert (await second).duplicate_of == document_id("job-1", "c1") and (await first).duplicate_of is None


async def test_x32_chunks_of_one_source_all_arrive(bench: Bench) -> None:
    """LightRAG keeps the last component of a file path, and refuses a second document with the same."""
    handler = await bench.handler()
    for i, uri in enumerate(("file:///a/report.pdf", "file:///b/report.pdf", "file:///a/report.pdf", "")):
        result = await bench.run(handler, f"c{i}", f"Helios Labs acquired Unit{i} Works.", source_uri=uri)
        assert result.duplicate_of is None
    assert list((await bench.states()).values()) == ["processed"] * 4


async def test_a_failed_document_is_retried_by_the_next_attempt(bench: Bench) -> None:
    """LightRAG raises nothing, and neither processes nor enqueues a FAILED document again."""
    handler = await bench.handler()
    bench.model.failing.add("Helios")
    with pytest.raises(RetryError, match="chunk-000") as raised:
        await bench.run(handler, "c1", TEXT)
    assert raised.value.counts and await bench.state("c1") == "failed"
    with pytest.raises(RetryError):
        await bench.run(handler, "c1", TEXT)
    bench.model.failing.clear()
    assert await bench.run(handler, "c1", TEXT) == Result(entities=3, relations=2)
    assert list((await bench.states()).values()) == ["processed"]


async def test_a_document_that_failed_in_the_merge_is_retried_too(bench: Bench) -> None:
    """By then it has touched the graph."""
    handler = await bench.handler()
    bench.model.broken_embeddings = True
    with pytest.raises(RetryError):
        await bench.run(handler, "c1", TEXT)
    bench.model.broken_embeddings = False
    assert await bench.run(handler, "c1", TEXT) == Result(entities=3, relations=2)


async def test_a_retry_is_served_while_others_keep_the_pipeline_busy(bench: Bench) -> None:
    """A running pipeline does not look at rows that were reset behind its back, unless told to."""
    handler = await bench.handler(max_parallel_insert=2)
    bench.model.failing.add("Poison")
    with pytest.raises(RetryError):
        await bench.run(handler, "bad", "Poison Works employs Anna Keller.")
    bench.model.failing.clear()
    bench.model.delay = 0.05
    others = asyncio.create_task(bench.run_all(handler, {f"c{i}": f"Unit{i} Works is here." for i in range(12)}))

    async def busy() -> bool:
        return any("Unit" in text for text in await bench.extracted())

    await wait_until(busy, what="an extraction of the others")
    assert (await bench.run(handler, "bad", "Poison Works employs Anna Keller.")).entities == 2
    assert all(isinstance(r, Result) for r in (await others).values())


async def test_a_copy_of_a_failed_document_gives_it_another_try(bench: Bench) -> None:
    """The original may be in a job that is over; its copy must not fail with it for ever."""
    handler = await bench.handler()
    bench.model.failing.add("Helios")
    for chunk in ("c1", "c2"):
        with pytest.raises(RetryError):
            await bench.run(handler, chunk, TEXT)
    bench.model.failing.clear()
    copy = await bench.run(handler, "c2", TEXT)
    assert copy.duplicate_of == document_id("job-1", "c1") and await bench.state("c1") == "processed"


async def test_one_bad_document_fails_alone(bench: Bench) -> None:
    """Its neighbours in the micro-batch are done."""
    handler = await bench.handler(micro_batch_linger_seconds=0.05)
    bench.model.failing.add("Poison")
    texts = {f"c{i}": f"Unit{i} Works is here." for i in range(5)} | {"bad": "Poison Works is here."}
    ends = await bench.run_all(handler, texts)
    assert isinstance(ends.pop("bad"), RetryError) and all(isinstance(r, Result) for r in ends.values())


async def test_a_document_whose_text_is_gone_is_stored_anew(bench: Bench) -> None:
    """As after a hand-made clean-up of LightRAG's tables."""
    handler = await bench.handler()
    bench.model.failing.add("Helios")
    with pytest.raises(RetryError):
        await bench.run(handler, "c1", TEXT)
    await bench.sql("DELETE FROM lightrag_doc_full WHERE workspace = $1", bench.workspace)
    bench.model.failing.clear()
    with pytest.raises(RetryError, match="anew") as raised:
        await bench.run(handler, "c1", TEXT)
    assert not raised.value.counts
    assert (await bench.run(handler, "c1", TEXT)).entities == 3


async def test_a_429_is_waited_out(bench: Bench) -> None:
    """By the client, as the endpoint asks."""
    handler = await bench.handler()
    bench.model.refusing = 2
    assert (await bench.run(handler, "c1", TEXT)).entities == 3


async def test_a_model_that_is_away_burns_no_attempt(bench: Bench) -> None:
    """The text is not to blame."""
    handler = await bench.handler(llm_base_url="http://127.0.0.1:9/v1")
    with pytest.raises(RetryError, match="does not answer") as raised:
        await bench.run(handler, "c1", TEXT)
    assert not raised.value.counts and raised.value.delay_seconds


async def test_the_handler_is_made_from_settings_and_credentials(bench: Bench, tmp_path: Path) -> None:
    """As the worker makes it. Without the DSN it is not made at all."""
    module = tmp_path / "workers" / "lightrag_processor.py"
    module.parent.mkdir()
    url = bench.model.url
    values = (
        f"llm_base_url={url!r}, embedding_base_url={url!r}, embedding_model='hash', embedding_dimensions={DIMENSIONS}"
    )
    module.write_text(f"from orchestrator.settings import LightRAGSettings\nsettings = LightRAGSettings({values})\n")
    setup = HandlerSetup("lightrag", {}, tmp_path, Credentials(tmp_path))
    with pytest.raises(CredentialError, match="lightrag-dsn"):
        create(setup)
    (tmp_path / "lightrag-dsn").write_text(bench.dsn)
    handler = create(setup)
    await handler.open()
    context = Recording()
    assert (await handler(bench.delivery("c1", TEXT), context)).entities == 3
    assert context.steps == [f"opening workspace {bench.workspace}", "in LightRAG's pipeline"]
    await handler.close()


async def test_a_pipeline_that_takes_nothing_burns_no_attempt(bench: Bench) -> None:
    """As while somebody clears documents through LightRAG's own server."""
    handler = await bench.handler()
    await bench.run(handler, "c1", TEXT)
    shared = import_module("lightrag.kg.shared_storage")
    pipeline = await shared.get_namespace_data("pipeline_status", workspace=bench.workspace)
    pipeline["destructive_busy"] = True
    with pytest.raises(RetryError, match="takes no documents") as raised:
        await bench.run(handler, "c2", "Other Text is here.")
    assert not raised.value.counts and raised.value.delay_seconds
    pipeline["destructive_busy"] = False
    assert (await bench.run(handler, "c2", "Other Text is here.")).entities == 1


async def test_a_cancelled_pipeline_fails_its_documents_and_the_next_attempt_does_them(bench: Bench) -> None:
    """LightRAG's own cancellation marks even what was never begun as FAILED for good: so we never use it."""
    handler = await bench.handler()
    await bench.run(handler, "c0", TEXT)
    bench.model.delay = 1.0
    texts = {f"c{i}": f"Unit{i} Works supplies Helios Labs." for i in range(1, 4)}
    running = asyncio.create_task(bench.run_all(handler, texts))

    async def begun() -> bool:
        return len(bench.model.texts) > 1

    await wait_until(begun, what="a call of the model")
    shared = import_module("lightrag.kg.shared_storage")
    pipeline = await shared.get_namespace_data("pipeline_status", workspace=bench.workspace)
    pipeline["cancellation_requested"] = True
    ends = await running
    assert {type(end) for end in ends.values()} == {RetryError}, ends
    bench.model.delay = 0.0
    again = await bench.run_all(handler, texts)
    assert {type(end) for end in again.values()} == {Result}, again


async def test_ollamas_own_protocol(bench: Bench) -> None:
    """Both models."""
    handler = await bench.handler(llm_binding="ollama", embedding_binding="ollama")
    assert (await bench.run(handler, "c1", TEXT)).entities == 3
