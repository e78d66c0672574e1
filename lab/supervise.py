"""The process behind a host: runs nspawn, and boots it again when the guest reboots."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab import cgroup, guest
from lab.process import Process, until
from lab.state import CACHE, read, write

REBOOT = 133  # nspawn's exit code when the guest asked for a reboot
STARTER_SECONDS = 10.0


def supervise(directory: Path) -> int:
    """Run until the guest powers off; return nspawn's exit code."""
    me = Process.of(os.getpid())
    if not until(lambda: Process.load(read(directory / "supervisor.json")) == me, within=STARTER_SECONDS):
        return 1  # who started us ended before it could record us: nobody would find us
    host = read(directory / "host.json")
    cgroup.enter(host["machine"])
    boots = 0
    while True:
        command = nspawn(directory / "root", host["machine"], directory.name, host["bridge"], CACHE / "uv")
        process = subprocess.Popen(command)
        boots += 1
        started = Process.of(process.pid)
        write(directory / "boot.json", {"nspawn": started.record() if started else None, "boots": boots})
        code = process.wait()
        if code != REBOOT:
            return code


def nspawn(root: Path, machine: str, hostname: str, bridge: str, uv_cache: Path) -> list[str]:
    """Return nspawn's command line. Pure."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        f"--machine={machine}",
        f"--hostname={hostname}",
        f"--network-bridge={bridge}",
        f"--bind={uv_cache}:{guest.UV_CACHE}",
        "--register=no",  # there may be no machined to know of it
        "--keep-unit",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
        "--kill-signal=SIGRTMIN+3",  # for systemd: power off
        # IPAddressDeny and the like are BPF programs
        "--capability=CAP_BPF,CAP_PERFMON,CAP_SYS_ADMIN",
        "--system-call-filter=bpf",
        guest.INIT,
    ]


if __name__ == "__main__":
    sys.exit(supervise(Path(sys.argv[1])))
