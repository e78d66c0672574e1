"""Settings of the lab's model server."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.settings.model import Settings, require


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsSettings(Settings):
    """The rendered module services/models.py."""

    host: str = "127.0.0.1"  # address it listens on
    port: int = 11434  # 0 = a free one

    def check(self) -> None:
        """Check ranges."""
        require(bool(self.host), "host", "an address to listen on", self.host)
        require(0 <= self.port <= 65535, "port", "between 0 and 65535", self.port)
