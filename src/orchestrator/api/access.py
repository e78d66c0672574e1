"""The outermost layer of a request: its correlation id, its line in the log, and the answer when we have a bug."""

from __future__ import annotations

import logging
import re
import time
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.problems import respond

log = logging.getLogger("orchestrator.api")

HEADER = "X-Request-ID"
ACCEPTABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")
READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """Takes the caller's X-Request-ID or makes one, returns it, and logs what changed something or failed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request. An exception becomes a 500 without internals; the log has them, with the same id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        correlation_id = given if ACCEPTABLE.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["correlation_id"] = correlation_id
        status = 0
        began = time.perf_counter()

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).append(HEADER, correlation_id)
            await send(message)

        try:
            await self._app(scope, receive, marked)
        except Exception:
            log.exception("request failed by a bug of ours", extra={"correlation_id": correlation_id})
            if status:  # too late for another answer
                raise
            detail = "This is an error of ours. Report the correlation id; the log has the details under it."
            await respond(scope, 500, detail, {})(scope, receive, marked)
        if scope["method"] not in READING or status >= 500:  # noqa: PLR2004 - a server error
            fields = {
                "method": scope["method"],
                "path": quote(scope["path"]),
                "status": status,
                "key": scope["state"].get("key", ""),
                "milliseconds": round((time.perf_counter() - began) * 1000, 1),
                "correlation_id": correlation_id,
            }
            log.log(logging.ERROR if status >= 500 else logging.INFO, "request", extra=fields)  # noqa: PLR2004
