"""orchestrator jobs, job and cancel: what the ledger says about jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import duration, emit, pairs, say, table
from orchestrator.jobs import JobStatus

if TYPE_CHECKING:
    from orchestrator.cli.client import Client

PAGE = 500
JobId = Annotated[str, typer.Argument(help="Id of the job.")]
Chunks = Annotated[bool, typer.Option("--chunks", help="List its chunks too.")]


def jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """List jobs, newest first."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = pages(client, "/jobs", "jobs", limit, status=status)
    if output is Format.JSON:
        emit(found)
        return
    columns = ("JOB", "STATUS", "PERCENT", "CHUNKS", "FAILED", "WORKSPACE", "CREATED", "DURATION")
    rows = [
        (
            j["job_id"],
            j["status"],
            j["percent_complete"],
            j["chunks_total"],
            j["counts"]["failed"],
            j["workspace"],
            _time(j["created_at"]),
            duration(j["duration_seconds"]),
        )
        for j in found
    ]
    table(columns, rows)


def job(
    job_id: JobId,
    chunks: Chunks = False,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Show one job."""
    from orchestrator.cli.client import Client, job_path

    with Client.connect(url, key_file) as client:
        found = client.job(job_id)
        listed = pages(client, f"{job_path(job_id)}/chunks", "chunks", None) if chunks else None
    if output is Format.JSON:
        emit(found if listed is None else {**found, "chunks": listed})
        return
    _show(found)
    if listed is not None:
        _show_chunks(listed)


def cancel(
    job_id: JobId, url: Url = DEFAULT_URL, key_file: KeyFile = DEFAULT_KEY_FILE, output: Output = Format.TEXT
) -> None:
    """Cancel what has not ended of a job."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.cancel(job_id)
    if output is Format.JSON:
        emit(found)
    else:
        say(f"job {found['job_id']}: {found['status']}")


def pages(client: Client, path: str, key: str, limit: int | None, **query: Any) -> list[Any]:
    """Return the items of as many pages as `limit` needs; None means all."""
    found: list[Any] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        page = client.get(path, limit=size, cursor=cursor, **query)
        found += page[key]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found


def _show(found: Mapping[str, Any]) -> None:

    pairs(
        {
            "job": found["job_id"],
            "status": found["status"] + (" (from memory: PostgreSQL does not answer)" if found.get("stale") else ""),
            "type": found["job_type"],
            "workspace": found["workspace"],
            "source": found["source_type"] or None,
            "progress": f"{found['percent_complete']} %, {found['chunks_processed']} of {found['chunks_total']} chunks",
            "chunks": ", ".join(f"{n} {name}" for name, n in found["counts"].items() if n) or None,
            "entities": found["entities"],
            "relations": found["relations"],
            "priority": found["priority"],
            "not before": _time(found["not_before"]),
            "held back": "; ".join(f"{p['scope']} {p['name']}: {p['reason'] or '-'}" for p in found["paused"]) or None,
            "created": _time(found["created_at"]),
            "started": _time(found["started_at"]),
            "ended": _time(found["completed_at"]),
            "duration": duration(found["duration_seconds"]) or None,
            "error": found["error"],
            "in chunk": found["error_chunk_id"],
        }
    )


def _show_chunks(listed: list[Any]) -> None:

    columns = ("CHUNK", "STATUS", "ATTEMPTS", "DELIVERIES", "ENTITIES", "RELATIONS", "SOURCE", "ERROR")
    keys = ("chunk_id", "status", "attempts", "deliveries", "entities", "relations", "source_uri", "error")
    table(columns, [[chunk[key] for key in keys] for chunk in listed])


def _time(text: str | None) -> str | None:
    return text[:19].replace("T", " ") + " UTC" if text else None
