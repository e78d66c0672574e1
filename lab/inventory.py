"""The Ansible inventory of a run."""

from __future__ import annotations

import json
from pathlib import Path

from lab import guest
from lab.run import Run


def render(run: Run) -> str:
    """Return the inventory as JSON, which is YAML; literals only, for testinfra does not render templates."""
    known_hosts = run.directory / "known_hosts"
    hosts = {
        host.name: {
            "ansible_host": host.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(run.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o LogLevel=ERROR",
            # a connection kept open to a host that had this address before would be taken for one to this host
            "ansible_control_path_dir": str(run.directory / "ssh"),
            "ansible_python_interpreter": "/usr/bin/python3",
            "lab_run": run.name,
            "lab_uv_cache": guest.UV_CACHE,
        }
        for host in run.hosts()
        if host.complete
    }
    return json.dumps({"orchestrators": {"hosts": hosts}}, indent=2) + "\n"


def write(run: Run, target: Path | None) -> None:
    """Write the known hosts of the run, and its inventory where it is wanted."""
    lines = []
    for host in run.hosts():
        key = host.root / "etc/ssh/ssh_host_ed25519_key.pub"
        if key.exists():
            lines.append(f"{host.address} {' '.join(key.read_text(encoding='ascii').split()[:2])}\n")
    (run.directory / "known_hosts").write_text("".join(lines), encoding="ascii")
    for path in (run.directory / "inventory.json", target):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(run), encoding="utf-8")
