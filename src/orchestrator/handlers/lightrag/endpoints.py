"""The model endpoints, as functions LightRAG can call: each call has leave of the limiter, and is paid for.

LightRAG's own bindings make a client (and a TLS context) for every call, wait at least four seconds before they try
again, and load a tokenizer from the network; hence these.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from orchestrator.backoff import full_jitter
from orchestrator.deliveries import Usage
from orchestrator.errors import DependencyError, ThrottledError
from orchestrator.handlers.lightrag.accounts import Accounts
from orchestrator.handlers.lightrag.clients import BINDINGS, Chat, Embedded, Messages
from orchestrator.handlers.lightrag.faults import CLIENT_ERRORS, Fault, Kind, fault
from orchestrator.handlers.lightrag.prices import Prices, estimate
from orchestrator.limits.limiter import Limiter
from orchestrator.limits.pair import Limiters
from orchestrator.limits.permit import Permit
from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL, TEXT_REFUSED, reason
from orchestrator.settings import LightRAGSettings

T = TypeVar("T", Chat, Embedded)

TRIES_AGAIN = 2  # after an error that may pass; being throttled is none
BASE_SECONDS, CAP_SECONDS = 0.5, 15.0
GIVEN_UP_SECONDS = 10.0
PROBED_SECONDS = 30.0  # how long the answer to a harmless question counts
PROBE = "Say OK."
FORBIDDEN = 403


class Endpoints:
    """The language model and the embedding model of the settings."""

    def __init__(
        self,
        settings: LightRAGSettings,
        *,
        llm_key: str | None,
        embedding_key: str | None,
        limiters: Limiters | None = None,
        accounts: Accounts | None = None,
        patience_seconds: float = 240.0,
    ) -> None:
        """`patience_seconds` is how long one call may wait for the limiter, all its tries together."""
        seconds = settings.llm_timeout_seconds
        self._settings = settings
        self._llm = BINDINGS[settings.llm_binding](settings.llm_base_url, llm_key, seconds)
        self._embedding = BINDINGS[settings.embedding_binding](settings.embedding_base_url, embedding_key, seconds)
        self._limiters = limiters or Limiters(settings)
        self._accounts = accounts or Accounts()
        self._prices = Prices(settings.price_table)
        self._patience = patience_seconds
        self._probing = asyncio.Lock()
        self._probed: dict[str, tuple[float, bool]] = {}

    @property
    def longest_seconds(self) -> int:
        """Return within how many seconds a call ends for certain."""
        return 1 + int(self._patience + (1 + TRIES_AGAIN) * self._settings.llm_timeout_seconds)

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

        Raises what the client raises when the text may be to blame; else DependencyError, with what it is in its words.
        """
        system: Messages = [{"role": "system", "content": system_prompt}] if system_prompt else []
        messages = [*system, *(dict(m) for m in history_messages or ()), {"role": "user", "content": prompt}]
        wants_json = options.get("response_format") is not None
        try:
            answer = await self._chat(messages, json=wants_json)
        except CLIENT_ERRORS as error:
            if await self._is_to_blame(fault(error), "llm") and self._accounts.is_about_its_text(prompt):
                raise ValueError(f"{TEXT_REFUSED}: {self._settings.llm_base_url}: {error}") from error
            raise
        if not answer.text.strip():
            raise ValueError(f"model {self._settings.llm_model} at {self._settings.llm_base_url} gave an empty answer")
        return answer.text

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one vector a text. Raises as `complete` does; but which of the texts is to blame nobody knows."""
        try:
            found = await self._embed(texts)
        except CLIENT_ERRORS as error:
            await self._is_to_blame(fault(error), "embedding")
            raise
        return np.asarray(found.vectors, dtype=np.float32)

    async def close(self) -> None:
        """Close the clients."""
        await self._llm.close()
        await self._embedding.close()

    async def _chat(self, messages: Messages, *, json: bool) -> Chat:
        s = self._settings
        asked = estimate(*(m["content"] for m in messages))
        return await self._call(
            lambda: self._llm.chat(s.llm_model, messages, json=json), self._limiters.llm, s.llm_base_url, asked
        )

    async def _embed(self, texts: Sequence[str]) -> Embedded:
        s = self._settings
        return await self._call(
            lambda: self._embedding.embed(s.embedding_model, texts),
            self._limiters.embedding,
            s.embedding_base_url,
            estimate(*texts),
        )

    async def _call(self, act: Callable[[], Awaitable[T]], limiter: Limiter, url: str, asked: int) -> T:
        """Make a call, again when that may help. Raises DependencyError unless the text may be to blame."""
        deadline, throttled, passed = time.monotonic() + self._patience, 0, 0
        while True:
            try:
                return await self._once(act, limiter, asked, deadline)
            except CLIENT_ERRORS as error:
                found = fault(error)
                if found.kind is Kind.THROTTLED:
                    throttled += 1
                    await self._pause(found, limiter, throttled, deadline)
                elif found.again and passed < TRIES_AGAIN and _within(found, deadline):
                    passed += 1
                    await asyncio.sleep(_jitter(passed) if found.wait_seconds is None else found.wait_seconds)
                else:
                    _blame(found, url, limiter.endpoint.kind, error)
                    raise

    async def _once(self, act: Callable[[], Awaitable[T]], limiter: Limiter, asked: int, deadline: float) -> T:
        """Make one call under a permit, tell the limiter how it went, and pay for it."""
        patience = max(0.0, deadline - time.monotonic())
        async with AsyncExitStack() as stack:
            with self._accounts.telling() as say:
                permit = await stack.enter_async_context(limiter.permit(asked, patience=patience, waiting=say))
            try:
                answer = await act()
            except CLIENT_ERRORS as error:
                self._failed(fault(error), permit, limiter, asked)
                raise
            self._pay(answer, permit, limiter, asked)
            return answer

    def _failed(self, found: Fault, permit: Permit, limiter: Limiter, asked: int) -> None:
        if found.overload:
            permit.refused(found.wait_seconds or 0.0)
        if found.kind is Kind.UNFINISHED:  # it worked on the text, and who serves it will want to be paid
            self._charge(limiter, asked, 0)

    def _pay(self, answer: Chat | Embedded, permit: Permit, limiter: Limiter, asked: int) -> None:
        prompt, completion = answer.prompt_tokens or asked, 0
        if isinstance(answer, Chat):
            completion = answer.completion_tokens or estimate(answer.text)
        permit.answered(prompt + completion)
        self._charge(limiter, prompt, completion)

    def _charge(self, limiter: Limiter, prompt: int, completion: int) -> None:
        cost = self._prices.cost(limiter.endpoint.model, prompt, completion)
        self._accounts.charge(Usage(1, prompt, completion, cost), shared=limiter is self._limiters.embedding)

    async def _pause(self, found: Fault, limiter: Limiter, tries: int, deadline: float) -> None:
        """Wait after a 429 that does not say for how long; one that does blocks the endpoint at the limiter."""
        left = deadline - time.monotonic()
        if found.wait_seconds is not None and found.wait_seconds <= left:
            return
        seconds = found.wait_seconds if found.wait_seconds is not None else _jitter(tries)
        if seconds > left:
            delay = found.wait_seconds or GIVEN_UP_SECONDS
            raise ThrottledError(reason(f"{limiter.endpoint.kind}: it {found.why}", delay), delay_seconds=delay)
        with self._accounts.telling() as say:
            await limiter.rest(seconds, say)

    async def _is_to_blame(self, found: Fault, kind: str) -> bool:
        """Return whether a text that was refused is to blame: then a harmless one is answered.

        Raises DependencyError when that is refused, too: a wrong key, or a wrong setting, must not bury a corpus.
        """
        if found.kind is not Kind.REFUSED:
            return False
        async with self._probing:
            at, serves = self._probed.get(kind, (0.0, False))
            if time.monotonic() - at > PROBED_SECONDS or not at:
                serves = await self._serves(kind)
                self._probed[kind] = (time.monotonic(), serves)
        if not serves:
            url = self._settings.llm_base_url if kind == "llm" else self._settings.embedding_base_url
            says = f"{found.why} to whatever it is asked"
            if found.status == FORBIDDEN:
                raise DependencyError(_credentials(url, kind, says))
            raise DependencyError(f"{NO_MODEL}: {url} {says}; check the model's name and the binding in the settings")
        return True

    async def _serves(self, kind: str) -> bool:
        try:
            if kind == "llm":
                await self._chat([{"role": "user", "content": PROBE}], json=False)
            else:
                await self._embed([PROBE])
        except CLIENT_ERRORS:
            return False
        except TimeoutError as error:
            raise DependencyError(f"{NO_MODEL}: {error}") from error
        return True


def _within(found: Fault, deadline: float) -> bool:
    return found.wait_seconds is None or found.wait_seconds <= deadline - time.monotonic()


def _blame(found: Fault, url: str, kind: str, error: Exception) -> None:
    """Raise what tells an endpoint that serves nobody now from one that has trouble with this text."""
    if found.kind is Kind.AWAY:
        raise DependencyError(f"{NO_MODEL}: {url} {found.why}") from error
    if found.kind is Kind.CREDENTIALS:
        raise DependencyError(_credentials(url, kind, found.why)) from error
    if found.kind is Kind.UNFINISHED:
        raise TimeoutError(f"the model at {url} did not finish its answer ({found.why})") from error


def _credentials(url: str, kind: str, says: str) -> str:
    return f"{NO_CREDENTIALS}: {url} {says}; check the credential {kind}-api-key"


def _jitter(tries: int) -> float:
    return full_jitter(tries, base_seconds=BASE_SECONDS, cap_seconds=CAP_SECONDS)
