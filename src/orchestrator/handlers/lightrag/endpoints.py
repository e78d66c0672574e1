"""The model endpoints, as functions LightRAG can call. One client each for a process.

LightRAG's own bindings make a client (and a TLS context) for every call, wait at least four seconds before they try
again, and load a tokenizer from the network; hence these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import httpx
import numpy as np
import numpy.typing as npt
import ollama
import openai

from orchestrator.errors import DependencyError
from orchestrator.handlers.lightrag.completion import NO_MODEL
from orchestrator.settings import LightRAGSettings

Messages = list[dict[str, str]]
CONNECT_SECONDS = 5.0  # a host that is off must not look like a slow model
TRIES_AGAIN = 2  # on 408, 409, 429, 5xx; the wait follows Retry-After
# Wrong key, no such model, quota spent, overloaded: every text would get this answer. 403 is not among them: some
# gateways refuse a text with it
OUTAGES = frozenset({401, 404, 429, 503})
# By name: the clients bring HTTP libraries of their own, with errors of the same names
_UNREACHABLE = frozenset({"ConnectError", "ConnectTimeout", "ConnectionError"})
OLLAMA_CONTEXT = 32_768  # tokens; Ollama's own default cuts the prompt of an extraction without a word


class _Client(Protocol):
    """One server in one protocol."""

    async def chat(self, model: str, messages: Messages, *, json: bool) -> str:
        """Return the answer's text, empty when there is none."""

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return the vectors in the order of the texts."""

    async def close(self) -> None:
        """Close connections."""


class _OpenAI:
    """An OpenAI-compatible server."""

    def __init__(self, base_url: str, key: str | None, seconds: float) -> None:
        patience = openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=key or "none", timeout=patience, max_retries=TRIES_AGAIN
        )

    async def chat(self, model: str, messages: Messages, *, json: bool) -> str:
        extra: dict[str, Any] = {"response_format": {"type": "json_object"}} if json else {}
        answer = await self._client.chat.completions.create(model=model, messages=messages, **extra)  # type: ignore[arg-type]
        return answer.choices[0].message.content or "" if answer.choices else ""

    async def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float]]:
        answer = await self._client.embeddings.create(model=model, input=list(texts))
        return [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]

    async def close(self) -> None:
        await self._client.close()


class _Ollama:
    """Ollama's own protocol."""

    def __init__(self, base_url: str, key: str | None, seconds: float) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        patience = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        self._client = ollama.AsyncClient(host=base_url.removesuffix("/v1"), timeout=patience, headers=headers)

    async def chat(self, model: str, messages: Messages, *, json: bool) -> str:
        options = {"num_ctx": OLLAMA_CONTEXT}
        answer = await self._client.chat(model, messages, format="json" if json else None, options=options)
        return answer.message.content or ""

    async def embed(self, model: str, texts: Sequence[str]) -> list[Sequence[float]]:
        answer = await self._client.embed(model, list(texts))
        return list(answer.embeddings)

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]


_BINDINGS: dict[str, Callable[[str, str | None, float], _Client]] = {"openai": _OpenAI, "ollama": _Ollama}


class Endpoints:
    """The language model and the embedding model of the settings."""

    def __init__(self, settings: LightRAGSettings, *, llm_key: str | None, embedding_key: str | None) -> None:
        seconds = settings.llm_timeout_seconds
        self._settings = settings
        self._llm = _BINDINGS[settings.llm_binding](settings.llm_base_url, llm_key, seconds)
        self._embedding = _BINDINGS[settings.embedding_binding](settings.embedding_base_url, embedding_key, seconds)

    def __deepcopy__(self, memo: dict[int, Any]) -> Endpoints:
        """Return itself: LightRAG copies its arguments deeply, and a client cannot be copied."""
        return self

    async def complete(
        self,
        prompt: str,
        system_prompt: str | None = None,
        history_messages: Sequence[Mapping[str, str]] | None = None,
        **options: Any,
    ) -> str:
        """Return the model's answer. LightRAG passes options of many bindings; JSON or not is the one that matters.

        Raises what the client raises, and DependencyError with NO_MODEL in it when the text is not to blame.
        """
        system: Messages = [{"role": "system", "content": system_prompt}] if system_prompt else []
        messages = [*system, *(dict(m) for m in history_messages or ()), {"role": "user", "content": prompt}]
        wants_json = options.get("response_format") is not None
        with _blame(self._settings.llm_base_url):
            answer = await self._llm.chat(self._settings.llm_model, messages, json=wants_json)
        if not answer.strip():
            raise ValueError(f"model {self._settings.llm_model} at {self._settings.llm_base_url} gave an empty answer")
        return answer

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one vector a text. Raises as `complete` does."""
        with _blame(self._settings.embedding_base_url):
            vectors = await self._embedding.embed(self._settings.embedding_model, texts)
        return np.asarray(vectors, dtype=np.float32)

    async def close(self) -> None:
        """Close the clients."""
        await self._llm.close()
        await self._embedding.close()


@contextmanager
def _blame(url: str) -> Iterator[None]:
    """Tell an endpoint that serves nobody now from one that refuses this text, whose error goes through."""
    try:
        yield
    except (openai.APIConnectionError, httpx.TransportError, ConnectionError) as error:
        reason = type(error.__cause__ or error)
        if _UNREACHABLE & {base.__name__ for base in reason.__mro__}:
            raise DependencyError(f"{NO_MODEL}: {url}") from error
        # it took the text, which may be why it is slow or died
        raise TimeoutError(f"the model at {url} did not finish its answer ({reason.__name__})") from error
    except (openai.APIStatusError, ollama.ResponseError) as error:
        if error.status_code in OUTAGES:
            raise DependencyError(f"{NO_MODEL}: {url} says {error.status_code}") from error
        raise
