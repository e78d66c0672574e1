"""The bound on a request's body, declared or chunked."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.problems import respond

DRAIN_SECONDS = 2.0
"""How long a body that is too large is still read and thrown away: a reset would reach the client before our answer."""


class BodyLimit:
    """Answers 413 to a body that says it is too large, and stops keeping one that turns out to be."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max = max_bytes
        self._detail = f"The body may have at most {max_bytes} bytes; split the job."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request with a receive that counts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max:
            if "expect" not in headers:  # who asks first has sent nothing yet
                await self._drain(receive)
            await respond(scope, 413, self._detail, {"Connection": "close"})(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max:
                if message.get("more_body"):
                    await self._drain(receive)
                raise HTTPException(413, self._detail, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)

    async def _drain(self, receive: Receive) -> None:
        left = 2 * self._max
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return
