"""Settings of the job tracker: lifetimes and intervals."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.settings.model import Settings, at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTrackerSettings(Settings):
    """The rendered module services/job_tracker.py (E-16)."""

    job_status_ttl_seconds: int = 3600  # the fast view lives this long after the last change of the job
    relay_interval_seconds: float = 0.5  # how often an idle worker looks for jobs that are due, resumed or left over
    dispatch_window: int = 16  # entries that may lie ahead of the workers of a queue; more when they are fast
    reconcile_interval_seconds: float = 60.0  # how often Redis is compared with the ledger
    open_job_quiet_seconds: float = 30.0  # a job of an external producer that declared no total ends after this
    event_retention_seconds: int = 30 * 24 * 3600  # events older than this are removed; their jobs stay

    def check(self) -> None:
        """Check that every lifetime and interval is positive."""
        at_least(self, 1, ("job_status_ttl_seconds", "dispatch_window", "event_retention_seconds"))
        at_least(self, 0.05, ("relay_interval_seconds", "reconcile_interval_seconds", "open_job_quiet_seconds"))
