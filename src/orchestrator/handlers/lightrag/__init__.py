"""Feeds chunks to LightRAG, which builds a knowledge graph: one document a chunk, one pump a workspace in the cluster.

handler ─▶ workspaces ─▶ ingestor ─▶ admission ─▶ engine (LightRAG)
             (lock)          ├─▶ pump ───────────▶ │
                             └── completion ◀───── doc_status
"""

from __future__ import annotations

from orchestrator.handlers.base import Handler, HandlerSetup
from orchestrator.handlers.lightrag.handler import LightRAGHandler
from orchestrator.settings import LightRAGSettings
from orchestrator.settings.load import load


def create(setup: HandlerSetup) -> Handler:
    """Return the handler. Raises SettingsError and CredentialError."""
    settings = load(setup.settings_dir / "workers" / "lightrag_processor.py", LightRAGSettings)
    return LightRAGHandler(
        settings,
        setup.credentials.read("lightrag-dsn"),
        llm_key=setup.credentials.find("llm-api-key"),
        embedding_key=setup.credentials.find("embedding-api-key"),
    )
