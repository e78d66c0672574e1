"""POST /lightrag/query: ask the graph of a workspace."""

from __future__ import annotations

from fastapi import APIRouter, Request

from orchestrator.api.auth import Authenticated
from orchestrator.api.bodies import read
from orchestrator.api.deps import Needs
from orchestrator.api.models import QueryAnswer, QueryRequest
from orchestrator.api.openapi import body, problems
from orchestrator.api.problems import ProblemError, invalid

router = APIRouter(tags=["query"])


@router.post(
    "/lightrag/query",
    responses=problems(401, 403, 413, 422, 503),
    openapi_extra=body(QueryRequest),
    summary="Ask a question",
)
async def query(request: Request, caller: Authenticated, deps: Needs) -> QueryAnswer:
    """Answer from what has been ingested into the workspace, and say from which sources."""
    asked = await read(request, QueryRequest)
    workspace = caller.workspace(asked.workspace)
    if "\x00" in asked.query:
        raise invalid(("query", "must not hold the character NUL"))
    if deps.engine is None:
        raise ProblemError(503, "No query engine is configured on this host; give it workers/lightrag_processor.py.")
    found = await deps.engine.query(asked.query, mode=asked.mode, workspace=workspace)
    return QueryAnswer(answer=found.answer, sources=list(found.sources))
