"""A host of the lab: it boots, obeys, loses power and network, and enforces the limits that units ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.lab import Lab, eventually

pytestmark = pytest.mark.timeout(300)  # the first one may build the base image


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A run with one running host, `one`."""
    made = Lab(f"test-{os.getpid()}-host", tmp_path_factory.mktemp("lab") / "hosts.json")
    try:
        made.up("one")
        yield made
    finally:
        made("down")


def test_every_unit_of_the_host_is_well(lab: Lab) -> None:
    assert lab.exec("one", "systemctl", "is-system-running", "--wait") == "running\n"


def test_ssh_opens_it_with_the_key_and_knows_it(lab: Lab) -> None:
    done = lab.ssh("one", "hostname")
    assert (done.stdout, done.stderr) == ("one\n", "")


def test_a_running_host_is_left_alone(lab: Lab) -> None:
    before = lab.exec("one", "systemctl", "show", "--value", "--property=UserspaceTimestampMonotonic")
    assert lab.up("one").split()[-1] == "up"
    assert lab.exec("one", "systemctl", "show", "--value", "--property=UserspaceTimestampMonotonic") == before


def test_exec_passes_words_and_exit_codes_on(lab: Lab) -> None:
    assert lab.exec("one", "printf", "%s|", "a b", "$HOME", "--run") == "a b|$HOME|--run|"
    assert lab.exec("one", "pwd") == "/root\n"
    assert lab.try_("exec", "one", "--", "sh", "-c", "exit 7").returncode == 7


def test_a_reboot_is_a_new_boot_of_the_same_host(lab: Lab) -> None:
    lab.exec("one", "touch", "/run/gone", "/root/kept")
    lab("reboot", "one")
    assert lab.exec("one", "sh", "-c", "ls /run/gone /root/kept 2>/dev/null; true") == "/root/kept\n"


def test_a_host_comes_back_when_it_reboots_itself(lab: Lab) -> None:
    lab.exec("one", "touch", "/run/gone")
    lab.ssh("one", "systemctl", "reboot")
    eventually(lambda: lab.ssh("one", "test", "!", "-e", "/run/gone").returncode == 0, within=90, what="the new boot")


def test_a_power_cut_loses_nothing_that_was_synced(lab: Lab) -> None:
    lab.exec("one", "sh", "-c", "echo kept > /root/synced; touch /run/gone; sync")
    lab("crash", "one")
    assert lab.ssh("one", "true", seconds=1).returncode == 255
    said = lab.try_("exec", "one", "--", "true").stderr
    assert f"one is not running; `python3 -m lab start --run {lab.run} one` boots it" in said
    lab("start", "one")
    assert lab.exec("one", "sh", "-c", "cat /root/synced; test ! -e /run/gone") == "kept\n"


def test_a_stopped_host_was_shut_down_in_order(lab: Lab) -> None:
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=touch /root/in-order\n"
    lab.exec("one", "sh", "-c", f"printf '{unit}' > /run/systemd/system/last.service; systemctl start last")
    lab("stop", "one")
    lab("start", "one")
    assert lab.exec("one", "ls", "/root/in-order")


def test_a_partition_cuts_the_network_and_nothing_else(lab: Lab) -> None:
    lab("partition", "one")
    try:
        assert lab.ssh("one", "true", seconds=1).returncode == 255
        assert lab.exec("one", "cat", "/etc/hostname") == "one\n"
    finally:
        lab("heal", "one")
    eventually(lambda: lab.ssh("one", "true", seconds=1).returncode == 0, what="the healed connection")


@pytest.mark.parametrize(
    ("limit", "program", "sign"),
    [
        ("MemoryMax=50M", "x = bytearray(200 << 20)", "status=9/KILL"),
        ("TasksMax=3", "import os; [os.fork() for _ in range(3)]", "Resource temporarily unavailable"),
        ("IPAddressDeny=any", "import socket; socket.create_connection(('{gateway}', 9), 1)", "timed out"),
    ],
)
def test_limits_of_units_are_enforced(lab: Lab, limit: str, program: str, sign: str) -> None:
    """Not read back but felt: where the controllers are read-only, systemd takes them and does nothing."""
    gateway = lab.variables("one")["ansible_host"].rpartition(".")[0] + ".1"
    code = program.format(gateway=gateway)
    words = ["systemd-run", "--wait", "--pipe", "--property", limit, "python3", "-c", code]
    done = lab.try_("exec", "one", "--", *words)
    assert sign in done.stdout + done.stderr


def test_cpu_quota_is_enforced(lab: Lab) -> None:
    code = "import time; end = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time())"
    spent = lab.exec("one", "systemd-run", "--quiet", "--wait", "--pipe", "-pCPUQuota=20%", "python3", "-c", code)
    assert float(spent) < 0.5


def test_the_host_reaches_debians_archive(lab: Lab) -> None:
    assert "Err:" not in lab.exec("one", "apt-get", "update")


def test_unknown_names_are_answered_readably(lab: Lab) -> None:
    done = lab.try_("reboot", "two")
    assert (done.returncode, done.stderr) == (1, f"lab: run {lab.run} has no host 'two'; it has: one\n")
    assert lab.try_("up", "Not_a_name").stderr.startswith("lab: 'Not_a_name' is no name for a host")
