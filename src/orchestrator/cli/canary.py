"""orchestrator canary: one small job end to end through the API, its events checked, and then cleaned up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, say
from orchestrator.errors import OrchestratorError
from orchestrator.jobs import TERMINAL_JOB

if TYPE_CHECKING:
    from orchestrator.cli.client import Client

WORKSPACE = "canary"
ROUTES = {"lightrag": "/lightrag/ingest-async"}


def canary(
    worker_type: Annotated[str, typer.Argument(help="Worker type to try.", metavar="TYPE")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the job's end.")] = 60.0,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Do one job of two chunks on workspace `canary`; exits 1 saying what to look at."""
    from orchestrator.cli.client import Client

    if worker_type not in ROUTES:
        raise OrchestratorError(f"the API takes no jobs for worker type {worker_type!r}; known: {', '.join(ROUTES)}")
    began = time.monotonic()
    with Client.connect(url, key_file) as client:
        job_id, events = _try(client, worker_type, began + timeout)
    seconds = round(time.monotonic() - began, 3)
    if output is Format.JSON:
        emit({"job_id": job_id, "events": events, "seconds": seconds})
    else:
        say(f"canary {worker_type}: {' → '.join(events)} in {seconds:.1f} s")


def _try(client: Client, worker_type: str, deadline: float) -> tuple[str, list[str]]:
    nonce = token_hex(8)
    texts = [
        f"Canary {nonce} one. The orchestrator sends this sentence through its queue to see that work gets done.",
        f"Canary {nonce} two. The worker reads it, the ledger counts it once, and the event stream tells of it.",
    ]
    body = {
        "chunks": [{"text": text, "source_uri": f"canary:{nonce}/{n}"} for n, text in enumerate(texts)],
        "source_type": "canary",
        "workspace": WORKSPACE,
    }
    job_id = str(client.post(ROUTES[worker_type], body)["job_id"])
    try:
        events = _follow(client, job_id, deadline)
        if wrong := problem(events):
            error = client.job(job_id)["error"]
            raise OrchestratorError(
                f"canary {worker_type}: {wrong}" + (f"; {error}" if error else "") + f"; {_look(worker_type)}"
            )
    except BaseException:
        with contextlib.suppress(OrchestratorError):  # the reason to fail is that above
            _clean_up(client, job_id)
        raise
    try:
        _clean_up(client, job_id)
    except OrchestratorError as error:
        raise OrchestratorError(
            f"canary {worker_type}: done, but job {job_id} could not be removed: {error}"
        ) from error
    return job_id, events


def _follow(client: Client, job_id: str, deadline: float) -> list[str]:
    """Return the kinds of the job's events in their order, repeated progress once."""
    seen: list[str] = []
    for event in client.events(job_id, deadline=deadline):
        kind = event.type.rpartition(".")[2]
        if not (kind == "progress" and seen[-1:] == ["progress"]):
            seen.append(kind)
        if kind in TERMINAL_JOB:
            break
    return seen


def problem(events: Sequence[str]) -> str | None:
    """Return what is wrong with the order of the events, None when all is well. Pure."""
    expected = ["queued", "started", "progress", "completed"]
    if list(events) == expected:
        return None
    seen = " → ".join(events) or "no event"
    if not events or events[-1] not in TERMINAL_JOB:
        return f"did not end in time; seen so far: {seen}"
    return f"events were {seen}, expected {' → '.join(expected)}"


def _look(worker_type: str) -> str:
    return (
        f"look at: journalctl -u orchestrator-worker@{worker_type} -n 50, journalctl -u orchestrator-api -n 50, "
        "systemctl status orchestrator-workers"
    )


def _clean_up(client: Client, job_id: str) -> None:
    """Cancel what has not ended and forget the job."""
    if client.job(job_id)["status"] not in TERMINAL_JOB:
        client.cancel(job_id)
    client.delete(job_id)
