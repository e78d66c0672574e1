"""Settings of the API: where it listens and what it accepts."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.settings.model import Settings, at_least, require


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings(Settings):
    """The rendered module api/jobs.py."""

    host: str = "127.0.0.1"  # address it listens on
    port: int = 8000  # 0 = a free one
    max_body_bytes: int = 64 * 1024 * 1024  # more: 413
    max_chunks: int = 100_000  # of one job; more: 422
    max_chunk_bytes: int = 256 * 1024  # of one text in UTF-8; more: 422
    max_backlog_chunks: int = 1_000_000  # queued in the ledger for one type; more: 503 with Retry-After
    backlog_retry_after_seconds: int = 30  # what Retry-After says then
    sse_heartbeat_seconds: float = 15.0  # between two signs of life on a quiet event stream
    sse_max_streams: int = 1000  # open event streams of one process; more: 503

    def check(self) -> None:
        """Check ranges."""
        require(bool(self.host), "host", "an address to listen on", self.host)
        require(0 <= self.port <= 65535, "port", "between 0 and 65535", self.port)
        sizes = ("max_body_bytes", "max_chunks", "max_chunk_bytes", "max_backlog_chunks", "sse_max_streams")
        at_least(self, 1, sizes)
        at_least(self, 1, ("backlog_retry_after_seconds",))
        at_least(self, 0.05, ("sse_heartbeat_seconds",))
