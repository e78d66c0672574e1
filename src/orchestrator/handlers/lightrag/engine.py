"""All we know of LightRAG's interface: an engine is one LightRAG instance for one workspace.

Importing this imports LightRAG, so the process environment must have been set before (environment.py). `reset` uses
private and undocumented names: LightRAG has no other way to run one FAILED document again. Hence the pinned version.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightrag import LightRAG, QueryParam
from lightrag.exceptions import PipelineBackpressureError, PipelineReservationConflictError
from lightrag.kg.pipeline_ingress import PipelineIngressMessage
from lightrag.kg.shared_storage import get_pipeline_ingress
from lightrag.utils import EmbeddingFunc, Tokenizer, sanitize_text_for_encoding
from lightrag.utils_pipeline import compute_text_content_hash

from orchestrator import keys
from orchestrator.errors import DependencyError, RetryError
from orchestrator.handlers.lightrag import storages
from orchestrator.handlers.lightrag.accounts import Accounts
from orchestrator.handlers.lightrag.endpoints import Endpoints
from orchestrator.handlers.lightrag.identity import Document
from orchestrator.handlers.lightrag.lock import UNREACHABLE, connect, unreachable
from orchestrator.handlers.lightrag.tokens import PieceTokenizer
from orchestrator.settings import LightRAGSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger("orchestrator.lightrag")

# What LightRAG says as an error, or a warning, of every fresh database and of every new workspace
_EXPECTED = re.compile(r'relation "lightrag_\w+" does not exist|is empty\. Ensure it is caused by new workspace')
for _noisy in ("lightrag", "httpx", "openai"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)  # at INFO they write texts and a line for every request
logging.getLogger("lightrag").handlers.clear()  # it would write beside our own log, in a form of its own
logging.getLogger("lightrag").addFilter(lambda record: not _EXPECTED.search(record.getMessage()))
logging.getLogger("lightrag").propagate = True

CLOSE_SECONDS = 8.0
BUSY_SECONDS = 2.0
SCHEMA_POLL_SECONDS = 0.1
BATCH_ROUNDS = 8  # a document that failed in a batch of the pipeline is tried again only in the next: keep them short
_STORAGES = (
    "full_docs", "text_chunks", "full_entities", "full_relations", "entity_chunks", "relation_chunks", "entities_vdb",
    "relationships_vdb", "chunks_vdb", "chunk_entity_relation_graph", "llm_response_cache", "doc_status",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """What LightRAG's doc_status says of a document."""

    state: str  # pending, parsing, analyzing, processing, processed, failed
    reason: str = ""


def clean(text: str) -> str:
    """Return the text as LightRAG will store it: no control characters, HTML entities resolved, trimmed."""
    return str(sanitize_text_for_encoding(text))


def digest(cleaned: str) -> str:
    """Return the hash by which LightRAG finds the same text again."""
    return str(compute_text_content_hash(cleaned))


