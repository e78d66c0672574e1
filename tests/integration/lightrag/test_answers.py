"""What servers that are only nearly compatible answer, read as it is meant, or refused in words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from orchestrator.handlers.lightrag.endpoints import Endpoints
from orchestrator.settings import LightRAGSettings


@asynccontextmanager
async def serving(answer: Any, *, kind: str = "application/json") -> AsyncIterator[tuple[Endpoints, list[bytes]]]:
    """Endpoints of a server that gives this answer to everything; with what it was sent."""
    asked: list[bytes] = []
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        asked.append(head + await reader.readexactly(int(length.partition(b":")[2])))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %s\r\n" % kind.encode())
        writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    settings = LightRAGSettings(llm_base_url=url, embedding_base_url=url)
    found = Endpoints(settings, llm_key="secret", embedding_key="secret", patience_seconds=5)
    try:
        yield found, asked
    finally:
        await found.close()
        server.close()
        await server.wait_closed()


async def test_floats_where_base64_was_asked_for() -> None:
    """Some servers know one format; others leave the index out, or give the vectors in another order."""
    data = [{"embedding": [3.0, 4.0], "index": 1}, {"embedding": [1.0, 2.0], "index": 0}]
    async with serving({"data": data, "usage": None}) as (found, asked):
        assert (await found.embed(["a", "b"])).tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert b"authorization: bearer secret" in asked[0].lower() and b'"input":["a","b"]' in asked[0]
    async with serving({"data": [{"embedding": [1.0, 2.0]}, {"embedding": [3.0, 4.0]}]}) as (found, _):
        vectors = await found.embed(["a", "b"])
        assert vectors.tolist() == [[1.0, 2.0], [3.0, 4.0]] and vectors.dtype == np.float32


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"message": None}]}, [], "so it is", None])
async def test_an_answer_without_a_text_is_said_to_be_empty(answer: Any) -> None:
    """Whatever it lacks: never an error of ours, which would say nothing to an operator."""
    async with serving(answer) as (found, asked):
        with pytest.raises(ValueError, match="gave an empty answer"):
            await found.complete("Who?")
        assert b"authorization: bearer secret" in asked[0].lower()


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json ; charset=utf-8", "application/json; charset=latin-1"]
)
async def test_json_by_any_name_is_read(kind: str) -> None:
    """Some servers label it as something else, or in a charset that it has not."""
    answer = {"choices": [{"message": {"content": "D\u00fcsseldorf"}}]}
    async with serving(json.dumps(answer, ensure_ascii=False).encode(), kind=kind) as (found, _):
        assert await found.complete("Where?") == "D\u00fcsseldorf"
    async with serving(b'{"choices": [{"message": {"content": "half \\ud83d"}}], "x": NaN}', kind=kind) as (found, _):
        assert (await found.complete("Where?")).startswith("half"), "as strict as JSON in Python, and no stricter"


@pytest.mark.parametrize("embedding", [None, "abc", 5, {}, [], [[1.0]], "", "AAA="])
async def test_what_is_no_vector_is_said_to_be_none(embedding: Any) -> None:
    """In words, not as an error of ours."""
    for data in ([{"embedding": embedding, "index": None}], {"embedding": embedding}, [embedding]):
        async with serving({"data": data, "usage": 3}) as (found, _):
            with pytest.raises(ValueError, match="gave no vectors"):
                await found.embed(["a"])


async def test_a_page_of_a_proxy_is_no_answer() -> None:
    """It is served with status 200."""
    async with serving(b"<html>Sign in</html>", kind="text/html") as (found, _):
        with pytest.raises(ValueError, match="gave an empty answer"):
            await found.complete("Who?")
        with pytest.raises(ValueError, match="gave no vectors"):
            await found.embed(["a"])


async def test_json_is_asked_for_where_lightrag_wants_it() -> None:
    """LightRAG asks for keywords as JSON."""
    async with serving({"choices": [{"message": {"content": "{}"}}]}) as (found, asked):
        assert await found.complete("Who?", response_format={"type": "json_object"}) == "{}"
        assert b'"response_format":{"type":"json_object"}' in asked[0]
