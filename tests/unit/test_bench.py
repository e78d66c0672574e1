"""The arithmetic of the benches, and the model that answers at once."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from pathlib import Path

import pytest
from bench.api import document, lines
from bench.instant import DIMENSIONS, answer, embeddings, vector
from bench.limits import met
from bench.peers import compare
from bench.peers.child import tally
from bench.processes import cpu_seconds, rss_mb, tree
from bench.prose import texts
from bench.report import Cost, Report, middle, percentiles


def test_a_line_holds_what_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    Report().emit("raw_loop", per_second=10.04, cpu_us=None, ratio=1.0, batch=100)
    assert json.loads(capsys.readouterr().out) == {
        "bench": "raw_loop",
        "per_second": 10.0,
        "cpu_us": None,
        "ratio": 1.0,
        "batch": 100,
    }


def test_a_line_with_a_limit_says_whether_it_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.emit("noop_path", per_second=40_000, cpu_us=1.0, ratio=2.0, batch_10={"per_second": 20_000})
    report.emit("noop_path", per_second=40_000, cpu_us=1.0, ratio=3.1, batch_10={"per_second": 20_000})
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["met"], second["met"]) == (True, False)
    assert first["limit"]["batch_10.per_second"] == ">= 10000"
    assert report.missed == ["noop_path"]


def test_what_cannot_be_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.fail("peer_x", RuntimeError("too old"))
    assert json.loads(capsys.readouterr().out) == {"bench": "peer_x", "error": "RuntimeError: too old"}
    assert report.broken == ["peer_x"]


@pytest.mark.parametrize(
    ("line", "rules", "expected"),
    [
        ({"a": 2}, {"a": ">= 2"}, True),
        ({"a": 2.01}, {"a": "<= 2"}, False),
        ({"a": {"b": 1}}, {"a.b": "<= 2"}, True),
        ({"a": 1}, {"a": "<= 2", "b": "<= 2"}, False),
        ({"a": None}, {"a": "<= 2"}, False),
        ({"a": 1}, {"a.b": "<= 2"}, False),
    ],
)
def test_limits(line: dict[str, object], rules: dict[str, str], expected: bool) -> None:
    assert met(line, rules) is expected


def test_costs_are_of_one_chunk() -> None:
    cost = Cost(chunks=200, seconds=0.5, cpu_seconds=0.1)
    assert cost.per_second == 400.0
    assert cost.cpu_us == pytest.approx(500.0)
    assert middle([Cost(1, 3.0, 0), Cost(1, 1.0, 0), Cost(1, 2.0, 0)]).seconds == 2.0


def test_percentiles_are_of_the_ordered() -> None:
    assert percentiles([n / 1000 for n in range(100, 0, -1)]) == {"p50_ms": 50.5, "p99_ms": 100.0}


def test_the_instant_model_names_what_a_text_names() -> None:
    text = texts("w", 1)[0]
    lines = answer(text).splitlines()
    assert lines[0].startswith("entity<|#|>Thing0<|#|>")
    assert lines[-1] == "<|COMPLETE|>"
    assert len(set(texts("w", 50))) == 50


def test_embeddings_tell_texts_apart() -> None:
    assert len(vector("a")) == DIMENSIONS
    assert math.isclose(sum(x * x for x in vector("a")), 1.0)
    assert vector("a") != vector("b")
    assert len(embeddings({"input": ["a", "b"], "encoding_format": "base64"})["data"]) == 2


def test_every_peer_has_its_file() -> None:
    here = Path(compare.__file__).parent
    assert all((here / f"{peer}.py").exists() for peer in compare.PEERS)
    assert all(path.with_suffix(".lock").exists() for path in here.glob("*.in"))


def test_no_peer_is_in_the_locks_of_the_product() -> None:
    """Theirs are files of their own. BullMQ's library is a peer, and what our source for its queues is made with."""
    here = Path(compare.__file__).parent
    wanted = {
        re.split(r"[\[=<>]", line)[0].strip()
        for path in here.glob("*.in")
        for line in path.read_text().splitlines()
        if line and not line.startswith("#")
    }
    peers = wanted - {"bullmq", "hiredis", "uvloop", "typing_extensions"}
    locked = {
        line.split("==")[0]
        for path in (here.parents[1] / "locks").glob("*.lock")
        for line in path.read_text().splitlines()
        if "==" in line
    }
    assert len(peers) == len(compare.PEERS) - 1 and not peers & locked


def test_a_job_of_a_peer_is_counted_where_its_parent_looks(tmp_path: Path) -> None:
    path = tmp_path / "done"
    path.write_bytes(bytes(8))
    one = tally(path)
    one()
    one()
    assert int.from_bytes(path.read_bytes(), sys.byteorder) == 2


def test_processes_cost_something() -> None:
    assert os.getpid() in tree(os.getpid())
    assert cpu_seconds(os.getpid()) > 0
    assert 10 < rss_mb(os.getpid()) < 10_000


def test_a_job_is_the_same_in_both_forms() -> None:
    whole = json.loads(document(2).content)
    frame, *chunks = (json.loads(line) for line in lines(2).content.splitlines())
    assert {**frame, "chunks": chunks} == whole
    assert [chunk["text"] for chunk in chunks] == ["text 0", "text 1"]