class Engines:
    """Makes engines: one database and one pair of model endpoints for the process."""

    def __init__(
        self, settings: LightRAGSettings, dsn: str, *, accounts: Accounts | None = None, **models: Any
    ) -> None:
        """`models` are the keyword arguments of Endpoints."""
        self._settings = settings
        self._dsn = dsn
        self._accounts = accounts or Accounts()
        if storages.in_postgres(settings):
            from orchestrator.handlers.lightrag import database  # noqa: PLC0415  # imports the driver

            database.adopt(dsn, uses_age=settings.graph_storage == "PGGraphStorage")
        self._endpoints = Endpoints(settings, accounts=self._accounts, **models)

    async def open(self, workspace: str, *, read_only: bool = False) -> Engine:
        """Return a workspace's engine. Raises DependencyError when the database does not answer.

        `read_only` engines leave no trace: they neither read nor write the cache of model answers.
        """
        rag = LightRAG(**self._arguments(workspace, read_only=read_only))
        engine = Engine(rag)
        self._account(engine)
        try:
            async with self._schema():
                await engine.begin()
        except BaseException as error:
            await engine.close()
            if isinstance(error, UNREACHABLE):
                raise unreachable(error) from error
            raise
        return engine

    async def close(self) -> None:
        """Close the clients of the endpoints."""
        await self._endpoints.close()

    def _account(self, engine: Engine) -> None:
        """Let every call that LightRAG makes for a document be known as that document's, and its end be told."""
        rag, process = engine._rag, engine._rag.process_single_document

        async def accounted(*, doc_id: str, **more: Any) -> None:
            with self._accounts.processing(rag.workspace, doc_id):
                await process(doc_id=doc_id, **more)
            engine.on_end(doc_id)

        rag.process_single_document = accounted

    @asynccontextmanager
    async def _schema(self) -> AsyncIterator[None]:
        """Let one process at a time create LightRAG's tables: CREATE TABLE IF NOT EXISTS is not safe against itself."""
        connection = await connect(self._dsn, "lightrag schema")
        try:
            # Asked for again and again, not waited for: a statement that waits keeps a snapshot, and LightRAG's CREATE
            # INDEX CONCURRENTLY waits for that, so that neither would ever end
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", keys.lock_id("lightrag schema")):  # noqa: ASYNC110
                await asyncio.sleep(SCHEMA_POLL_SECONDS)
            yield
        finally:
            await connection.close(timeout=5)

    def _arguments(self, workspace: str, *, read_only: bool) -> dict[str, Any]:
        s = self._settings
        return {
            "workspace": workspace,
            # LightRAG creates the directory even when nothing of it lies in files
            "working_dir": s.working_dir if storages.in_files(s) else tempfile.gettempdir(),
            **storages.chosen(s),
            "tokenizer": Tokenizer("pieces", PieceTokenizer()),
            "llm_model_func": self._endpoints.complete,
            "llm_model_name": s.llm_model,
            "llm_model_max_async": s.max_parallel_insert,
            "default_llm_timeout": self._endpoints.longest_seconds,  # it gives up after twice as long, we before
            "default_embedding_timeout": self._endpoints.longest_seconds,
            "embedding_func": EmbeddingFunc(
                embedding_dim=s.embedding_dimensions,
                func=self._endpoints.embed,
                max_token_size=s.embedding_max_tokens,
                model_name=s.embedding_model,
            ),
            "embedding_batch_num": s.embedding_batch,
            "embedding_func_max_async": s.max_parallel_insert,
            "max_parallel_insert": s.max_parallel_insert,
            "pipeline_scheduling_page_size": BATCH_ROUNDS * s.max_parallel_insert,
            "chunk_token_size": s.chunk_token_size,
            "chunk_overlap_token_size": min(100, s.chunk_token_size // 4),
            "entity_extract_max_gleaning": s.max_gleaning,
            "force_llm_summary_on_merge": s.force_summary_on_merge,
            "addon_params": {"language": s.summary_language},
            "enable_llm_cache": not read_only,
            "enable_llm_cache_for_entity_extract": not read_only,
        }


class Engine:
    """One workspace of LightRAG. Belongs to the event loop it was made on."""

    def __init__(self, rag: LightRAG) -> None:
        self.on_end: Callable[[str], None] = lambda _: None  # told of a document whose status says its end now
        self._rag = rag
        self._begun = False

    async def begin(self) -> None:
        """Connect the storages, and make or migrate their tables. Raises what the storages raise."""
        await self._rag.initialize_storages()
        self._begun = True

    async def statuses(self, ids: Sequence[str]) -> dict[str, DocumentStatus]:
        """Return the status of each document there is. Raises rather than leave one out."""
        found = await self._rag.doc_status.get_docs_by_ids(ids, strict=True)
        states = {i: str(record.status.value) for i, record in found.items()}
        failed = [i for i, state in states.items() if state == "failed"]
        rows = await self._rag.doc_status.get_full_docs_by_ids(failed, strict=True) if failed else {}
        reasons = {i: str(row.error_msg or "") for i, row in rows.items()}
        return {i: DocumentStatus(state, reasons.get(i, "")) for i, state in states.items()}

    async def holder(self, text_digest: str, *, besides: str) -> tuple[str, str] | None:
        """Return (id, state) of the document that already has this text, if another does."""
        match = await self._rag.doc_status.get_doc_by_content_hash(text_digest, exclude_doc_id=besides)
        if match is None:
            return None
        doc_id, row = match
        return str(doc_id), str(getattr(row["status"], "value", row["status"]))

    async def enqueue(self, documents: Sequence[Document]) -> None:
        """Store new documents as PENDING. Raises RetryError when LightRAG takes none at the moment."""
        texts, ids, sources = zip(*((d.text, d.id, d.source) for d in documents), strict=True)
        try:
            await self._rag.apipeline_enqueue_documents(list(texts), ids=list(ids), file_paths=list(sources))
        except (PipelineBackpressureError, PipelineReservationConflictError) as error:
            reason = f"LightRAG takes no documents now: {error}"
            raise RetryError(reason, counts=False, delay_seconds=BUSY_SECONDS) from error

    async def reset(self, ids: Sequence[str]) -> set[str]:
        """Make FAILED documents PENDING again: LightRAG never does so itself. Return those whose text was gone.

        The rows of those are removed, so that they can be enqueued anew.
        """
        rows = await self._rag.doc_status.get_full_docs_by_ids(ids, strict=True)
        texts = dict(zip(rows, await self._rag.full_docs.get_by_ids(list(rows)), strict=True))
        gone = {i for i in rows if not texts[i]}
        again = {i: self._rag._build_pending_reset_update(rows[i], texts[i])[0] for i in rows if i not in gone}
        if gone:
            await self._rag.doc_status.delete(list(gone))
        if again:
            await self._rag.doc_status.upsert(again)
            # A running pipeline looks for rows only where it is told to: at once, or, for a document that failed in the
            # batch under way, when that batch is over
            ingress = await get_pipeline_ingress(self._rag.workspace)
            ingress.put_documents([PipelineIngressMessage(kind="document", doc_id=i) for i in again])
            ingress.request_auto_rescan()
        return gone

    async def process(self) -> None:
        """Run the pipeline until nothing is left to do. Cancel it to stop: the next run resumes what was begun."""
        await self._rag.apipeline_process_enqueue_documents()

    async def counts(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return (entities, relations) named in each document. True only once it is PROCESSED."""
        wanted = list(ids)
        entities = await self._rag.full_entities.get_by_ids(wanted)
        relations = await self._rag.full_relations.get_by_ids(wanted)
        return {i: (_count(e), _count(r)) for i, e, r in zip(wanted, entities, relations, strict=True)}

    async def ask(self, question: str, mode: str) -> Mapping[str, Any]:
        """Return LightRAG's answer with the data it rests on. Raises DependencyError when something failed."""
        found: Mapping[str, Any] = await self._rag.aquery_llm(question, QueryParam(mode=mode, enable_rerank=False))
        if (found.get("llm_response") or {}).get("content") is None:
            raise DependencyError(f"the query failed: {found.get('message') or 'no answer'}")
        return found

    async def drop(self) -> None:
        """Delete everything the workspace holds. Raises DependencyError when a storage could not."""
        for name in _STORAGES:
            outcome = await getattr(self._rag, name).drop()
            if outcome.get("status") != "success":
                raise DependencyError(
                    f"LightRAG could not drop {name} of {self._rag.workspace!r}: {outcome['message']}"
                )

    async def close(self) -> None:
        """End the engine's background tasks and give its connections back, also of one that began in part.

        It cannot be used again. What is still in its buffers belongs to documents that are not PROCESSED and will be
        begun again; writing it would need the embedding model, which may be why we stop.
        """
        await asyncio.gather(*(stop(graceful=False) for stop in self._stops()), return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):  # a dead connection would be waited for as long as TCP likes
                for name in _STORAGES:
                    await self._leave(getattr(self._rag, name))
                await self._rag.finalize_storages()
        except TimeoutError:
            log.warning("connections to the LightRAG database were cut", extra={"workspace": self._rag.workspace})

    async def _leave(self, storage: Any) -> None:
        if self._begun:
            await storage.drop_pending_index_ops()
            return
        with contextlib.suppress(Exception):  # a storage that never began; LightRAG finalizes all or none
            await storage.finalize()

    def _stops(self) -> Iterator[Any]:
        """Yield how to end the queues before the models; LightRAG leaves their workers running."""
        for call in (*self._rag.role_llm_funcs.values(), self._rag.embedding_func.func):
            yield call.shutdown


def _count(row: Mapping[str, Any] | None) -> int:
    return int((row or {}).get("count") or 0)
