"""Feeds chunks to LightRAG, which builds a knowledge graph: one document a chunk, one pump a workspace in the cluster.

handler ─▶ workspaces ─▶ ingestor ─▶ admission ─▶ engine (LightRAG)
             (lock)          ├─▶ pump ───────────▶ │
                             └── completion ◀───── doc_status
"""

from __future__ import annotations

from orchestrator.handlers.base import Handler, HandlerSetup
from orchestrator.handlers.lightrag import storages
from orchestrator.handlers.lightrag.handler import TIMEOUT_SECONDS, LightRAGHandler
from orchestrator.settings import LightRAGSettings, WorkerPoolSettings
from orchestrator.settings.load import load


def create(setup: HandlerSetup) -> Handler:
    """Return the handler. Raises SettingsError and CredentialError."""
    settings = load(setup.settings_dir / "workers" / "lightrag_processor.py", LightRAGSettings)
    storages.check(settings)
    pool = setup.settings_dir / "workers" / "worker_pool.py"
    timeout = TIMEOUT_SECONDS
    if pool.exists():
        timeout = load(pool, WorkerPoolSettings).for_type(setup.worker_type).timeout_seconds
    return LightRAGHandler(
        settings,
        setup.credentials.read("lightrag-dsn"),
        llm_key=setup.credentials.find("llm-api-key"),
        embedding_key=setup.credentials.find("embedding-api-key"),
        redis_url=setup.credentials.find("redis-url"),
        timeout_seconds=timeout,
        secrets=storages.secrets(settings, setup.credentials.find),
    )
