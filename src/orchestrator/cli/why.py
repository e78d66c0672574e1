"""orchestrator why: what holds a job up, and the command that mends it."""

from __future__ import annotations

from orchestrator.cli.jobs import JobId
from orchestrator.cli.options import DEFAULT_KEY_FILE, DEFAULT_URL, Format, KeyFile, Output, Url
from orchestrator.cli.output import emit, say


def why(
    job_id: JobId, url: Url = DEFAULT_URL, key_file: KeyFile = DEFAULT_KEY_FILE, output: Output = Format.TEXT
) -> None:
    """Say why a job stands where it stands, the gravest reason first."""
    from orchestrator.cli.client import Client, job_path

    with Client.connect(url, key_file) as client:
        found = client.get(f"{job_path(job_id)}/why")
    if output is Format.JSON:
        emit(found)
        return
    say(f"job {found['job_id']} is {found['status']}")
    for reason in found["reasons"]:
        say(f"- {reason['text']}")
        if reason["remedy"]:
            say(f"    {reason['remedy']}")
