"""The arithmetic of the benches, and the model that answers at once."""

from __future__ import annotations

import json
import math

import pytest
from bench.instant import DIMENSIONS, answer, embeddings, vector
from bench.prose import texts
from bench.report import Cost, emit, middle, percentiles


def test_a_line_holds_what_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    emit("raw_loop", per_second=10.04, cpu_us=None, ratio=1.0, batch=100)
    assert json.loads(capsys.readouterr().out) == {
        "bench": "raw_loop",
        "per_second": 10.0,
        "cpu_us": None,
        "ratio": 1.0,
        "batch": 100,
    }


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
