"""A bridge and a subnet for each run, with a way out for package downloads. No two runs share anything."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab.shell import LabError, answer, run, succeeds

NETWORK = ipaddress.IPv4Network("10.231.0.0/16")
NUMBERS = range(1, 251)
HOSTS = range(1, 241)
IPTABLES = ("iptables", "--wait")
CLASS = Path("/sys/class/net")
MACHINE = re.compile(r"o(\d+)-\d+")
LINK = re.compile(r"olab(\d+)|vb-o(\d+)-\d+")
RULE = re.compile(r'--comment "?olab(\d+)\b')


def free_number(taken: Iterable[int]) -> int:
    """Return the lowest number nobody has. Pure."""
    used = set(taken)
    for number in NUMBERS:
        if number not in used:
            return number
    raise LabError(f"all {len(NUMBERS)} subnets are in use; run `python3 -m lab prune`, or `down` what you do not need")


def free_index(taken: Iterable[int]) -> int:
    """Return the lowest index no host of the run has. Pure."""
    used = set(taken)
    for index in HOSTS:
        if index not in used:
            return index
    raise LabError(f"a run has room for {len(HOSTS)} hosts, and it has them; take another run")


def bridge(number: int) -> str:
    """Return the name of a run's bridge, which marks its iptables rules too."""
    return f"olab{number}"


def gateway(number: int) -> str:
    """Return the address of this machine on a run's bridge."""
    return f"10.231.{number}.1"


def address(number: int, index: int) -> str:
    """Return the address of the n-th host of a run, from 1."""
    return f"10.231.{number}.{10 + index}"


def machine(number: int, index: int) -> str:
    """Return the name of a host among the machine's: of its cgroups, its mount and, after `vb-`, its link."""
    return f"o{number}-{index}"


def number_of(name: str) -> int | None:
    """Return the run of a machine's or link's name; None for a name that is not ours. Pure."""
    found = MACHINE.fullmatch(name) or LINK.fullmatch(name)
    return next((int(group) for group in found.groups() if group), None) if found else None


def numbers_of(addresses: Iterable[str]) -> set[int]:
    """Return the numbers whose subnets these addresses and routes touch. Pure."""
    found = set()
    for text in addresses:
        if text[:1].isdigit():  # not "default"
            network = ipaddress.IPv4Network(text, strict=False)
            if network.subnet_of(NETWORK):
                found.add(int(network.network_address.packed[2]))
    return found


def links() -> set[str]:
    """Return the names of all network interfaces."""
    return {path.name for path in CLASS.iterdir()}


def numbers_made() -> set[int]:
    """Return the numbers that links and rules of our names carry, whoever left them."""
    linked = {number for name in links() if (number := number_of(name)) is not None}
    return linked | {number for number, _ in _present()}


def numbers_in_use() -> set[int]:
    """Return the numbers that are not free on this machine, for whatever reason."""
    devices: list[dict[str, Any]] = answer("ip", "-4", "-json", "address")
    own = [f"{info['local']}/{info['prefixlen']}" for device in devices for info in device.get("addr_info", ())]
    routes = [route["dst"] for route in answer("ip", "-4", "-json", "route")]
    return numbers_made() | numbers_of([*own, *routes])


def mtu() -> int:
    """Return what fits through this machine's way out: hosts that send more would lose it."""
    for route in answer("ip", "-4", "-json", "route", "show", "default"):
        return int((CLASS / route["dev"] / "mtu").read_text(encoding="ascii"))
    return 1500


def rules(number: int) -> list[list[str]]:
    """Return the arguments of a run's iptables rules: out through the machine, and back. Pure."""
    name, net = bridge(number), f"10.231.{number}.0/24"
    comment = ["-m", "comment", "--comment", name]
    return [
        ["-t", "nat", "POSTROUTING", "-s", net, "!", "-o", name, *comment, "-j", "MASQUERADE"],
        ["-t", "filter", "FORWARD", "-i", name, *comment, "-j", "ACCEPT"],
        ["-t", "filter", "FORWARD", "-o", name, *comment, "-j", "ACCEPT"],
    ]


def _present() -> list[tuple[int, list[str]]]:
    """Return (number, the command that removes it) for every rule of ours that there is."""
    found = []
    for table in ("nat", "filter"):
        for line in run(*IPTABLES, "-t", table, "-S").splitlines():
            if line.startswith("-A ") and (mark := RULE.search(line)):
                found.append((int(mark[1]), [*IPTABLES, "-t", table, "-D", *shlex.split(line)[1:]]))
    return found


def up(number: int) -> None:
    """Make bridge and rules where they are missing."""
    name = bridge(number)
    if name not in links():
        run("ip", "link", "add", name, "mtu", str(mtu()), "type", "bridge")
    run("ip", "address", "replace", f"{gateway(number)}/24", "dev", name)
    run("ip", "link", "set", name, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    for flag, table, *rule in rules(number):
        if not succeeds([*IPTABLES, flag, table, "-C", *rule]):
            run(*IPTABLES, flag, table, "-I", *rule)


def down(number: int) -> None:
    """Remove rules, links and bridge."""
    for owner, removal in _present():
        if owner == number:
            run(*removal)
    for name in sorted(links()):
        if number_of(name) == number:
            cut(name)


def cut(link: str) -> None:
    """Remove a link. The kernel may just be doing so itself."""
    if link in links() and not succeeds(["ip", "link", "delete", link]) and link in links():
        run("ip", "link", "delete", link)
