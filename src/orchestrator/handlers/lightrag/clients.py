"""The model servers in their protocols: one client each for a process, no tries of its own, and what a call used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import ollama
import openai

from orchestrator.handlers.lightrag.faults import OVERLOADED, ThrottledAnswer

Messages = list[dict[str, str]]
Vectors = Sequence[Sequence[float]]
CONNECT_SECONDS = 5.0  # a host that is off must not look like a slow model
OLLAMA_CONTEXT = 32_768  # tokens; Ollama's own default cuts the prompt of an extraction without a word


@dataclass(frozen=True, slots=True)
class Chat:
    """An answer; counts are 0 when the server does not say."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of the texts."""

    vectors: Vectors
    prompt_tokens: int = 0


class Client(Protocol):
    """One server in one protocol."""

    async def chat(self, model: str, messages: Messages, *, json: bool) -> Chat:
        """Return the answer, its text empty when there is none."""

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        """Return the vectors."""

    async def close(self) -> None:
        """Close connections."""


class _OpenAI:
    """An OpenAI-compatible server."""

    def __init__(self, base_url: str, key: str | None, seconds: float) -> None:
        patience = openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        # its own tries would hide a 429 from the limiter, and keep a permit while they sleep
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=key or "none", timeout=patience, max_retries=0)

    async def chat(self, model: str, messages: Messages, *, json: bool) -> Chat:
        extra: dict[str, Any] = {"response_format": {"type": "json_object"}} if json else {}
        answer = await self._client.chat.completions.create(model=model, messages=messages, **extra)  # type: ignore[arg-type]
        text = answer.choices[0].message.content or "" if answer.choices else ""
        used = answer.usage
        return Chat(text, _count(used, "prompt_tokens"), _count(used, "completion_tokens"))

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        answer = await self._client.embeddings.create(model=model, input=list(texts))
        vectors = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
        return Embedded(vectors, _count(answer.usage, "prompt_tokens"))

    async def close(self) -> None:
        await self._client.close()


class _Ollama:
    """Ollama's own protocol."""

    def __init__(self, base_url: str, key: str | None, seconds: float) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        patience = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        host, hooks = base_url.removesuffix("/v1"), {"response": [_note_throttling]}
        self._client = ollama.AsyncClient(host=host, timeout=patience, headers=headers, event_hooks=hooks)

    async def chat(self, model: str, messages: Messages, *, json: bool) -> Chat:
        options = {"num_ctx": OLLAMA_CONTEXT}
        answer = await self._client.chat(model, messages, format="json" if json else None, options=options)
        return Chat(answer.message.content or "", _count(answer, "prompt_eval_count"), _count(answer, "eval_count"))

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        answer = await self._client.embed(model, list(texts))
        return Embedded(list(answer.embeddings), _count(answer, "prompt_eval_count"))

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]


BINDINGS: dict[str, Callable[[str, str | None, float], Client]] = {"openai": _OpenAI, "ollama": _Ollama}


async def _note_throttling(response: httpx.Response) -> None:
    """Raise what its client would make an error without headers of, and so without Retry-After."""
    if response.status_code in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE, OVERLOADED}:
        raise ThrottledAnswer(response.status_code, response.headers)


def _count(used: object, name: str) -> int:
    value = getattr(used, name, None)
    return value if isinstance(value, int) and value > 0 else 0
