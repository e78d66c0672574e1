"""Whatever is said to mend something mends it: a command that only looks leaves an operator where he was."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from orchestrator.jobs import FailurePolicy, JobStatus, Priority, Scope
from orchestrator.ledger.jobs import Job
from orchestrator.ledger.obstacles import Obstacle
from orchestrator.ledger.pauses import Pause
from orchestrator.limits.reason import NO_CREDENTIALS, NO_MODEL, THROTTLED, WAITING
from orchestrator.why import doctor, remedies
from orchestrator.why.doctor import Complaint, Look, PutOff
from orchestrator.why.reasons import BUDGET, Kind, reasons
from orchestrator.why.situation import REFUSED, Ahead, Holding, Later, Situation
from tests.unit.test_runbooks import UNITS, wrong

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MENDS = re.compile(
    r"systemctl (re)?start \S|ansible-playbook site\.yml"
    r"|orchestrator (resume|budget|doctor --fix|submit|dead-letters retry|why)\b"  # `why`: it says what mends that job
)
ELSEWHERE = {"redis-server", "postgresql"}  # units that are not ours


def situation(**changes: Any) -> Situation:
    """Return that of a job which nothing holds up; `changes` of itself are those of the job."""
    job: dict[str, Any] = {
        "job_id": "j",
        "tenant": "lab",
        "worker_type": "lightrag",
        "queue": "q",
        "workspace": "lab",
        "job_type": "ingestion",
        "source_type": "",
        "status": JobStatus.PROCESSING,
        "chunks_total": 3,
        "declared": True,
        "queued": 3,
        **dict.fromkeys(("running", "processed", "failed", "cancelled", "entities", "relations"), 0),
        **dict.fromkeys(("version", "model_calls", "prompt_tokens", "completion_tokens"), 0),
        **dict.fromkeys(("error_message", "error_chunk_id", "request_hash", "not_before", "budget"), None),
        **dict.fromkeys(("started_at", "completed_at"), None),
        "metadata": {},
        "priority": Priority.NORMAL,
        "failure_policy": FailurePolicy.STRICT,
        "max_failed": 0,
        "cost": Decimal(0),
        "created_at": NOW,
        "changed_at": NOW,
    }
    of_job = {name: changes.pop(name) for name in list(changes) if name in job}
    seen: dict[str, Any] = {
        "now": NOW,
        "job": Job(**{**job, **of_job}),
        "pauses": [],
        "holding": [],
        "later": None,
        "ready": 0,
        "undispatched": 0,
        "ahead": [],
        "alive": 1,
        "obstacles": [],
        "lease_seconds": 30.0,
        "retry_attempts": 3,
        "redis": "",
        "missing": 0,
    }
    return Situation(**{**seen, **changes})


def holding(step: str = "", *, gone: bool = False) -> Holding:
    """Return a consumer that has a chunk in its hands."""
    return Holding(consumer="h-lightrag-0", chunks=1, since=NOW, step=step, seen_at=NOW, gone=gone)


def later(error: str) -> Later:
    """Return what waits after such an error."""
    return Later(chunks=1, due_at=NOW, attempts=1, error=error)


def pause(by: str) -> Pause:
    """Return a pause of the job."""
    return Pause(scope=Scope.JOB, name="j", reason="", by=by, at=NOW)


def obstacle(*, credentials: bool) -> Obstacle:
    """Return what keeps a worker from its work."""
    return Obstacle(host="h", what="cannot read", credentials=credentials)


SITUATIONS = (
    situation(),
    situation(status=JobStatus.CANCELLED, cancelled=3),
    situation(status=JobStatus.FAILED, failed=1, error_message="x"),
    situation(pauses=[pause("anna"), pause(BUDGET)], not_before=NOW + timedelta(hours=1), alive=0, missing=1),
    situation(alive=0, obstacles=[obstacle(credentials=False), obstacle(credentials=True)]),
    situation(redis="Redis does not answer"),
    situation(redis=f"{REFUSED}: WRONGPASS"),
    *(situation(later=later(error)) for error in ("ValueError: x", NO_CREDENTIALS, NO_MODEL, THROTTLED)),
    situation(holding=[holding(), holding(WAITING), holding(gone=True)]),
    situation(ready=3, ahead=[Ahead(tenant="alpha", chunks=7)]),
)
WELL = Look(
    name="lightrag",
    queue="q",
    slots=4,
    alive=4,
    obstacles=[],
    redis="",
    missing=0,
    stranded=0,
    dead=0,
    pauses=[],
    still=[],
    put_off=[],
)
LOOKS = (
    replace(WELL, alive=0, redis="Redis does not answer", missing=1, stranded=1, dead=1, pauses=[pause("anna")]),
    replace(WELL, obstacles=[obstacle(credentials=False), obstacle(credentials=True)]),
    replace(WELL, alive=1, redis=f"{REFUSED}: WRONGPASS", still=["j"]),
    replace(WELL, put_off=[PutOff(words=e, chunks=1, error=e) for e in (NO_CREDENTIALS, NO_MODEL, THROTTLED)]),
)


def told() -> Iterator[tuple[str, str]]:
    """Yield every kind of reason and complaint that there is, with its remedy."""
    for s in SITUATIONS:
        yield from ((r.kind, r.remedy) for r in reasons(s) if r.remedy or r.kind is not Kind.ENDED)
    for seen in LOOKS:
        yield from ((f.complaint, f.remedy) for f in doctor.findings(seen))


def test_every_remedy_mends_or_says_that_only_waiting_does() -> None:
    """`systemctl status` was the remedy of a worker that was down, and `curl llm_base_url` that of an endpoint."""
    found = list(told())
    assert {kind for kind, _ in found} == {*Kind, *Complaint}
    assert [(kind, said) for kind, said in found if not said.startswith(remedies.WAIT) and not MENDS.search(said)] == []
    assert [(kind, said) for kind, said in found if "systemctl status" in said or "curl" in said] == []


def test_what_remedies_name_exists() -> None:
    """Our commands and their options, and units."""
    for _, said in told():
        for command in re.findall(r"orchestrator [a-z-]+[^;,.():]*", said):
            assert wrong(shlex.split(command)) == "", said
        for unit in re.findall(r"systemctl \w+ ([\w-]+@?)", said):
            assert unit in ELSEWHERE or f"{unit}.service" in UNITS, said
