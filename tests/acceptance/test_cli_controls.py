"""Hold back, let go on, first and later: the installed program against a real API, Redis and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.api import STREAM
from tests.support.program import Cli


async def test_what_is_held_back_is_listed_and_goes_on(cli: Cli) -> None:
    """With who did it and why; the job says what holds it back, and the audit keeps it all."""
    assert (await cli("pause", "type", "lightrag", "--reason", "new\nmodel")).out == "type lightrag: held back\n"
    job_id = (await cli("submit", "-", "-o", "json", stdin="Some text.")).json["job_id"]
    shown = (await cli("job", job_id)).out
    assert "held back   type lightrag: new\\nmodel\n" in shown and "priority    normal\n" in shown
    assert (await cli("pause", "queue", STREAM, "-o", "json")).json["by"] == "operator"
    listed = (await cli("pauses", "-o", "json")).json
    assert [(p["scope"], p["name"], p["reason"]) for p in listed] == [
        ("queue", STREAM, ""),
        ("type", "lightrag", "new\nmodel"),
    ]
    assert (await cli("pauses")).out.split()[:5] == ["SCOPE", "NAME", "REASON", "BY", "AT"]
    for what in (("type", "lightrag"), ("queue", STREAM)):
        assert (await cli("resume", *what)).out == f"{what[0]} {what[1]}: goes on\n"
    assert (await cli("pauses", "-o", "json")).json == []
    assert "held back" not in (await cli("job", job_id)).out
    entries = (await cli("audit", "-o", "json")).json
    assert [(e["action"], e["target"]) for e in entries] == [
        ("resume", f"queue/{STREAM}"), ("resume", "type/lightrag"), ("pause", f"queue/{STREAM}"),
        ("pause", "type/lightrag"),
    ]  # fmt: skip
    assert "reason=new\\nmodel" in (await cli("audit", "--limit", "4")).out


async def test_what_is_not_held_back_cannot_go_on(cli: Cli) -> None:
    """One line, exit 1; the same for a name that is none."""
    for words in (("resume", "tenant", "alpha"), ("pause", "type", "lightrg"), ("pause", "job", "none")):
        done = await cli(*words)
        assert done.code == 1 and done.err.count("\n") == 1 and words[2] in done.err
    assert (await cli("pause", "planet", "earth")).code == 2


async def test_wishes_reach_the_job(cli: Cli) -> None:
    """Priority, delay, failure policy, budget; a wish that contradicts another is refused with its name."""
    words = ("--priority", "low", "--delay", "3600", "--failure-policy", "threshold", "--max-failed", "3")
    done = await cli("submit", "-", "-o", "json", *words, "--budget", "1.5", stdin="Some text.")
    job = (await cli("job", done.json["job_id"], "-o", "json")).json
    assert (job["priority"], job["failure_policy"], job["max_failed"]) == ("low", "threshold", 3)
    assert job["usage"]["budget"] == 1.5
    late = datetime.fromisoformat(job["not_before"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < late <= timedelta(hours=1)
    assert "not before" in (await cli("job", job["job_id"])).out
    at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    done = await cli("submit", "-", "-o", "json", "--not-before", at, stdin="Some text.")
    assert datetime.fromisoformat((await cli("job", done.json["job_id"], "-o", "json")).json["not_before"]) == (
        datetime.fromisoformat(at)
    )
    refused = await cli("submit", "-", "--not-before", at, "--delay", "1", stdin="Some text.")
    assert refused.code == 1 and "not_before: contradicts delay_seconds" in refused.err
