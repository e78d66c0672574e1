"""What a host is given before its first boot: address, keys, and this machine's own ways to the package registries."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from lab import network
from lab.machine import Machine
from lab.shell import run

ELF = b"\x7fELF"
UV_CACHE = "/var/cache/uv"
INIT = "/usr/local/sbin/lab-init"
# On cgroup v1 nspawn mounts the controllers read-only, and MemoryMax, CPUQuota and TasksMax silently do nothing.
# Writable before systemd first looks at them, they work from the first unit on.
INIT_TEXT = """#!/bin/sh
for controller in cpu cpuacct cpu,cpuacct memory pids; do
  mountpoint -q "/sys/fs/cgroup/$controller" && mount -o remount,bind,rw "/sys/fs/cgroup/$controller"
done
exec /usr/lib/systemd/systemd
"""
NETWORK = """[Match]
Name=host0
[Link]
MTUBytes={mtu}
[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
"""


def prepare(root: Path, machine: Machine, *, hostname: str, address: str, gateway: str, public_key: Path) -> None:
    """Write everything into a root tree, which may have been another host's before."""
    settings = NETWORK.format(mtu=network.mtu(), address=address, gateway=gateway)
    _write(root / "etc/systemd/network/80-container-host0.network", settings)
    wants = root / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    wants.parent.mkdir(parents=True, exist_ok=True)
    if not wants.is_symlink():
        wants.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    _write(root / "etc/hostname", f"{hostname}\n")
    _write(root / "etc/hosts", f"127.0.0.1 localhost\n{address} {hostname}\n")
    # given, not empty: systemd takes an empty one for a first boot, and enables whatever it finds
    _write(root / "etc/machine-id", f"{uuid4().hex}\n", mode=0o444)
    _write(root / INIT[1:], INIT_TEXT, mode=0o755)
    _write(root / "root/.ssh/authorized_keys", public_key.read_text(encoding="ascii"), mode=0o600)
    (root / "root/.ssh").chmod(0o700)
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key(root)))
    _registries(root, machine)


def host_key(root: Path) -> Path:
    """Return where its key is, by which it shows that it is the host we mean."""
    return root / "etc/ssh/ssh_host_ed25519_key"


def _registries(root: Path, machine: Machine) -> None:
    """Let the host reach what this machine reaches, in the same way."""
    _write(root / "etc/resolv.conf", machine.resolver)
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        shutil.copyfile(bundle, root / "etc/ssl/certs/ca-certificates.crt")
    if Path("/etc/uv/uv.toml").exists():
        _write(root / "etc/uv/uv.toml", Path("/etc/uv/uv.toml").read_text(encoding="utf-8"))
    # a host is thrown away: what is installed on it need not survive a power cut in the middle
    _write(root / "etc/dpkg/dpkg.cfg.d/lab", "force-unsafe-io\n")
    # uv's cache is this machine's, mounted into the host: no hard link reaches from a mount into another
    settings = {**machine.variables, "UV_LINK_MODE": "copy"}
    _write(root / "etc/environment", "".join(f'{k}="{v}"\n' for k, v in settings.items()))
    source, target = find_uv(), root / "usr/local/bin/uv"  # Debian has no uv
    if source is not None and not target.exists():
        shutil.copyfile(source, target)
        target.chmod(0o755)


def find_uv() -> Path | None:
    """Return this machine's uv: the binary, not somebody's wrapper script around it."""
    project = Path(__file__).parent.parent
    candidates = [project / ".tools/uv/bin/uv", Path(sys.prefix) / "bin/uv", Path(shutil.which("uv") or "/nowhere")]
    for command in ((sys.executable, "-c", "import uv; print(uv.find_uv_bin())"), ("pyenv", "which", "uv")):
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            candidates.append(Path(said or "/nowhere"))
    return next((path for path in candidates if _is_binary(path)), None)


def _is_binary(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(ELF)) == ELF


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # it may be a link that leads out of the tree
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
