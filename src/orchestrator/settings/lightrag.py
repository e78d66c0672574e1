"""Settings of the LightRAG handler: endpoints, storages, and the parallelism of its pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.settings.model import Settings, at_least, require

BINDINGS = frozenset({"openai", "ollama"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LightRAGSettings(Settings):
    """The rendered module workers/lightrag_processor.py. Values follow what was measured, not LightRAG's defaults."""

    llm_binding: str = "openai"  # protocol of the language model: openai or ollama
    llm_base_url: str = "http://127.0.0.1:11434/v1"  # where it answers
    llm_model: str = "rules"  # its name there
    embedding_binding: str = "openai"  # the same for the embedding model
    embedding_base_url: str = "http://127.0.0.1:11434/v1"  # where it answers
    embedding_model: str = "all-MiniLM-L6-v2"  # its name there; another one needs an empty vector storage
    embedding_dimensions: int = 384  # length of its vectors
    embedding_max_tokens: int = 8192  # it reads no more of a text than this
    working_dir: str = "/var/lib/orchestrator/lightrag"  # file storages only
    kv_storage: str = "PGKVStorage"  # of texts, chunks and the cache; or JsonKVStorage: files, for a single host
    doc_status_storage: str = "PGDocStatusStorage"  # of the state of documents; or JsonDocStatusStorage
    graph_storage: str = "PGTableGraphStorage"  # of entities and relations; or NetworkXStorage, Neo4JStorage
    vector_storage: str = "PGVectorStorage"  # of their vectors; or NanoVectorDBStorage, QdrantVectorDBStorage
    storage_options: Mapping[str, str] = field(default_factory=dict)  # QDRANT_URL, NEO4J_URI, NEO4J_USERNAME; no secret
    max_parallel_insert: int = 8  # documents, and model calls, in flight: one chunk is one document
    micro_batch: int = 64  # chunks handed to the pipeline at once
    micro_batch_linger_seconds: float = 0.004  # how long the first of them waits for others
    chunk_token_size: int = 8192  # at least the largest queue chunk, so that LightRAG does not split it again
    max_gleaning: int = 0  # each adds a model call to every chunk
    force_summary_on_merge: int = 20  # descriptions of one entity before the model summarises them
    embedding_batch: int = 32  # texts of one call of the embedding model
    llm_max_concurrency: int = 64  # calls at once of all hosts together; the limiter finds what the endpoint bears
    llm_requests_per_minute: int = 0  # of all hosts together; 0 = no cap
    llm_tokens_per_minute: int = 0  # of all hosts together; 0 = no cap
    embedding_max_concurrency: int = 64  # the same for the embedding model
    embedding_requests_per_minute: int = 0  # of all hosts together; 0 = no cap
    embedding_tokens_per_minute: int = 0  # of all hosts together; 0 = no cap
    price_table: Mapping[str, Any] = field(default_factory=dict)  # model: (price of 1M prompt tokens, of 1M completion)
    llm_timeout_seconds: float = 180.0  # of one model call; then the chunk is tried again
    summary_language: str = "English"  # in which the model describes what it finds
    postgres_connections: int = 8  # of LightRAG's storages, in each process
    idle_engine_seconds: float = 300.0  # an unused workspace gives its lock and its engine back
    ephemeral_workspaces: Sequence[str] = ("canary",)  # dropped, rows and all, 2 s after their last chunk

    def check(self) -> None:
        """Check ranges and the names of the bindings."""
        for key in ("llm_binding", "embedding_binding"):
            require(getattr(self, key) in BINDINGS, key, "one of " + ", ".join(sorted(BINDINGS)), getattr(self, key))
        for key in ("llm_base_url", "embedding_base_url"):
            value = getattr(self, key)
            require(value.startswith(("http://", "https://")), key, "an http or https URL", value)
        positive = ("embedding_dimensions", "embedding_max_tokens", "max_parallel_insert", "micro_batch")
        at_least(self, 1, (*positive, "chunk_token_size", "embedding_batch", "postgres_connections"))
        at_least(self, 2, ("force_summary_on_merge",))
        at_least(self, 1, ("llm_max_concurrency", "embedding_max_concurrency"))
        caps = ("llm_requests_per_minute", "llm_tokens_per_minute")
        at_least(self, 0, (*caps, "embedding_requests_per_minute", "embedding_tokens_per_minute"))
        at_least(self, 0, ("max_gleaning", "micro_batch_linger_seconds"))
        at_least(self, 0.05, ("llm_timeout_seconds", "idle_engine_seconds"))
        names = self.ephemeral_workspaces
        listed = not isinstance(names, str) and all(isinstance(name, str) for name in names)
        require(listed, "ephemeral_workspaces", "a list of names", names)
        for model, prices in self.price_table.items():
            rule = "two prices from 0 to 1000000: (of 1M prompt tokens, of 1M completion tokens)"
            require(_are_prices(prices), f"price_table[{model!r}]", rule, prices)


def _are_prices(prices: object) -> bool:
    return isinstance(prices, list | tuple) and len(prices) == 2 and all(map(_is_price, prices))


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1_000_000
