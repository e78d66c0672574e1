"""The parts of the nemesis around its checker: plans, processes, the way to a queue, and the bugs it has to catch."""

from __future__ import annotations

import ast
import re
import signal
from pathlib import Path

import chaos
import pytest
from chaos import mutants
from chaos.findings import Finding
from chaos.fleet import Reach
from chaos.mutations import BUGS
from chaos.net import Link
from chaos.own import OwnStream
from chaos.plan import LARGEST, LASTS, WEIGHTS, Plan, Shape, make
from chaos.run import pace_after
from chaos.unit import explained

from tests.support.servers import Server


def test_a_plan_is_repeated_by_its_seed() -> None:
    """The same seed, the same run; another one, another run. Every run has large jobs and a deadly chunk."""
    shape = OwnStream.shape
    plans: list[Plan] = [make(7, 60, shape), make(7, 60, shape), make(8, 60, shape)]
    assert plans[0] == plans[1] != plans[2]
    for plan in plans:
        sizes = sorted(len(job.chunks) for job in plan.jobs)
        assert len(plan.faults) == 60
        assert {fault.kind for fault in plan.faults} == WEIGHTS.keys() - shape.lacks
        assert sizes[-1] == LARGEST and sizes[-3] >= LARGEST / 5
        assert any("poison" in job.chunks for job in plan.jobs)
        assert {"threshold", "fail_fast"} < {job.policy for job in plan.jobs}
    assert [fault.kind for fault in make(7, 3, shape, only={"clock"}).faults] == ["clock"] * 3
    assert len({fault.kind for fault in make(7, 5, shape).faults}) == 5
    assert LASTS.keys() < WEIGHTS.keys()


def test_a_plan_is_shaped_by_its_queue() -> None:
    """No fault that it cannot bear, and no job that is too much for it."""
    plan = make(7, 60, Shape(frozenset({"api kill"}), ("noise",), largest=40, left_out=frozenset({"queue kill"})))
    assert {"queue freeze", "cut queue"} < {fault.kind for fault in plan.faults}
    assert not {"api kill", "queue kill"} & {fault.kind for fault in plan.faults}
    assert max(len(job.chunks) for job in plan.jobs) == 40
    assert {noise.kind for noise in plan.noise} == {"noise"}


@pytest.mark.parametrize(("start_seconds", "pace"), [(0.5, 1.0), (3.0, 1.0), (6.0, 2.0), (12.0, 4.0), (90.0, 4.0)])
def test_a_slow_machine_gets_more_time_but_not_without_end(start_seconds: float, pace: float) -> None:
    """Nothing bounded it: a minute and a half to start made hours of six minutes."""
    assert pace_after(start_seconds) == pace


def test_workers_reach_a_queue_over_their_link() -> None:
    """Wherever its server is named, in settings or credentials."""
    server, link = Server("", 12345, [], Path(), None), Link(12345)
    link.port = 23456
    reach = Reach({"stream": "q", "source_options": {"endpoint": "http://h:12345"}}, {"url": "x://h:12345/0"}, server)
    assert reach.over(None) is reach
    over = reach.over(link)
    assert over.settings == {"stream": "q", "source_options": {"endpoint": "http://h:23456"}}
    assert over.credentials == {"url": "x://h:23456/0"}


@pytest.mark.parametrize(
    ("code", "sent", "fine"),
    [
        (0, {signal.SIGTERM}, True),
        (0, set(), False),  # it has ended of itself
        (1, {signal.SIGTERM}, False),  # a traceback on its way out
        (-signal.SIGTERM, {signal.SIGTERM}, True),  # before it listened
        (-signal.SIGKILL, {signal.SIGSTOP, signal.SIGKILL}, True),
        (-signal.SIGKILL, {signal.SIGTERM}, False),
        (-signal.SIGSEGV, {signal.SIGKILL}, False),
        (137, set(), True),  # a deadly chunk
    ],
)
def test_the_end_of_a_process_needs_a_reason(code: int, sent: set[int], fine: bool) -> None:
    """Else it is a crash, and found."""
    assert explained(code, sent) is fine


def test_the_checker_shares_no_code_with_the_product() -> None:
    """Only what runs inside a worker process imports the product."""
    inside = {"handler.py", "mutants.py", "run_worker.py"}
    for path in Path(chaos.__file__).parent.glob("*.py"):
        names = {n.module or "" for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)}
        assert path.name in inside or not any(n.startswith("orchestrator") for n in names), path.name


def test_every_mutant_is_tried() -> None:
    """The names stand where the product is not imported, and where it is; each has its faults."""
    assert set(BUGS) == set(mutants.MUTANTS)
    assert all(bug.faults < WEIGHTS.keys() for bug in BUGS.values())


def test_a_bug_is_caught_in_its_own_words() -> None:
    """What goes wrong in its wake does not count."""
    bug = BUGS["no-fencing"]
    by = "chunk j/c: running to processed by w1"
    assert bug.caught_by(Finding("counted_twice", f"{by}, but w0 held it"))
    assert bug.caught_by(Finding("counted_twice", f"{by}, by a run that had lost its lease"))
    assert not bug.caught_by(Finding("lost", f"{by}, but w0 held it"))
    assert not bug.caught_by(Finding("counted_twice", f"{by}, after its end"))


def test_every_promise_names_what_shows_it() -> None:
    """The tests that docs/guarantees.md names are there, and so is whatever else it says may be set."""
    root = Path(chaos.__file__).parents[1]
    page = (root / "docs/guarantees.md").read_text(encoding="utf-8")
    shown = [line.split("|")[3] for line in page.splitlines() if line.startswith("| **")]
    assert all("chaos" in cell or "`test" in cell for cell in shown)
    tests = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in tests, name
    for path in re.findall(r"`(tests/\S+)`", page):
        assert (root / path).exists(), path
    assert set(re.findall(r"`(CHAOS_\w+)`", page)) == {"CHAOS_FAULTS", "CHAOS_SEED", "CHAOS_SOURCE"}
