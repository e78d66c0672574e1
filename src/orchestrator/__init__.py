"""Worker services for orchestrator hosts: nothing is lost, nothing is counted twice."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("orchestrator-workers")
except PackageNotFoundError:  # pragma: no cover - a source tree that was never installed
    __version__ = "0.0.0"
