"""Read a request's JSON body as a model; what is wrong with it is a 422 problem that names the fields."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from orchestrator.api.problems import invalid

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, kind: type[M], *, may_be_empty: bool = False) -> M:
    """Return the body; an empty one is `{}` where that may be. Raises a 422 problem."""
    raw = await request.body()
    try:
        return kind.model_validate_json(raw or (b"{}" if may_be_empty else b""))
    except ValidationError as error:
        raise invalid(*((".".join(map(str, e["loc"])) or "body", e["msg"]) for e in error.errors())) from None
