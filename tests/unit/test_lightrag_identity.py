"""Names inside LightRAG: unique, bounded, and read back."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import CredentialError, RejectError
from orchestrator.handlers.lightrag.admission import Step, decide
from orchestrator.handlers.lightrag.environment import WORKSPACE_OVERRIDES, variables
from orchestrator.handlers.lightrag.identity import document_id, document_source, source_uri, workspace_name
from orchestrator.handlers.lightrag.tokens import PieceTokenizer
from orchestrator.settings import LightRAGSettings

DSN = "postgresql://light%40rag:p%2Fw@db.example:5433/lightrag"


@given(st.text(), st.text(), st.text(), st.text())
def test_two_chunks_never_share_an_id(job: str, chunk: str, other_job: str, other_chunk: str) -> None:
    """A separator that no id may hold stands between job and chunk."""
    same = (job, chunk) == (other_job, other_chunk)
    if not any("\0" in part for part in (job, chunk, other_job, other_chunk)):
        assert (document_id(job, chunk) == document_id(other_job, other_chunk)) is same


def test_an_id_is_stable() -> None:
    """Documents of earlier releases must be found again; LightRAG's column holds 255 characters."""
    assert document_id("job-1", "c1") == "ck-4b6d95e8857f41c19e9d9e84ca7d80da49ffe429"
    assert len(document_id("j" * 999, "c" * 999)) == 43


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=90))
def test_a_source_is_one_path_component_and_read_back(uri: str) -> None:
    """LightRAG keeps the last component only, and strips parser hints in brackets."""
    source = document_source(document_id("j", "c"), uri, "j", "c")
    assert not set("/\\[]<>|\n\0") & set(source) and len(source) <= 1024
    assert source_uri(source) == (uri.strip() or "chunk:j/c")


@pytest.mark.parametrize("uri", ["x" * 5000, "ü" * 5000, "%" * 899, "/" * 5000])
def test_a_long_source_is_cut_at_a_character(uri: str) -> None:
    """Not in the middle of an escape."""
    source = document_source(document_id("j", "c"), uri, "j", "c")
    assert len(source) <= 1024
    assert uri.startswith(source_uri(source))


def test_sources_of_others_are_left_alone() -> None:
    """As of documents that somebody put into LightRAG by hand."""
    assert source_uri("report%20.pdf") == "report%20.pdf"


@pytest.mark.parametrize("name", ["a/b", "a\\b", ".", "..", "a\n", "\0", " a", "x" * 256])
def test_a_workspace_lightrag_would_refuse_is_rejected(name: str) -> None:
    """Before anything is opened."""
    with pytest.raises(RejectError, match="workspace"):
        workspace_name(name)


def test_workspace_names() -> None:
    """The one without a name has the name LightRAG's storages give it, so that its lock has, too."""
    assert workspace_name("") == "default" and workspace_name("ünï v1.0") == "ünï v1.0"


def test_every_state_of_doc_status_has_a_step() -> None:
    """Only FAILED needs help."""
    assert decide(None) is Step.ENQUEUE and decide("failed") is Step.RESET
    for state in ("pending", "parsing", "analyzing", "preprocessed", "processing", "processed"):
        assert decide(state) is Step.WATCH


@given(st.text(st.characters()))
def test_tokens_are_reversible(text: str) -> None:
    """LightRAG cuts texts by decoding a part of their tokens."""
    tokenizer = copy.deepcopy(PieceTokenizer())
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tokens_are_about_as_many_as_a_models() -> None:
    """A real vocabulary has 4 to 5 characters a token in English."""
    text = "The lock is a session-level advisory lock on a connection of its own, so that it dies with its holder. " * 9
    assert 3 < len(text) / len(PieceTokenizer().encode(text)) < 5


def test_the_environment_names_the_database_and_no_workspace() -> None:
    """The DSN's escapes are resolved; options that are ours win over storage_options."""
    settings = LightRAGSettings(storage_options={"QDRANT_URL": "http://q:6333", "POSTGRES_WORKSPACE": "leak"})
    found = variables(settings, f"{DSN}?sslmode=require&application_name=x")
    assert found["POSTGRES_USER"] == "light@rag" and found["POSTGRES_PASSWORD"] == "p/w"
    assert (found["POSTGRES_HOST"], found["POSTGRES_PORT"]) == ("db.example", "5433")
    assert found["POSTGRES_DATABASE"] == "lightrag" and found["POSTGRES_SSL_MODE"] == "require"
    assert found["QDRANT_URL"] == "http://q:6333" and found["POSTGRES_MAX_CONNECTIONS"] == "8"
    assert {found[name] for name in WORKSPACE_OVERRIDES} == {""}


def test_a_socket_directory_is_a_host() -> None:
    """As libpq writes it."""
    assert variables(LightRAGSettings(), "postgresql:///lightrag?host=/run/postgresql")["POSTGRES_HOST"] == (
        "/run/postgresql"
    )


@pytest.mark.parametrize(
    "dsn", ["mysql://u:secret@h/d", "postgresql://u:secret@h", "postgresql://u:secret@a:1,b:2/d", "postgresql:///d",
            "postgresql://u:secret@h:port/d"],
)  # fmt: skip
def test_a_wrong_dsn_is_named_but_not_shown(dsn: str) -> None:
    """It holds a password."""
    with pytest.raises(CredentialError, match="lightrag-dsn") as wrong:
        variables(LightRAGSettings(), dsn)
    assert "secret" not in str(wrong.value)
