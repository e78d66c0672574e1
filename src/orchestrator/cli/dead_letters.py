"""orchestrator dead-letters: what could not be done; try it again, or give it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.jobs import pages
from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, pairs, say, table
from orchestrator.errors import OrchestratorError

PATH = "/dead-letters"
TIME = len("2026-01-31T18:00:00")


class Shown(StrEnum):
    """Which letters are listed."""

    DEAD = "dead"
    RETRYING = "retrying"
    RETRIED = "retried"
    DROPPED = "dropped"
    ALL = "all"


app = typer.Typer(name="dead-letters", help="What could not be done: list, show, retry, drop.", no_args_is_help=True)
Job = Annotated[str | None, typer.Option("--job", help="All of this job.", metavar="JOB")]
Type = Annotated[str | None, typer.Option("--type", help="All of this worker type.", metavar="TYPE")]
Ids = Annotated[list[int] | None, typer.Argument(help="Ids of letters.", metavar="ID", min=1)]


@app.command(name="list")
def list_letters(
    *,
    status: Annotated[Shown, typer.Option(help="Only letters in this state.")] = Shown.DEAD,
    job: Job = None,
    worker_type: Type = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """List dead letters, newest first."""
    from orchestrator.cli.client import Client

    query = {"status": None if status is Shown.ALL else status.value, "job_id": job, "worker_type": worker_type}
    with Client.connect(url, key_file) as client:
        found = pages(client, PATH, "dead_letters", limit, **query)
    if output is Format.JSON:
        emit(found)
        return
    columns = ("ID", "STATUS", "TYPE", "JOB", "CHUNK", "ATTEMPTS", "DELIVERIES", "AT", "REASON")
    names = ("id", "status", "worker_type", "job_id", "chunk_id", "attempts", "deliveries", "at", "reason")
    table(columns, [[_time(x[name]) if name == "at" else x[name] for name in names] for x in found])


@app.command()
def show(
    letter_id: Annotated[int, typer.Argument(help="Id of the letter.", metavar="ID", min=1)],
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Show one dead letter; of its text only the length."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        found = client.get(f"{PATH}/{letter_id}")
    if output is Format.JSON:
        emit(found)
    else:
        pairs(_described(found))


@app.command()
def retry(
    ids: Ids = None,
    *,
    job: Job = None,
    worker_type: Type = None,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Try dead letters again: dead chunks of a job become a new job; exits 1 unless all that were named did."""
    _act("retry", _selection(ids, job, worker_type), url, key_file, output)


@app.command()
def drop(
    ids: Ids = None,
    *,
    job: Job = None,
    worker_type: Type = None,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Give dead letters up: they are kept, and count as dead no more; exits 1 unless all that were named were."""
    _act("drop", _selection(ids, job, worker_type), url, key_file, output)


def _selection(ids: Sequence[int] | None, job: str | None, worker_type: str | None) -> dict[str, Any]:
    """Return the body that says which letters are meant."""
    wishes = {"ids": ids or None, "job_id": job, "worker_type": worker_type}
    given = {name: value for name, value in wishes.items() if value is not None}
    if len(given) != 1:
        raise OrchestratorError("say which letters: their ids, or --job JOB, or --type TYPE, and only one of these")
    return given


def _act(what: str, selection: Mapping[str, Any], url: str, key_file: Path, output: Format) -> None:
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        done = client.post(f"{PATH}/{what}", dict(selection))
    if output is Format.JSON:
        emit(done)
    else:
        for line in report(what, done):
            say(line)
    raise typer.Exit(1 if "ids" in selection and (done["skipped"] or done["only_to_drop"]) else 0)


def report(what: str, done: Mapping[str, Any]) -> list[str]:
    """Return what was done, a line each. Pure."""
    past = {"retry": "retried", "drop": "dropped"}[what]
    lines = [f"{done['done']} dead letters {past}" + ("; more remain: run it again" if done["more"] else "")]
    lines += [f"job {j['job_id']}: {j['chunks_total']} chunks of job {j['retry_of']}" for j in done["jobs"]]
    if done["asked"]:
        lines.append(f"{done['asked']} are put back at their queue by a worker of their type, and come as new jobs")
    if done["skipped"]:
        lines.append(f"{done['skipped']} skipped: unknown, resolved before, or being put back")
    if done["only_to_drop"]:
        lines.append(f"{done['only_to_drop']} cannot be retried: drop them")
    return lines


def _described(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dead letter": found["id"],
        "status": found["status"] + (f" as job {found['retried_as']}" if found["retried_as"] else ""),
        "reason": found["reason"],
        "type": found["worker_type"],
        "queue": found["queue"],
        "job": found["job_id"],
        "chunk": found["chunk_id"],
        "source": found["source_uri"] or None,
        "text": None if found["text_length"] is None else f"{found['text_length']} characters",
        "attempts": found["attempts"],
        "deliveries": found["deliveries"],
        "died": _time(found["at"]),
        "resolved": _time(found["resolved_at"]),
        "entry": found["payload"] or None,
        "advice": "can only be dropped" if found["status"] == "dead" and not found["retriable"] else None,
    }


def _time(text: str | None) -> str | None:
    return f"{text[:TIME].replace('T', ' ')} UTC" if text else None
