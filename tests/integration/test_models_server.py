"""The model server as its clients see it: OpenAI's and Ollama's own libraries talk to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import numpy as np
import ollama
import openai
import pytest
import uvicorn

from orchestrator.models.app import ModelServer
from orchestrator.models.embedding import Embedder
from tests.support.servers import free_port


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The real MiniLM, loaded once."""
    return Embedder()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A running model server."""
    port = free_port()
    config = uvicorn.Config(ModelServer().app(), port=port, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    async with httpx.AsyncClient() as client:
        for _ in range(200):
            try:
                await client.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


def test_embeddings_are_minilms(embedder: Embedder) -> None:
    """Sentences of one meaning lie close, others do not; vectors have length 1; batches do not change them."""
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "The stock market fell sharply."]
    food, bread, stocks = embedder.embed(texts)
    assert food @ bread > 0.7 and abs(food @ stocks) < 0.2
    assert np.allclose([np.linalg.norm(v) for v in (food, bread, stocks)], 1.0, atol=1e-5)
    many = [f"{text} {'again and ' * count}" for count in (0, 3, 90) for text in texts * 4] + [texts[1]]
    assert np.allclose(Embedder().embed(many)[-1], bread, atol=1e-5)
    assert embedder.embed([texts[0]])[0] is food  # remembered


async def test_openais_client(url: str) -> None:
    """Chat, streamed chat, embeddings in the client's own base64, the list of models."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hello?"}]
        reply = await client.chat.completions.create(model="rules", messages=messages)
        assert reply.choices[0].message.content
        stream = await client.chat.completions.create(model="rules", messages=messages, stream=True)
        parts = [part.choices[0].delta.content or "" async for part in stream]
        assert "".join(parts) == reply.choices[0].message.content
        vectors = await client.embeddings.create(model="all-MiniLM-L6-v2", input=["one", "two"])
        assert [len(row.embedding) for row in vectors.data] == [384, 384]
        assert [model.id async for model in client.models.list()] == ["rules", "all-MiniLM-L6-v2"]
        with pytest.raises(openai.BadRequestError, match="input must be"):
            await client.embeddings.create(model="x", input=[])


async def test_ollamas_client(url: str) -> None:
    """Chat and embeddings."""
    client = ollama.AsyncClient(host=url)
    reply = await client.chat(model="rules", messages=[{"role": "user", "content": "Hello?"}])
    assert reply.message.content
    vectors = await client.embed(model="all-MiniLM-L6-v2", input=["one"])
    assert len(vectors.embeddings[0]) == 384
    await client.close()  # type: ignore[no-untyped-call]


async def test_bad_requests_are_refused_readably(url: str) -> None:
    """400 with OpenAI's error object."""
    async with httpx.AsyncClient(base_url=url) as client:
        for path, body in (
            ("/v1/chat/completions", b"{"),
            ("/v1/embeddings", b"[]"),
            ("/api/chat", b'{"messages": 1}'),
        ):
            reply = await client.post(path, content=body)
            assert reply.status_code == 400 and reply.json()["error"]["message"]
