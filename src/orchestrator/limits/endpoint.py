"""A model endpoint, and how much of it may be used. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit

import orjson

from orchestrator.settings import LightRAGSettings

INITIAL_ROUNDS = 2  # the first limit, in what one pipeline has in flight


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model of one server: who calls it shares one limiter with all who call it."""

    kind: str  # llm or embedding
    url: str
    model: str
    ceiling: int  # calls at once, never more
    initial: int  # calls at once when nothing is known
    requests_per_minute: int = 0  # 0: no cap
    tokens_per_minute: int = 0

    @property
    def id(self) -> str:
        """Return the name it has in Redis."""
        return sha256(f"{self.kind}\0{self.url}\0{self.model}".encode()).hexdigest()[:16]

    @property
    def about(self) -> bytes:
        """Return what an operator may read of it, as JSON: no user or password of the URL."""
        parts = urlsplit(self.url)
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
        caps = {
            "ceiling": self.ceiling,
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
        }
        return orjson.dumps({"kind": self.kind, "url": shown, "model": self.model, **caps})


def llm_endpoint(settings: LightRAGSettings) -> Endpoint:
    """Return the language model of the settings."""
    return Endpoint(
        kind="llm",
        url=settings.llm_base_url,
        model=settings.llm_model,
        ceiling=settings.llm_max_concurrency,
        initial=INITIAL_ROUNDS * settings.max_parallel_insert,
        requests_per_minute=settings.llm_requests_per_minute,
        tokens_per_minute=settings.llm_tokens_per_minute,
    )


def embedding_endpoint(settings: LightRAGSettings) -> Endpoint:
    """Return the embedding model of the settings."""
    return Endpoint(
        kind="embedding",
        url=settings.embedding_base_url,
        model=settings.embedding_model,
        ceiling=settings.embedding_max_concurrency,
        initial=INITIAL_ROUNDS * settings.max_parallel_insert,
        requests_per_minute=settings.embedding_requests_per_minute,
        tokens_per_minute=settings.embedding_tokens_per_minute,
    )
