"""What a model endpoint does wrong, and whether the text is to blame: only then an attempt is burned."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from orchestrator.errors import DependencyError, ThrottledError
from orchestrator.handlers.lightrag import clients, endpoints
from orchestrator.handlers.lightrag.endpoints import Endpoints
from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL
from orchestrator.settings import LightRAGSettings
from tests.support.model_server import DIMENSIONS, ModelServer
from tests.support.throttling import Gate

both = pytest.mark.parametrize("binding", ["openai", "ollama"])


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once is enough to see what an error becomes; that it is tried again has tests of its own."""
    monkeypatch.setattr(endpoints, "TRIES_AGAIN", 0)


@asynccontextmanager
async def made(url: str, binding: str, *, patience: float = 0.05, **changes: Any) -> AsyncIterator[Endpoints]:
    """Endpoints of a server, for callers who wait so many seconds."""
    settings = LightRAGSettings(
        llm_base_url=url, embedding_base_url=url, llm_binding=binding, embedding_binding=binding, **changes
    )
    found = Endpoints(settings, llm_key="k", embedding_key=None, patience_seconds=patience)
    try:
        yield found
    finally:
        await found.close()


def calls(found: Endpoints) -> list[Callable[[], Awaitable[object]]]:
    """Return one call of each model."""
    return [lambda: found.complete("Who?"), lambda: found.embed(["Helios Labs"])]


@both
async def test_both_models_answer(binding: str, model: ModelServer) -> None:
    """One vector a text, in order."""
    async with made(model.url, binding) as found:
        assert await found.complete("Who?", "You know.", [{"role": "user", "content": "Hm"}]) == (
            "According to the sources, so it is."
        )
        vectors = await found.embed(["Helios Labs", "Titan Corp"])
        assert vectors.shape == (2, DIMENSIONS) and (vectors[0] != vectors[1]).any()


@both
@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, NO_CREDENTIALS),
        (403, NO_CREDENTIALS),
        (402, NO_MODEL),
        (404, NO_MODEL),
        (400, f"{NO_MODEL}.*to whatever it is asked"),
    ],
)
async def test_an_endpoint_that_serves_nobody_is_an_outage(
    binding: str, status: int, says: str, model: ModelServer
) -> None:
    """A revoked key, or a setting that every call is refused for, must not bury the whole queue."""
    model.refusing_all.add(status)
    async with made(model.url, binding) as found:
        for call in calls(found):
            with pytest.raises(DependencyError, match=f"{says}" if ".*" in says else f"{says}.* says {status}"):
                await call()


@both
@pytest.mark.parametrize("status", [429, 503, 529])
async def test_a_throttled_call_is_waited_for_and_then_comes_again_later(
    binding: str, status: int, model: ModelServer
) -> None:
    """All that its patience allows; whoever asks next hears the same without asking the endpoint."""
    model.refusing, model.status = 100, status
    async with made(model.url, binding) as found:
        with pytest.raises(ThrottledError, match="again in") as raised:
            await found.complete("Who?")
        assert raised.value.delay_seconds > 0 and 1 <= 100 - model.refusing < 20


@both
async def test_an_endpoint_that_is_not_available_is_an_outage(binding: str, model: ModelServer) -> None:
    """It says no time, so that nobody waits for it here."""
    model.refusing, model.status, model.waits = 9, 503, None
    async with made(model.url, binding) as found:
        with pytest.raises(DependencyError, match=f"{NO_MODEL}.* says 503"):
            await found.complete("Who?")


@both
async def test_a_spent_quota_is_no_throttling(binding: str, model: ModelServer) -> None:
    """Waiting would be in vain; Ollama has no such thing."""
    if binding == "ollama":
        return
    model.refusing, model.status, model.words = 9, 429, "insufficient_quota: check your plan"
    async with made(model.url, binding) as found:
        with pytest.raises(DependencyError, match="quota is spent"):
            await found.complete("Who?")


@both
@pytest.mark.parametrize("status", [400, 403, 413, 500])
async def test_a_text_that_is_refused_is_to_blame(binding: str, status: int, model: ModelServer) -> None:
    """As too long, or as forbidden: a harmless question is answered."""
    model.failing.add("Poison")
    model.failure = status
    async with made(model.url, binding) as found:
        for _ in range(2):  # the second time it is known that the endpoint serves
            with pytest.raises(Exception, match=r"(?i)refused by the test") as raised:
                await found.complete("---Input Text---\n```\nPoison Works.\n```\n\n---Output---")
            assert not isinstance(raised.value, DependencyError)


@both
async def test_an_error_of_the_server_is_tried_again(
    binding: str, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice; the third time it is raised, and may be the text's fault."""
    monkeypatch.setattr(endpoints, "TRIES_AGAIN", 2)
    async with made(model.url, binding, patience=30) as found:
        model.refusing, model.status = 2, 500
        assert await found.complete("Who?")
        model.refusing = 3
        with pytest.raises(Exception, match=r"(?i)refused by the test"):
            await found.complete("Who?")


@both
async def test_nobody_listens(binding: str) -> None:
    """The model's service is down."""
    async with made("http://127.0.0.1:9/v1", binding) as found:
        for call in calls(found):
            with pytest.raises(DependencyError, match=NO_MODEL):
                await call()


@both
async def test_a_host_that_is_off_is_not_a_slow_model(binding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No packet comes back: connecting takes as long as one lets it."""
    monkeypatch.setattr(clients, "CONNECT_SECONDS", 0.1)
    with ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # whom nobody accepts: the next gets no answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        async with made(f"http://127.0.0.1:{hole.getsockname()[1]}/v1", binding) as found:
            with pytest.raises(DependencyError, match=NO_MODEL):
                await found.complete("Who?")


@both
async def test_a_model_that_dies_of_a_text_is_no_outage(binding: str) -> None:
    """Or that text would come again for ever."""

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(die, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with made(f"http://127.0.0.1:{port}/v1", binding) as found:
            for call in calls(found):
                with pytest.raises(TimeoutError, match="did not finish"):
                    await call()


@both
async def test_a_model_that_is_too_slow_is_no_outage(binding: str, model: ModelServer) -> None:
    """The text may be why. It does not answer at all here, so that its patience can bear a slow machine."""
    model.gate = gate = Gate(capacity=1, hangs=True)
    prompt = "---Input Text---\n```\nHelios Labs.\n```\n\n---Output---"
    try:
        async with made(model.url, binding, llm_timeout_seconds=1.0) as found:
            with pytest.raises(TimeoutError, match="did not finish"):
                await found.complete(prompt)
    finally:
        gate.hangs = False
