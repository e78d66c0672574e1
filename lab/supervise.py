"""The process behind a host: runs nspawn, boots it again when the guest reboots, readies it after every boot."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from lab import cgroup, process
from lab.shell import LabError
from lab.state import read, write

REBOOT = 133


def supervise(directory: Path) -> int:
    """Run until the guest powers off; return nspawn's exit code."""
    host = read(directory / "host.json")
    cgroup.enter(host["machine"])
    boots = 0
    while True:
        nspawn = subprocess.Popen(command(directory, host["machine"], host["bridge"]))
        boots += 1
        try:
            leader = _leader(nspawn)
            cgroup.wait_for_systemd(leader)
            cgroup.give_controllers(leader)
            write(directory / "boot.json", {"nspawn": nspawn.pid, "leader": leader, "boots": boots})
        except (LabError, OSError) as error:
            sys.stderr.write(f"lab: {error}\n")
        code = nspawn.wait()
        (directory / "boot.json").unlink(missing_ok=True)
        if code != REBOOT:
            return code


def command(directory: Path, machine: str, bridge: str) -> list[str]:
    """Return nspawn's command line. Pure."""
    return [
        "systemd-nspawn", "--quiet", f"--directory={directory}/root", "--boot", f"--machine={machine}",
        "--register=no", "--keep-unit", f"--network-bridge={bridge}", "--resolv-conf=off", "--link-journal=no",
        "--console=pipe", f"--bind={directory.parents[3]}/cache/uv:/var/cache/uv",
        # so that IPAddressDeny and the like work in the guest
        "--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_ADMIN", "--system-call-filter=bpf",
    ]  # fmt: skip


def _leader(nspawn: subprocess.Popen[bytes]) -> int:
    limit = time.monotonic() + 30
    while time.monotonic() < limit and nspawn.poll() is None:
        if found := process.children(nspawn.pid):
            return found[0]
        time.sleep(0.05)
    raise LabError("systemd-nspawn did not start the host")
