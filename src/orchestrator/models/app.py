"""The lab's model server: OpenAI's and Ollama's HTTP interfaces over the rules and the embedder."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from orchestrator.models.embedding import Embedder
from orchestrator.models.prompts import complete

MODELS = ("rules", "all-MiniLM-L6-v2")
MAX_BODY = 16 * 1024 * 1024
BAD_REQUEST = 400


class _BadRequestError(Exception):
    """What is wrong with a request."""


class ModelServer:
    """The routes and what they share."""

    def __init__(self) -> None:
        self._embedder = Embedder()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="models")  # the embedder uses the cores by itself
        self._numbers = itertools.count(1)

    def app(self) -> Starlette:
        """Return the application."""
        posts = {
            "/v1/chat/completions": self.openai_chat,
            "/v1/embeddings": self.openai_embeddings,
            "/api/chat": self.ollama_chat,
            "/api/embed": self.ollama_embed,
        }
        gets = {"/v1/models": self.openai_models, "/api/tags": self.ollama_tags, "/health": self.health}
        routes = [Route(path, act, methods=["POST"]) for path, act in posts.items()]
        routes += [Route(path, act, methods=["GET"]) for path, act in gets.items()]
        return Starlette(routes=routes, exception_handlers={_BadRequestError: _refused})

    async def health(self, request: Request) -> Response:
        """Say that we live."""
        return _json({"status": "up"})

    async def openai_models(self, request: Request) -> Response:
        """List the models as OpenAI does."""
        return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def ollama_tags(self, request: Request) -> Response:
        """List the models as Ollama does."""
        return _json({"models": [{"name": f"{name}:latest", "model": f"{name}:latest"} for name in MODELS]})

    async def openai_chat(self, request: Request) -> Response:
        """Complete a chat, whole or as a stream."""
        body = await _body(request)
        messages = _messages(body)
        text = await self._aside(complete, messages)
        head = {"id": f"chat-{next(self._numbers)}", "created": int(time.time()), "model": body.get("model", MODELS[0])}
        if body.get("stream"):
            return StreamingResponse(_openai_stream(head, text), media_type="text/event-stream")
        message = {"role": "assistant", "content": text}
        usage = _usage(sum(len(content) for _, content in messages), len(text))
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def openai_embeddings(self, request: Request) -> Response:
        """Embed texts; as base64 of little-endian float32 when asked."""
        body = await _body(request)
        texts = _texts(body)
        vectors = await self._aside(self._embedder.embed, texts)
        encode = _base64 if body.get("encoding_format") == "base64" else _floats
        rows = [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(vectors)]
        usage = _usage(sum(map(len, texts)), 0)
        return _json({"object": "list", "data": rows, "model": body.get("model", MODELS[1]), "usage": usage})

    async def ollama_chat(self, request: Request) -> Response:
        """Complete a chat as Ollama does: a stream of one line unless told otherwise."""
        body = await _body(request)
        text = await self._aside(complete, _messages(body))
        reply = {
            "model": body.get("model", MODELS[0]),
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "message": {"role": "assistant", "content": text},
            "done": True,
            "done_reason": "stop",
        }
        media = "application/x-ndjson" if body.get("stream", True) else "application/json"
        return Response(orjson.dumps(reply) + b"\n", media_type=media)

    async def ollama_embed(self, request: Request) -> Response:
        """Embed texts as Ollama does."""
        body = await _body(request)
        vectors = await self._aside(self._embedder.embed, _texts(body))
        return _json({"model": body.get("model", MODELS[1]), "embeddings": [_floats(v) for v in vectors]})

    async def _aside(self, act: Any, argument: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, argument)


async def _body(request: Request) -> dict[str, Any]:
    if int(request.headers.get("content-length", "0")) > MAX_BODY:
        raise _BadRequestError(f"the body is larger than {MAX_BODY} bytes")
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise _BadRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _BadRequestError("the body must be a JSON object")
    return body


def _messages(body: dict[str, Any]) -> list[tuple[str, str]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise _BadRequestError("messages must be a list of objects with role and content")
    return [(str(m.get("role", "user")), _content(m.get("content"))) for m in messages]


def _content(content: object) -> str:
    if isinstance(content, list):  # OpenAI's content parts
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _texts(body: dict[str, Any]) -> Sequence[str]:
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise _BadRequestError("input must be a text or a list of texts")
    return texts


def _openai_stream(head: dict[str, Any], text: str) -> Iterator[bytes]:
    for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        yield b"data: " + orjson.dumps(chunk) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _usage(prompt: int, completion: int) -> dict[str, int]:
    """Return a count of tokens at four characters each: good enough for a lab."""
    counted = {"prompt_tokens": prompt // 4 + 1, "completion_tokens": completion // 4}
    return {**counted, "total_tokens": sum(counted.values())}


def _floats(vector: Any) -> list[float]:
    return [float(x) for x in vector]


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


def _refused(request: Request, error: Exception) -> Response:
    return _json({"error": {"message": str(error), "type": "invalid_request_error"}}, BAD_REQUEST)
