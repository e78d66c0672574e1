"""orchestrator submit: files, directories or standard input become one job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.chunking import chunks
from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url, Workspace
from orchestrator.cli.output import emit, say
from orchestrator.cli.watch import follow
from orchestrator.errors import OrchestratorError
from orchestrator.jobs import FailurePolicy, Priority

ENDINGS = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org"})
STDIN = "-"
NAMES = ", ".join(f"*{ending}" for ending in sorted(ENDINGS))


def submit(
    paths: Annotated[list[str], typer.Argument(help=f"Files, directories (all {NAMES} in them), or - for stdin.")],
    *,
    chunk_chars: Annotated[int, typer.Option(min=1, help="Characters of a chunk at most.")] = 1200,
    workspace: Workspace = None,
    source_type: Annotated[str, typer.Option(help="What kind of source this is.")] = "text",
    idempotency_key: Annotated[str | None, typer.Option(help="The same key gives the same job again.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Band of the queue; default: normal.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, help="Start in so many seconds.", metavar="SECONDS")] = None,
    not_before: Annotated[
        str | None, typer.Option(help="Start no earlier, such as 2026-01-31T18:00:00Z.", metavar="TIME")
    ] = None,
    failure_policy: Annotated[
        FailurePolicy | None, typer.Option(help="What dead chunks mean; default: strict.")
    ] = None,
    max_failed: Annotated[int | None, typer.Option(min=0, help="Of policy threshold: dead chunks it bears.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Pause when its model calls have cost this.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job to its end.")] = False,
    url: Url = DEFAULT_URL,
    key_file: KeyFile = DEFAULT_KEY_FILE,
    output: Output = Format.TEXT,
) -> None:
    """Submit prose as one job; prints the job's id."""
    from orchestrator.cli.client import Client

    wishes = {
        "workspace": workspace,
        "priority": priority,
        "delay_seconds": delay,
        "not_before": not_before,
        "failure_policy": failure_policy,
        "max_failed": max_failed,
        "budget": budget,
    }
    body = request(read_all(paths), chunk_chars=chunk_chars, source_type=source_type, **wishes)
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with Client.connect(url, key_file) as client:
        accepted = client.post("/lightrag/ingest-async", body, headers=headers)
        if output is Format.JSON:
            emit(accepted)
        else:
            say(f"job {accepted['job_id']}: {len(body['chunks'])} chunks accepted")
        if watch:
            raise typer.Exit(follow(client, accepted["job_id"], output))


def request(
    texts: Sequence[tuple[str, str]], *, chunk_chars: int, source_type: str, **wishes: str | float | None
) -> dict[str, Any]:
    """Return the body of a submission of (source uri, text), and of the wishes that are not None.

    Raises OrchestratorError when there is no text.
    """
    found = [{"text": c, "source_uri": uri} for uri, text in texts for c in chunks(text, chunk_chars)]
    if not found:
        raise OrchestratorError(f"nothing to submit: no text found; directories are searched for {NAMES}")
    asked = {name: value for name, value in wishes.items() if value is not None}
    return {"chunks": found, "source_type": source_type, **asked}


def read_all(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return (source uri, text) of every path. Raises OrchestratorError naming a file that is no text."""
    return [item for path in paths for item in _read(path)]


def _read(path: str) -> Iterator[tuple[str, str]]:
    if path == STDIN:
        yield "stdin:", _text("standard input", sys.stdin.buffer.read())
        return
    given = Path(path)
    for file in sorted(_within(given)) if given.is_dir() else [given]:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise OrchestratorError(f"{file}: cannot be read: {error.strerror}") from error
        yield file.resolve().as_uri(), _text(str(file), content)


def _within(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(directory).parts)
        if not hidden and path.suffix.lower() in ENDINGS and path.is_file():
            yield path


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OrchestratorError(
            f"{name}: is not UTF-8 text (byte {error.start}); convert it, or leave it out"
        ) from error
    if "\x00" in text:
        raise OrchestratorError(f"{name}: holds the character NUL (at {text.index(chr(0))}); it is no text file")
    return text
