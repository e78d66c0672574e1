"""Which storages may be chosen, and where their secrets go."""

from __future__ import annotations

import pytest

from orchestrator.errors import SettingsError
from orchestrator.handlers.lightrag import storages
from orchestrator.settings import LightRAGSettings

QDRANT = LightRAGSettings(
    vector_storage="QdrantVectorDBStorage", storage_options={"QDRANT_URL": "https://qdrant.example:6333"}
)


def test_a_missing_client_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a source does whose extra is not installed."""
    storages.check(QDRANT)
    monkeypatch.setattr(storages, "find_spec", lambda name: None)
    storages.check(LightRAGSettings())
    with pytest.raises(SettingsError, match=r"vector_storage: .* install orchestrator-workers\[qdrant\]"):
        storages.check(QDRANT)


def test_secrets_come_from_credentials_and_only_those_that_are_used() -> None:
    """A key that a server does not ask for may be left out."""

    def find(name: str) -> str | None:
        return {"qdrant-api-key": "q", "neo4j-password": "n"}.get(name)

    assert storages.secrets(LightRAGSettings(), find) == {}
    assert storages.secrets(QDRANT, find) == {"QDRANT_API_KEY": "q"}
    assert storages.secrets(QDRANT, lambda name: None) == {}


@pytest.mark.parametrize("name", ["", "FaissVectorDBStorage", "MongoVectorDBStorage"])
def test_what_would_be_installed_at_run_time_is_refused(name: str) -> None:
    """The message says what may be chosen."""
    with pytest.raises(SettingsError, match=r"vector_storage: .* is not one of PG…, Json…"):
        storages.check(LightRAGSettings(vector_storage=name))
