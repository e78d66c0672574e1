"""The app: routes, layers and their order. Connects to nothing."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from orchestrator import __version__
from orchestrator.api import (
    audit,
    budget,
    controls,
    dead_letters,
    doctor,
    events,
    health,
    ingest,
    jobs,
    limiter,
    problems,
    query,
    why,
)
from orchestrator.api.access import Access
from orchestrator.api.auth import Authenticated
from orchestrator.api.deps import Deps
from orchestrator.api.limits import BodyLimit
from orchestrator.api.openapi import Described
from orchestrator.api.openapi import problems as documented

DESCRIPTION = "Submit text, follow the work on it, ask the graph. Errors are problem details (RFC 9457)."


def create_app(deps: Deps) -> FastAPI:
    """Return the app over its dependencies."""
    app = Described(
        title="Orchestrator",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,  # it takes a key, as everything but /health and /ready
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.deps = deps
    problems.install(app)
    for module in (ingest, jobs, why, dead_letters, controls, doctor, budget, limiter, audit, events, query, health):
        app.include_router(module.router)
    app.add_api_route("/openapi.json", _describe(app), responses=documented(401), tags=["health"], summary="This")
    app.add_middleware(BodyLimit, max_bytes=deps.settings.max_body_bytes)
    app.add_middleware(Access)  # added last: outermost
    return app


def _describe(app: FastAPI) -> Any:
    async def describe(caller: Authenticated) -> dict[str, Any]:
        """Return the description of this API."""
        return app.openapi()

    return describe
