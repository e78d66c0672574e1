"""The handler: a chunk becomes a LightRAG document, and is done when doc_status says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from orchestrator.backoff import full_jitter
from orchestrator.deliveries import Delivery, Result
from orchestrator.errors import RejectError, RetryError
from orchestrator.handlers.base import Context
from orchestrator.handlers.lightrag import environment
from orchestrator.handlers.lightrag.accounts import IN_PIPELINE, Accounts
from orchestrator.handlers.lightrag.identity import Document, document_id, document_source, workspace_name
from orchestrator.handlers.lightrag.ingestor import Ingestor
from orchestrator.handlers.lightrag.lock import connect
from orchestrator.handlers.lightrag.workspaces import Workspaces
from orchestrator.limits.pair import Limiters
from orchestrator.settings import LightRAGSettings

ENGINE = "orchestrator.handlers.lightrag.engine"
TIMEOUT_SECONDS = 300.0
PATIENCE = 0.8  # of a run's time may one call wait for the limiter
GIVES_WAY = 0.9  # of a run's time has passed: a run that mostly waited ends now, before that counts as an attempt
STALLED = 0.5  # of the time is mostly
LATER_SECONDS = 5.0


class LightRAGHandler:
    """One for a process: LightRAG has one database a process and one event loop an instance."""

    def __init__(
        self,
        settings: LightRAGSettings,
        dsn: str,
        *,
        llm_key: str | None = None,
        embedding_key: str | None = None,
        redis_url: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Raise CredentialError when the DSN is none that LightRAG can use.

        `timeout_seconds` is when the pool ends a run. Without `redis_url` the model calls of this process alone are
        limited. `secrets` are those of storages beside PostgreSQL, as variables.
        """
        self._settings = settings
        self._dsn = dsn
        self._redis_url = redis_url
        self._timeout = timeout_seconds
        self._accounts = Accounts()
        self._keys = {"llm_key": llm_key, "embedding_key": embedding_key}
        self._environment = environment.variables(settings, dsn, secrets)
        self._module: ModuleType | None = None
        self._workspaces: Workspaces | None = None

    async def open(self) -> None:
        """Load LightRAG, which takes seconds. Raises DependencyError when its database does not answer."""
        connection = await connect(self._dsn, "lightrag")
        await connection.close()
        environment.apply(self._environment)
        module = await asyncio.to_thread(import_module, ENGINE)
        self._limiters = Limiters(self._settings, self._redis_url)
        self._engines = module.Engines(
            self._settings,
            self._dsn,
            **self._keys,
            limiters=self._limiters,
            accounts=self._accounts,
            patience_seconds=PATIENCE * self._timeout,
        )
        self._workspaces = Workspaces(self._engines, self._dsn, self._settings)
        self._module = module

    async def __call__(self, delivery: Delivery, context: Context) -> Result:
        """Return once the chunk is in the graph; a chunk without text is done at once.

        A failed document is not tried again in here: that is the next attempt, which finds it FAILED and resets it.
        Cancelled, the document may still be processed; the next delivery finds it by its id.
        """
        if self._module is None or self._workspaces is None:
            raise RetryError("the handler is not open", counts=False, delay_seconds=1)
        if not isinstance(delivery.content, str):
            raise RejectError("the chunk has no text")
        if not delivery.job_id or not delivery.chunk_id:
            raise RejectError("the chunk has no job_id or no chunk_id")
        workspace = workspace_name(delivery.workspace)
        text = self._module.clean(delivery.content)
        if not text:
            return Result()
        doc_id = document_id(delivery.job_id, delivery.chunk_id)
        source = document_source(doc_id, delivery.source_uri, delivery.job_id, delivery.chunk_id)
        # the text as it came: LightRAG cleans it once more, and doing that twice changes it
        document = Document(doc_id, source, delivery.content, self._module.digest(text))
        context.step(f"opening workspace {workspace}")
        async with self._workspaces.use(workspace) as ingestor:
            context.step(IN_PIPELINE)
            with self._accounts.open(workspace, doc_id, context, text):
                return await self._submit(ingestor, document)

    async def _submit(self, ingestor: Ingestor, document: Document) -> Result:
        """Return when the document is done. A run that mostly waited for a model ends before its time does.

        Raises RetryError that burns no attempt then; LightRAG goes on with the document meanwhile.
        """
        began, stalled = time.monotonic(), self._limiters.stalled_seconds
        try:
            async with asyncio.timeout(GIVES_WAY * self._timeout):
                return await ingestor.submit(document)
        except TimeoutError:
            waited = self._limiters.stalled_seconds - stalled
            if waited >= STALLED * (time.monotonic() - began):
                delay = full_jitter(1, base_seconds=LATER_SECONDS, cap_seconds=LATER_SECONDS)
                reason = f"waited {waited:.0f} s for the model limiter; its document is still in the pipeline"
                raise RetryError(reason, counts=False, delay_seconds=1 + delay) from None
        return await ingestor.submit(document)  # not for long: the pool ends the run

    async def close(self) -> None:
        """Stop the pumps by cancellation and give engines and locks back; what was begun is resumed by the next."""
        if self._workspaces is not None:
            await self._workspaces.close()
            self._workspaces = None
            await self._engines.close()
            await self._limiters.close()
