"""Runs of the lab side by side, their end, and what is left of one that was interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import network
from lab.process import Process
from lab.run import Run
from lab.state import RUNS, locked, read

from tests.support.lab import PROJECT, Lab, eventually, prune, traces

pytestmark = pytest.mark.timeout(300)  # the first one may build the base image
IDENTITY = "cat /etc/hostname /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A run without hosts yet, removed in the end."""
    made = Lab(f"test-{os.getpid()}-run", tmp_path / "hosts.json")
    try:
        yield made
    finally:
        made("down")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Lab]:
    """Another run."""
    made = Lab(f"test-{os.getpid()}-other", tmp_path / "other.json")
    try:
        yield made
    finally:
        made("down")


def number(lab: Lab) -> int:
    """Return the number of a run, which all its names carry."""
    found: int = read(RUNS / lab.run / "run.json")["number"]
    return found


def test_two_runs_share_nothing(lab: Lab, other: Lab) -> None:
    """Hosts of the same name, begun at the same moment; the end of one run does not touch the other."""
    words = ["up", "--owner", str(os.getpid()), "one"]
    begun = [subprocess.Popen(one.line(*words), cwd=PROJECT, stdout=subprocess.DEVNULL) for one in (lab, other)]
    assert [process.wait() for process in begun] == [0, 0]
    mine, theirs = (one("address", "one") for one in (lab, other))
    assert mine.rpartition(".")[0] != theirs.rpartition(".")[0]
    other("down")
    assert lab.exec("one", "systemctl", "is-system-running", "--wait") == "running\n"


def test_down_leaves_nothing(lab: Lab) -> None:
    lab.up("one", "two")
    taken = number(lab)
    assert traces(taken)
    lab("crash", "two")
    lab("down")
    eventually(lambda: traces(taken) == [], what="the end of all traces")
    assert not (RUNS / lab.run).exists()
    assert "nothing to remove" in lab("down")


def test_down_of_one_host_leaves_the_others(lab: Lab) -> None:
    lab.up("one", "two")
    lab("down", "one")
    assert lab.exec("two", "hostname") == "two\n"
    assert lab.try_("address", "one").returncode == 1
    lab("down", "two")
    assert not (RUNS / lab.run).exists()


def test_a_snapshot_is_where_hosts_go_on_from(lab: Lab) -> None:
    """The host itself, and new ones, which have what it had but are not it."""
    lab.up("one")
    lab.exec("one", "sh", "-c", "echo before > /root/state; rm /etc/motd")
    lab("snapshot", "one", "deployed")
    lab.exec("one", "sh", "-c", "echo after > /root/state")
    lab.up("--from", "deployed", "two")
    assert lab.exec("two", "sh", "-c", "cat /root/state; ls /etc/motd 2>&1 >/dev/null | wc -l") == "before\n1\n"
    assert lab.exec("one", "cat", "/root/state") == "after\n"
    mine, theirs = (lab.exec(name, "sh", "-c", IDENTITY).split() for name in ("one", "two"))
    assert not set(mine) & set(theirs) - {"ssh-ed25519"} - {mine[-1]}
    assert lab.ssh("two", "hostname").stdout == "two\n"
    assert "has no snapshot 'other'; it has: deployed" in lab.try_("up", "--from", "other", "three").stderr


def test_prune_removes_what_an_interrupted_run_left(lab: Lab, other: Lab) -> None:
    """Its owner is gone, its supervisor killed, its nspawn runs on, its links and rules are there: nothing stays."""
    other.up("one")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as owner:
        lab("up", "--owner", str(owner.pid), "one")
        supervisor = Process.load(read(RUNS / lab.run / "hosts/one/supervisor.json"))
        assert supervisor
        supervisor.send(signal.SIGKILL)
        taken = number(lab)
        assert traces(taken)
    prune()  # or somebody else's, who prunes this machine too
    eventually(lambda: traces(taken) == [], what="the end of all traces")
    eventually(lambda: not (RUNS / lab.run).exists(), what="the end of its directory")
    assert other.exec("one", "hostname") == "one\n"


def test_prune_finds_what_no_record_speaks_of(lab: Lab) -> None:
    """The directory of a run was removed by hand while its host ran."""
    lab.up("one")
    taken, directory = number(lab), RUNS / lab.run
    assert traces(taken)
    for record in [directory / "run.json", *directory.glob("hosts/*/*.json")]:
        record.unlink(missing_ok=True)
    prune()  # or somebody else's, who prunes this machine too
    eventually(lambda: traces(taken) == [], what="the end of all traces")
    eventually(lambda: not directory.exists(), what="the end of its directory")


def test_a_run_with_a_living_owner_is_not_pruned(lab: Lab) -> None:
    lab.up("one")
    lab("stop", "one")
    assert lab.run not in prune()
    lab("start", "one")


def test_a_half_made_host_is_made_anew(lab: Lab) -> None:
    """`up` was killed while it wrote the host's files: the next one does not boot what is half written."""
    lab.up("one")
    lab("crash", "one")
    directory = RUNS / lab.run / "hosts/one"
    (directory / "host.json").unlink()
    (directory / "root/etc/hostname").write_text("half\n")
    assert lab.up("one").split()[-1] == "made"
    assert lab.ssh("one", "hostname").stdout == "one\n"


def test_numbers_that_others_use_are_not_taken(lab: Lab, other: Lab) -> None:
    """A bridge of our name, a route into the network that would be next: left by whomever, they are respected.

    Other tests have runs of their own meanwhile: the route is laid where the lab, locked, would go next.
    """
    lab.up("one")
    with locked():
        stray = network.free_number(network.numbers_in_use() | {run.number for run in Run.all()})
        route = ["blackhole", f"10.231.{stray}.0/24"]
        subprocess.run(["ip", "route", "add", *route], check=True)
    try:
        other.up("one")
        assert number(other) not in {number(lab), stray}
    finally:
        subprocess.run(["ip", "route", "delete", *route], check=True)
