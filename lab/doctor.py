"""Say what is missing before anything fails for it."""

from __future__ import annotations

import os
import shutil

NEEDS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
}


def missing() -> list[str]:
    """Return a line for everything that is missing, with what to do."""
    lines = [] if os.geteuid() == 0 else ["the lab boots hosts and makes bridges: run it as root"]
    packages = [package for tool, package in NEEDS.items() if shutil.which(tool) is None]
    if packages:
        lines.append(f"not installed: {', '.join(packages)}; run: apt-get install {' '.join(packages)}")
    return lines
