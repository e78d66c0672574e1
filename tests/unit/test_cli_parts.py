"""The pure parts of the command line: bodies of submissions, events of a stream, verdicts about consumers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from orchestrator.cli import canary
from orchestrator.cli.canary import problem as canary_problem
from orchestrator.cli.client import ApiError, ServerEvent, parse_events, problem, read_key
from orchestrator.cli.operate import compare, differences
from orchestrator.cli.output import duration
from orchestrator.cli.submit import read_all, request
from orchestrator.errors import CredentialError, NotFoundError, OrchestratorError
from orchestrator.settings import WorkerTypeSettings
from orchestrator.sources.redis_stream import ConsumerInfo

LIGHTRAG = WorkerTypeSettings(name="lightrag", handler="noop", stream="q", group="g", size=2)


def test_directories_are_read_recursively_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/two.md", "one.TXT", "picture.png", ".hidden.txt"):
        (tmp_path / name).write_text(f"text of {name}", encoding="utf-8")
    found = read_all([str(tmp_path)])
    assert [text for _, text in found] == ["text of b/two.md", "text of one.TXT"]
    assert found[0][0] == (tmp_path / "b/two.md").as_uri()


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe", "is not UTF-8 text"), (b"a\x00b", "NUL")], ids=["latin", "nul"]
)
def test_what_is_no_text_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(OrchestratorError, match=rf"x\.txt: .*{said}"):
        read_all([str(tmp_path / "x.txt")])


def test_nothing_to_submit_is_an_error() -> None:
    with pytest.raises(OrchestratorError, match="nothing to submit"):
        request([("stdin:", "  \n")], chunk_chars=100, source_type="text", workspace=None)


def test_a_body_names_the_source_of_each_chunk() -> None:
    body = request([("file:///a", "one two"), ("file:///b", "three")], chunk_chars=4, source_type="t", workspace="w")
    assert [c["source_uri"] for c in body["chunks"]] == ["file:///a", "file:///a", "file:///b", "file:///b"]
    assert body["workspace"] == "w"
    assert body["source_type"] == "t"


def test_events_and_comments_of_a_stream() -> None:
    lines = ["retry: 2000", ": connected", "", "id: 7", "event: ingestion.started", 'data: {"a":1}', "", ": heartbeat"]
    assert list(parse_events(iter(lines))) == [None, ServerEvent("7", "ingestion.started", {"a": 1}), None]


def test_a_problem_reads_as_one_line_with_nothing_unescaped() -> None:
    found = {
        "detail": "The request is not valid.",
        "errors": [{"where": "chunks[0].text", "message": "must be a string\x1b[31m"}],
        "correlation_id": "c1",
    }
    error = problem(httpx.Response(422, json=found))
    assert isinstance(error, ApiError)
    assert str(error) == r"The request is not valid.; chunks[0].text: must be a string\x1b[31m"
    assert error.status == 422


def test_a_problem_says_what_next() -> None:
    assert "check --key-file" in str(problem(httpx.Response(401, json={"detail": "The key is not known."})))
    assert "try again in 30 s" in str(problem(httpx.Response(503, json={}, headers={"Retry-After": "30"})))
    assert "correlation_id c1" in str(problem(httpx.Response(500, json={"correlation_id": "c1"})))
    assert "is this its URL?" in str(problem(httpx.Response(502, text="<html>")))
    assert isinstance(problem(httpx.Response(404, json={"detail": "no job 'x'."})), NotFoundError)


def test_the_key_file_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(CredentialError, match=r"key cannot be read: No such file.*--key-file"):
        read_key(path)
    path.write_text("two\nlines\n")
    with pytest.raises(CredentialError, match="must hold one line"):
        read_key(path)
    path.write_text(" secret\n")
    assert read_key(path) == "secret"


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (["queued", "started", "progress", "completed"], None),
        (["queued", "started", "completed"], "expected queued → started → progress → completed"),
        (["started", "queued", "progress", "completed"], "events were started"),
        (["queued", "started", "failed"], "events were queued → started → failed"),
        (["queued"], "did not end in time; seen so far: queued"),
        ([], "no event"),
    ],
)
def test_the_canary_wants_its_events_in_order(events: list[str], said: str | None) -> None:
    found = canary_problem(events)
    assert (found is None) if said is None else (found is not None and said in found)


def test_x11_the_expected_consumers_and_no_others() -> None:
    """The seed counted consumers and so took two hosts' equal names for one; we compare names."""
    names = ("h-lightrag-0", "h-lightrag-7", "other-lightrag-0", "h-lightrag-x")
    found = compare("h", LIGHTRAG, ["g"], [ConsumerInfo(name, 1, 2.34) for name in names])
    assert found["missing"] == ["h-lightrag-1"]
    assert found["unexpected"] == ["h-lightrag-7"]
    assert {c["name"]: c["place"] for c in found["registered"]} == {
        "h-lightrag-0": "yes",
        "h-lightrag-7": "no",
        "h-lightrag-x": "elsewhere",
        "other-lightrag-0": "elsewhere",
    }
    said = differences("lightrag", found)
    assert len(said) == 2
    assert "journalctl -u orchestrator-worker@lightrag" in said[0]


def test_consumers_as_expected_are_no_difference() -> None:
    registered = [ConsumerInfo(f"h-lightrag-{n}", 0, 0.0) for n in range(2)]
    assert differences("lightrag", compare("h", LIGHTRAG, ["g"], registered)) == []
    (said,) = differences("lightrag", compare("h", LIGHTRAG, ["other"], registered))
    assert said == "lightrag: stream q has no group g, has other; see journalctl -u orchestrator-worker@lightrag"


def test_durations_read_well() -> None:
    assert [duration(s) for s in (None, 0.04, 59.9, 61)] == ["", "0.0 s", "59.9 s", "1 min 1 s"]


class Deaf:
    """An API that does a job and then cannot remove it."""

    def post(self, path: str, body: object) -> dict[str, str]:
        """Take the job."""
        return {"job_id": "the-job"}

    def job(self, job_id: str) -> dict[str, str | None]:
        """Return how it stands."""
        return {"status": "completed", "error": None}

    def delete(self, job_id: str) -> None:
        """Fail."""
        raise ApiError("HTTP 500", 500)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (["queued", "started", "progress", "completed"], "done, but job the-job could not be removed: HTTP 500"),
        (["queued"], "did not end in time; seen so far: queued"),
    ],
)
def test_a_canary_that_stays_behind_is_a_failure(events: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error of the clean-up was swallowed, also when all else was well: canaries piled up and nobody was told.

    When something else is wrong that is said, and not the clean-up.
    """
    monkeypatch.setattr(canary, "_follow", lambda *_: events)
    with pytest.raises(OrchestratorError, match=says):
        canary._try(Deaf(), "lightrag", 0.0)  # type: ignore[arg-type]  # what it needs of a client
