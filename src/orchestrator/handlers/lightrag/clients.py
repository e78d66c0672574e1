"""The model servers in their protocols: one client each for a process, no tries of its own, and what a call used."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import loads
from typing import Any, Protocol

import httpx
import numpy as np
import numpy.typing as npt
import ollama
import openai

from orchestrator.handlers.lightrag.faults import OVERLOADED, ThrottledAnswer

Messages = list[dict[str, str]]
Vectors = Sequence[Sequence[float]] | Sequence[npt.NDArray[np.float32]]
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
    """An OpenAI-compatible server. Answers are read as plain JSON: the library's models of them cost half a call."""

    def __init__(self, base_url: str, key: str | None, seconds: float) -> None:
        patience = openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        # its own tries would hide a 429 from the limiter, and keep a permit while they sleep
        self._client = openai.AsyncOpenAI(base_url=base_url, api_key=key or "none", timeout=patience, max_retries=0)

    async def chat(self, model: str, messages: Messages, *, json: bool) -> Chat:
        extra: dict[str, Any] = {"response_format": {"type": "json_object"}} if json else {}
        answer = await self._post("/chat/completions", {"model": model, "messages": messages, **extra})
        used = _used(answer)
        return Chat(_text(answer), _count(used.get("prompt_tokens")), _count(used.get("completion_tokens")))

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        body = {"model": model, "input": list(texts), "encoding_format": "base64"}
        answer = await self._post("/embeddings", body)
        if not (vectors := _vectors(answer)):
            raise ValueError(f"model {model} at {self._client.base_url} gave no vectors")
        return Embedded(vectors, _count(_used(answer).get("prompt_tokens")))

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer, whatever the server says it is; nothing when it is no JSON object."""
        try:
            answer = loads(await self._client.post(path, cast_to=bytes, body=body))
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

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
        return Chat(answer.message.content or "", _count(answer.prompt_eval_count), _count(answer.eval_count))

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        answer = await self._client.embed(model, list(texts))
        return Embedded(list(answer.embeddings), _count(answer.prompt_eval_count))

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]


BINDINGS: dict[str, Callable[[str, str | None, float], Client]] = {"openai": _OpenAI, "ollama": _Ollama}


async def _note_throttling(response: httpx.Response) -> None:
    """Raise what its client would make an error without headers of, and so without Retry-After."""
    if response.status_code in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE, OVERLOADED}:
        raise ThrottledAnswer(response.status_code, response.headers)


def _text(answer: dict[str, Any]) -> str:
    """Return the text of an OpenAI answer; empty when it holds none."""
    try:
        text = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def _vectors(answer: dict[str, Any]) -> list[npt.NDArray[np.float32]]:
    """Return the vectors of an OpenAI answer in the order of the texts; none when it holds anything else."""
    try:
        items = sorted(answer["data"], key=lambda item: item.get("index") or 0)
        vectors = [_vector(item["embedding"]) for item in items]
    except (LookupError, AttributeError, TypeError, ValueError):
        return []
    return vectors if all(vector.ndim == 1 and vector.size for vector in vectors) else []


def _vector(sent: str | Sequence[float]) -> npt.NDArray[np.float32]:
    """Return a vector: base64 of little-endian floats, or the floats themselves from servers that know nothing else."""
    return np.frombuffer(base64.b64decode(sent), "<f4") if isinstance(sent, str) else np.asarray(sent, np.float32)


def _used(answer: dict[str, Any]) -> dict[str, Any]:
    used = answer.get("usage")
    return used if isinstance(used, dict) else {}


def _count(value: int | None) -> int:
    return value if isinstance(value, int) and value > 0 else 0
