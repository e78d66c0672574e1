"""The limiters of the two endpoints of a handler, and their connection."""

from __future__ import annotations

from orchestrator.limits.endpoint import embedding_endpoint, llm_endpoint
from orchestrator.limits.limiter import Limiter
from orchestrator.limits.scripts import Scripts
from orchestrator.settings import LightRAGSettings
from orchestrator.sources.redis_client import connect


class Limiters:
    """One for a process. Without a URL of Redis each limits this process alone."""

    def __init__(self, settings: LightRAGSettings, redis_url: str | None = None) -> None:
        self._client = connect(redis_url) if redis_url else None
        scripts = Scripts(self._client) if self._client is not None else None
        self.llm = Limiter(llm_endpoint(settings), scripts)
        self.embedding = Limiter(embedding_endpoint(settings), scripts)

    @property
    def stalled_seconds(self) -> float:
        """Return for how long, all in all, a call of this process has been waiting for one of them."""
        return max(self.llm.stalled_seconds, self.embedding.stalled_seconds)

    async def close(self) -> None:
        """Give everything back, and close the connection."""
        await self.llm.close()
        await self.embedding.close()
        if self._client is not None:
            await self._client.aclose()
