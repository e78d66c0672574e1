"""A bridge and a subnet for each run, with a way out for package downloads. No two runs share anything."""

from __future__ import annotations

from pathlib import Path

from lab.shell import LabError, run, succeeds

NUMBERS = range(1, 251)


def free_number(taken: set[int], links: set[str]) -> int:
    """Return the lowest number of a run that neither a run nor a leftover bridge uses. Pure."""
    for number in NUMBERS:
        if number not in taken and bridge(number) not in links:
            return number
    raise LabError("all 250 subnets are in use; run `python3 -m lab prune`")


def bridge(number: int) -> str:
    """Return the name of a run's bridge."""
    return f"olab{number}"


def gateway(number: int) -> str:
    """Return the address of this machine on a run's bridge."""
    return f"10.231.{number}.1"


def address(number: int, index: int) -> str:
    """Return the address of the n-th host of a run, from 1."""
    return f"10.231.{number}.{10 + index}"


def links() -> set[str]:
    """Return the names of all network interfaces."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def rules(number: int) -> list[list[str]]:
    """Return the arguments of a run's iptables rules: out through the machine, and back. Pure."""
    name, net = bridge(number), f"10.231.{number}.0/24"
    comment = ["-m", "comment", "--comment", name]
    return [
        ["-t", "nat", "POSTROUTING", "-s", net, "!", "-o", name, *comment, "-j", "MASQUERADE"],
        ["-t", "filter", "FORWARD", "-i", name, *comment, "-j", "ACCEPT"],
        ["-t", "filter", "FORWARD", "-o", name, *comment, "-j", "ACCEPT"],
    ]


def up(number: int) -> None:
    """Make bridge and rules where they are missing."""
    name = bridge(number)
    if name not in links():
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "addr", "add", f"{gateway(number)}/24", "dev", name)
    run("ip", "link", "set", name, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    for table_flag, table, *rule in rules(number):
        if not succeeds(["iptables", "-w", table_flag, table, "-C", *rule]):
            run("iptables", "-w", table_flag, table, "-I", *rule)


def down(number: int) -> None:
    """Remove bridge and rules."""
    for table_flag, table, *rule in rules(number):
        while succeeds(["iptables", "-w", table_flag, table, "-D", *rule]):
            pass
    if bridge(number) in links():
        run("ip", "link", "del", bridge(number))
