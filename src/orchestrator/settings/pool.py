"""Sizing of the worker pool: the seed's E-07 to E-15 and the time budget of design 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from orchestrator.errors import SettingsError
from orchestrator.settings.model import NAME, Settings, at_least, require


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizing(Settings):
    """Values that every type inherits from the pool and may set for itself."""

    size: int = 4  # slots, each a consumer of its own
    batch: int = 10  # deliveries a slot holds at most
    retry_attempts: int = 3  # handler runs before a chunk is dead
    max_deliveries: int = 8  # hand-outs before a chunk is poison, crashes included
    timeout_seconds: float = 300.0  # of one handler run
    backoff_base_seconds: float = 1.0  # of the first retry; doubled with each attempt, with full jitter
    backoff_cap_seconds: float = 60.0  # no retry waits longer
    max_tasks_per_child: int = 1000  # chunks a slot runs before it is recycled; 0 = never
    health_check_interval_seconds: float = 30.0  # how often a worker looks whether its loops move
    read_block_seconds: float = 1.0  # how long a read waits; shorter than a heartbeat
    heartbeat_seconds: float = 10.0  # how often leases are renewed and the ledger told
    lease_seconds: float = 30.0  # how long a silent worker keeps its deliveries; at least 3 heartbeats
    grace_period_seconds: float = 60.0  # how long a drain waits for what is held

    def check(self) -> None:
        """Check ranges, then the time budget: read block < heartbeat, lease >= 3 x heartbeat."""
        at_least(self, 1, ("size", "batch", "retry_attempts"))
        at_least(self, 0, ("max_tasks_per_child", "backoff_base_seconds", "backoff_cap_seconds"))
        at_least(self, 0.05, ("timeout_seconds", "heartbeat_seconds", "lease_seconds", "read_block_seconds"))
        at_least(self, 1, ("health_check_interval_seconds", "grace_period_seconds"))
        require(self.size <= 256, "size", "<= 256", self.size)
        require(self.batch <= 10_000, "batch", "<= 10000", self.batch)
        rule = f">= retry_attempts ({self.retry_attempts})"
        require(self.max_deliveries >= self.retry_attempts, "max_deliveries", rule, self.max_deliveries)
        rule = f"< heartbeat_seconds ({self.heartbeat_seconds:g})"
        require(self.read_block_seconds < self.heartbeat_seconds, "read_block_seconds", rule, self.read_block_seconds)
        rule = f">= 3 x heartbeat_seconds ({3 * self.heartbeat_seconds:g})"
        require(self.lease_seconds >= 3 * self.heartbeat_seconds, "lease_seconds", rule, self.lease_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTypeSettings(_Sizing):
    """One worker type: where its work comes from, what does it, and its sizing."""

    name: str  # lower case; its unit is orchestrator-worker@NAME
    source: str = "redis_stream"  # module of orchestrator.sources
    handler: str  # module of orchestrator.handlers
    job_type: str = "ingestion"  # what its jobs are called; their events are <job_type>.started and so on
    stream: str  # the queue's name at the source
    group: str = ""  # the consumer group; Redis Streams only
    options: Mapping[str, Any] = field(default_factory=dict)  # the handler's own
    source_options: Mapping[str, Any] = field(default_factory=dict)  # the source's own: docs/sources.md

    @property
    def own_queue(self) -> bool:
        """Return whether its work comes from us, by way of the ledger; else others put it on a queue of theirs."""
        return self.source == "redis_stream"

    def check(self) -> None:
        """Check names, then the sizing."""
        for key in ("name", "source", "handler", "job_type"):
            value = getattr(self, key)
            require(bool(NAME.fullmatch(value)), key, "a lower-case name of at most 32 characters", value)
        require(bool(self.stream), "stream", "a name", self.stream)
        if self.own_queue:
            require(bool(self.group), "group", "a name", self.group)
        super(WorkerTypeSettings, self).check()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPoolSettings(_Sizing):
    """The rendered module workers/worker_pool.py: the host, the sizing all types share, and the types."""

    host: str  # of this host in consumer names; unique in the cluster
    types: Mapping[str, Any]  # name -> the keys of WorkerTypeSettings that differ from the pool's

    def check(self) -> None:
        """Check the sizing and build every type once, so that a wrong type stops the load with its name."""
        super(WorkerPoolSettings, self).check()
        require(bool(self.host) and " " not in self.host, "host", "a host name", self.host)
        require(bool(self.types), "types", "a mapping of at least one worker type", self.types)
        for name in self.types:
            self.for_type(name)

    def for_type(self, name: str) -> WorkerTypeSettings:
        """Return the settings of one type. Raises SettingsError when the type is unknown or a key of it is wrong."""
        if name not in self.types:
            known = ", ".join(sorted(self.types))
            raise SettingsError(f"types: no worker type {name!r}; known types: {known}")
        inherited = {f.name: getattr(self, f.name) for f in fields(_Sizing)}
        try:
            return WorkerTypeSettings(**{**inherited, "name": name, **self.types[name]})
        except (SettingsError, TypeError) as error:
            raise SettingsError(f"types[{name!r}]: {error}") from error
