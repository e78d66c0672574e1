"""What the routes need, made once by the composition root and passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import redis.asyncio as redis
from fastapi import Depends, Request

from orchestrator.api.auth import KeyRing
from orchestrator.api.backlog import Backlog
from orchestrator.api.dispatch import Dispatch
from orchestrator.api.engine import Engine
from orchestrator.events.follow import Follower
from orchestrator.ledger import Ledger
from orchestrator.settings import ApiSettings, WorkerTypeSettings
from orchestrator.tracker.redis_view import RedisView

WORKER_TYPE = "lightrag"
"""The type that the API submits to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything a route may use."""

    settings: ApiSettings
    types: Mapping[str, WorkerTypeSettings]
    keys: KeyRing
    ledger: Ledger
    backlog: Backlog
    redis: redis.Redis
    view: RedisView
    dispatch: Dispatch
    follower: Follower
    engine: Engine | None


async def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


Needs = Annotated[Deps, Depends(_deps)]
