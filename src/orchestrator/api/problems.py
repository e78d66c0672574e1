"""Every error leaves as problem details (RFC 9457): what is wrong and what next, never our insides (X-28)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from orchestrator.errors import ConflictError, DependencyError, NotFoundError

log = logging.getLogger("orchestrator.api")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
ERRORS_SHOWN = 20
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class ProblemError(Exception):
    """Raised by a route: answer with this problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[tuple[str, str]] = (),
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more: dict[str, Any] = more
        if errors:
            self.more["errors"] = [{"where": where, "message": message} for where, message in errors[:ERRORS_SHOWN]]


def invalid(*errors: tuple[str, str]) -> ProblemError:
    """Return a 422 that says where and what."""
    return ProblemError(422, "The request is not valid.", errors=errors)


def respond(scope: Mapping[str, Any], status: int, detail: str, headers: Mapping[str, str], **more: Any) -> Response:
    """Return a problem as a response to the request of this scope."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": quote(scope["path"]),
        "correlation_id": scope.get("state", {}).get("correlation_id", ""),
        **more,
    }
    return JSONResponse(body, status, headers=dict(headers), media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make the app answer every error with a problem. Unexpected ones are the access middleware's."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(NotFoundError, _not_found)
    app.add_exception_handler(ConflictError, _conflict)
    app.add_exception_handler(DependencyError, _dependency)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return respond(request.scope, error.status, error.detail, error.headers, **error.more)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {404: "There is no such resource.", 405: "The resource does not take this method."}
    detail = details.get(error.status_code, str(error.detail))
    return respond(request.scope, error.status_code, detail, error.headers or {})


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # never the value: it may be a secret, or megabytes
    found = [(".".join(str(part) for part in e["loc"]), str(e["msg"])) for e in error.errors()[:ERRORS_SHOWN]]
    return await _problem(request, invalid(*found))


async def _not_found(request: Request, error: Exception) -> Response:
    return respond(request.scope, 404, f"{error}.", {})


async def _conflict(request: Request, error: Exception) -> Response:
    return respond(request.scope, 409, f"{error}.", {})


async def _dependency(request: Request, error: Exception) -> Response:
    correlation_id = request.scope.get("state", {}).get("correlation_id")
    log.error("dependency away", extra={"error": str(error), "correlation_id": correlation_id})
    detail = "A service this request needs does not answer; try again later. /ready says which."
    return respond(request.scope, 503, detail, {"Retry-After": RETRY_AFTER_SECONDS})
