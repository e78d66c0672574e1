"""Say what is missing before anything fails for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.shell import LabError

NEEDS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "apt-config": "apt",
    "iptables": "iptables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mount": "mount",
    "nsenter": "util-linux",
}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CGROUPS = Path("/sys/fs/cgroup")


def missing(path: str) -> list[str]:
    """Return a line for everything that is missing, with what to do. Programs are looked for in `path`."""
    lines = [] if os.geteuid() == 0 else ["the lab boots hosts and makes bridges: run it as root (sudo)"]
    tools = {tool: package for tool, package in NEEDS.items() if shutil.which(tool, path=path) is None}
    if tools:
        packages = " ".join(sorted(set(tools.values())))
        lines.append(f"not installed: {', '.join(tools)}; run: apt-get install {packages}")
    if not KEYRING.exists():
        lines.append("Debian's archive keys are not installed; run: apt-get install debian-archive-keyring")
    if not any(CGROUPS.glob("*")):
        lines.append(f"there are no control groups below {CGROUPS}; in a container, start it with them mounted")
    return lines


def require() -> None:
    """Raise LabError naming everything that is missing. Programs in sbin are found from now on."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}".lstrip(":")
    if lines := missing(os.environ["PATH"]):
        raise LabError("\n     ".join(lines))
