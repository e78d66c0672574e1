"""The API's description of itself: every route says which problems it may answer with."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from orchestrator.api.letters import LetterSelection
from orchestrator.api.lines import MEDIA_TYPE as LINES
from orchestrator.api.models import IngestRequest, PauseRequest, Problem, QueryRequest
from orchestrator.api.problems import MEDIA_TYPE
from orchestrator.api.spending import BudgetRequest

REF = "#/components/schemas/{model}"
DESCRIPTIONS = {
    401: "No key, or one that is not known.",
    403: "The key may not use this workspace, or hold this back.",
    404: "There is none of that name or id, or it is another tenant's.",
    409: "The request contradicts what the ledger holds.",
    413: "The body is too large.",
    422: "The request is not valid; `errors` says where.",
    500: "An error of ours; the log has it under the correlation id.",
    503: "Something the request needs does not answer or is full; `Retry-After` says when to try again.",
}
TAGS = [
    {"name": "ingestion", "description": "Submit text."},
    {"name": "jobs", "description": "Watch, cancel and forget jobs."},
    {"name": "dead letters", "description": "What could not be done: find it, try it again, give it up."},
    {"name": "controls", "description": "Hold work back, let it go on, see who did what."},
    {"name": "events", "description": "What happens, as it happens."},
    {"name": "query", "description": "Ask the finished graph."},
    {"name": "health", "description": "Is it alive, ready, well?"},
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of a route's problems; 500 is always one."""
    schema = {"$ref": REF.format(model="Problem")}
    return {
        status: {"description": DESCRIPTIONS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, 500})
    }


def body(model: type[BaseModel], *, required: bool = True, lines: bool = False) -> dict[str, Any]:
    """Return the documentation of a body that the route reads by hand, after it knows the caller."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": REF.format(model=model.__name__)}}}
    if lines:
        said = "The same in lines of JSON: first the object without `chunks`, then a chunk a line. For large jobs."
        content[LINES] = {"schema": {"type": "string", "description": said}}
    return {"requestBody": {"required": required, "content": content}}


class Described(FastAPI):
    """An app whose OpenAPI also holds the models that routes read and answer by hand."""

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once."""
        if self.openapi_schema is None:
            schema = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes, tags=TAGS
            )
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in (Problem, IngestRequest, QueryRequest, LetterSelection, PauseRequest, BudgetRequest):
                described = model.model_json_schema(ref_template=REF)
                components.update(described.pop("$defs", {}))
                components[model.__name__] = described
            self.openapi_schema = schema
        return self.openapi_schema
