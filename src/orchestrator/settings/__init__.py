"""Settings: typed, frozen, checked at construction. Rendered modules import their class from here."""

from orchestrator.settings.api import ApiSettings
from orchestrator.settings.lightrag import LightRAGSettings
from orchestrator.settings.model import Settings
from orchestrator.settings.models import ModelsSettings
from orchestrator.settings.pool import WorkerPoolSettings, WorkerTypeSettings
from orchestrator.settings.tracker import JobTrackerSettings

__all__ = [
    "ApiSettings",
    "JobTrackerSettings",
    "LightRAGSettings",
    "ModelsSettings",
    "Settings",
    "WorkerPoolSettings",
    "WorkerTypeSettings",
]
