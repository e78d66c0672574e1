"""orchestrator watch: a job's progress to its end, as a bar on a terminal and as lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import duration, emit, say
from orchestrator.jobs import TERMINAL_JOB

if TYPE_CHECKING:
    from orchestrator.cli.client import Client, ServerEvent


def watch(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")],
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Follow a job to its end; exits 1 when it failed or was cancelled."""
    from orchestrator.cli.client import Client

    with Client.connect(url, key_file) as client:
        raise typer.Exit(follow(client, job_id, output))


def follow(client: Client, job_id: str, output: Format) -> int:
    """Show a job's progress until it has ended; return the exit code.

    JSON: one line an event, then one line with the job; the job alone when it had ended before.
    """
    job = client.job(job_id)
    with _view(output, job) as view:
        if job["status"] not in TERMINAL_JOB:
            for event in client.events(job_id):
                view.event(event)
                if event.type.rpartition(".")[2] in TERMINAL_JOB:
                    break
        job = client.job(job_id)
        view.end(job)
    return 0 if job["status"] == "completed" else 1


class View(Protocol):
    """Shows events and the end of one job."""

    def event(self, event: ServerEvent) -> None:
        """Show an event."""

    def end(self, job: Mapping[str, Any]) -> None:
        """Show the job as it ended."""


@contextmanager
def _view(output: Format, job: Mapping[str, Any]) -> Iterator[View]:
    from rich.console import Console

    console = Console(highlight=False)
    if output is Format.JSON:
        yield JsonView()
    elif console.is_terminal:
        with _bar(console, job) as view:
            yield view
        summarise(view.job)
    else:
        lines = LineView()
        yield lines
        summarise(lines.job)


class JsonView:
    """One JSON line an event, and one with the job at the end."""

    def event(self, event: ServerEvent) -> None:
        """Print an event."""
        emit({"id": event.id, "event": event.type, "data": event.data})

    def end(self, job: Mapping[str, Any]) -> None:
        """Print the job."""
        emit({"job": job})


class LineView:
    """One line each time the whole percent has changed."""

    def __init__(self) -> None:
        self.job: Mapping[str, Any] = {}
        self._percent = -1

    def event(self, event: ServerEvent) -> None:
        """Print what is new."""
        data, kind = event.data, event.type.rpartition(".")[2]
        percent = int(data.get("percent_complete", self._percent))
        if kind == "progress" and percent > self._percent:
            say(f"{percent:3d} %  {data['chunks_processed']}/{data['chunks_total']} chunks")
            self._percent = percent
        elif kind != "progress" and kind not in TERMINAL_JOB:  # the summary says how it ended
            say(kind)

    def end(self, job: Mapping[str, Any]) -> None:
        """Keep the job for the summary."""
        self.job = job


class BarView:
    """One progress bar."""

    def __init__(self, update: Any) -> None:
        self.job: Mapping[str, Any] = {}
        self._update = update

    def event(self, event: ServerEvent) -> None:
        """Move the bar."""
        data = event.data
        if "chunks_processed" in data:
            self._update(data["chunks_processed"], data.get("chunks_total"), event.type.rpartition(".")[2])

    def end(self, job: Mapping[str, Any]) -> None:
        """Move the bar to where the job ended."""
        self.job = job
        self._update(job["chunks_processed"], job["chunks_total"], job["status"])


@contextmanager
def _bar(console: Any, job: Mapping[str, Any]) -> Iterator[BarView]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("chunks"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task(job["status"], total=job["chunks_total"], completed=job["chunks_processed"])

        def update(processed: int, total: int, state: str) -> None:
            state = "processing" if state == "progress" else state
            progress.update(task, completed=processed, total=total, description=f"{state:<10}")

        yield BarView(update)


def summarise(job: Mapping[str, Any]) -> None:
    """Print how a job ended."""
    counts = job["counts"]
    shown = ", ".join(f"{counts[name]} {name}" for name in ("processed", "failed", "cancelled") if counts[name])
    say(
        f"{job['status']}: {shown or 'nothing processed'} of {job['chunks_total']} chunks, "
        f"{job['entities']} entities, {job['relations']} relations, {duration(job['duration_seconds']) or '0 s'}"
    )
    if job["error"]:
        where = f" (chunk {job['error_chunk_id']})" if job["error_chunk_id"] else ""
        say(f"error{where}: {job['error']}")
        say(f"chunks: orchestrator job {job['job_id']} --chunks")
