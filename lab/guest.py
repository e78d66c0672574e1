"""What a host is given before its first boot: address, keys, and this machine's own ways to the package registries."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from lab.shell import run

LINK_SETTINGS = re.compile(r"Acquire::(http|https|ftp)::|Check-Valid-Until|Check-Date", re.IGNORECASE)
ELF = b"\x7fELF"
UV_CACHE = "/var/cache/uv"


def prepare(root: Path, *, hostname: str, address: str, gateway: str, public_key: Path) -> None:
    """Write everything into a root tree."""
    network = f"[Match]\nName=host0\n[Network]\nAddress={address}/24\nGateway={gateway}\nLinkLocalAddressing=no\n"
    _write(root / "etc/systemd/network/80-container-host0.network", network)
    wants = root / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    wants.parent.mkdir(parents=True, exist_ok=True)
    if not wants.is_symlink():
        wants.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    _write(root / "etc/hostname", f"{hostname}\n")
    _write(root / "etc/hosts", f"127.0.0.1 localhost\n{address} {hostname}\n")
    _write(root / "root/.ssh/authorized_keys", public_key.read_text(encoding="ascii"), mode=0o600)
    (root / "root/.ssh").chmod(0o700)
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    if not host_key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key))
    _registries(root)
    _uv(root)


def _registries(root: Path) -> None:
    """Let the host reach what this machine reaches, in the same way."""
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    shutil.copy(Path("/etc/resolv.conf").resolve(), resolv)
    certificates = Path("/usr/local/share/ca-certificates")
    if certificates.is_dir():
        shutil.copytree(certificates, root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        shutil.copy(bundle, root / "etc/ssl/certs/ca-certificates.crt")
    for path in sorted(Path("/etc/apt/apt.conf.d").iterdir()):
        if path.is_file() and LINK_SETTINGS.search(path.read_text(encoding="utf-8", errors="replace")):
            shutil.copy(path, root / "etc/apt/apt.conf.d" / path.name)
    if Path("/etc/uv/uv.toml").exists():
        _write(root / "etc/uv/uv.toml", Path("/etc/uv/uv.toml").read_text(encoding="utf-8"))
    settings = {k: v for k, v in os.environ.items() if k in {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"}}
    settings |= {"UV_LINK_MODE": "copy"}  # its cache is this machine's, on another file system than the host's overlay
    _write(root / "etc/environment", "".join(f'{k}="{v}"\n' for k, v in settings.items()))


def _uv(root: Path) -> None:
    """Give it uv, which Debian does not have."""
    target = root / "usr/local/bin/uv"
    source = find_uv()
    if source is not None and not target.exists():
        shutil.copy(source, target)
        target.chmod(0o755)


def find_uv() -> Path | None:
    """Return this machine's uv: the binary, not somebody's wrapper script around it."""
    project = Path(__file__).parent.parent
    candidates = [project / ".tools/uv/bin/uv", Path(sys.prefix) / "bin/uv", Path(shutil.which("uv") or "/nowhere")]
    said = run(sys.executable, "-c", "import uv; print(uv.find_uv_bin())", check=False).strip()
    listed = run("pyenv", "which", "uv", check=False).strip() if shutil.which("pyenv") else ""
    for path in (*candidates, Path(said or "/nowhere"), Path(listed or "/nowhere")):
        if path.is_file() and path.open("rb").read(4) == ELF:
            return path
    return None


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
