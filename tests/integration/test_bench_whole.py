"""The benches and what they need: to import all of them takes the clients of all queues."""

from __future__ import annotations

from bench.__main__ import BENCHES
from bench.limits import LIMITS
from bench.source_loops import LOOPS

from tests.conformance.conftest import BACKENDS


def test_what_has_a_limit_can_be_run() -> None:
    assert LIMITS.keys() <= BENCHES.keys()


def test_every_source_has_a_bare_loop() -> None:
    assert BACKENDS.keys() <= LOOPS.keys()
