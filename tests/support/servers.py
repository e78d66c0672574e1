"""Real Redis and PostgreSQL (with pgvector) on free ports, each stopped by its own process id."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PORTS = (12_000, 32_000)


def free_port() -> int:
    """Return a port nobody listens on at this moment, of those that no outgoing connection takes in between."""
    while True:
        port = random.randint(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(slots=True)
class Server:
    """A running server: its address, its process, and how to kill and start it again."""

    url: str
    port: int
    command: list[str]
    directory: Path
    user: str | None
    process: subprocess.Popen[bytes] | None = None
    says_ready: Callable[[], bool] = lambda: True
    """Asked once its port answers: PostgreSQL listens before it serves."""

    def start(self) -> None:
        """Start the process and wait until it serves."""
        log = (self.directory.parent / f"{self.directory.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=self.directory, user=self.user, start_new_session=True
            )
        _wait_until_served(self, self.process, Path(log.name))

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order (PostgreSQL: fast shutdown)."""
        self._end(signal.SIGINT)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(timeout=30)
        self.process = None


def _wait_until_served(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            if server.says_ready():
                return
        time.sleep(0.02)
    raise RuntimeError(f"server on port {server.port} did not start:\n{log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def directory(owner: str | None) -> Iterator[Path]:
    """Give a server a directory of its own, removed afterwards."""
    root = Path(tempfile.mkdtemp(prefix="orchestrator-test-"))
    try:
        root.chmod(0o755)
        data = root / "data"
        data.mkdir(mode=0o700)
        if owner:
            shutil.chown(data, owner)
            shutil.chown(root, owner)
        yield data
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def plain_server(url: str, port: int, *command: str) -> Iterator[Server]:
    """Run a server that writes nothing worth ending well for: it is killed."""
    with directory(None) as where:
        server = Server(url, port, list(command), where, None)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def redis_server(*options: str) -> Iterator[Server]:
    """Run a Redis without persistence, unless the options say otherwise: it starts empty after a kill."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with plain_server(f"redis://127.0.0.1:{port}/0", port, *command, *options) as server:
        yield server


def _copy(install: Path, target: Path) -> Path:
    """Copy the wheel's binaries, and the libraries they look for beside the package."""
    site = install.parent.parent
    shutil.copytree(site / "pgserver.libs", target / "pgserver.libs")
    return Path(shutil.copytree(install, target / "pgserver" / "pginstall", symlinks=True))


@contextlib.contextmanager
def postgres_server(**settings: str) -> Iterator[Server]:
    """Run the PostgreSQL of the pgserver wheel. It refuses to run as root, so root runs it as `nobody`.

    It is not durable, unless the settings say otherwise: tests do not cut the power.
    """
    spec = find_spec("pgserver")
    assert spec is not None and spec.origin is not None
    install = Path(spec.origin).parent / "pginstall"
    owner = "nobody" if os.geteuid() == 0 else None
    port = free_port()
    with directory(owner) as data:
        if owner:  # the wheel may lie where `nobody` cannot look
            install = _copy(install, data.parent)
        initdb = [str(install / "bin/initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        environment = {"PATH": os.environ["PATH"], "HOME": pwd.getpwuid(os.geteuid()).pw_dir, "LC_ALL": "C.UTF-8"}
        initdb += ["--locale=C.UTF-8", "--lc-collate=C", "--no-sync"]  # as the role makes our databases
        subprocess.run(initdb, check=True, capture_output=True, user=owner, env=environment, cwd=data)
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            **settings,
        }
        command = [str(install / "bin/postgres"), "-D", str(data), "-p", str(port)]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        server = Server(f"postgresql://postgres@127.0.0.1:{port}", port, command, data, owner)
        server.says_ready = lambda: (data / "postmaster.pid").read_text().split()[-1] == "ready"
        server.start()
        try:
            yield server
        finally:
            server.stop()
