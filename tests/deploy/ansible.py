"""Run ansible-playbook against this machine only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
PASSWORD = "p'\"ä-0123456789-long"
PLAIN = "abcdefghijklmnop"
SECRETS: dict[str, Any] = {
    "orchestrator_base_redis_passwords": dict.fromkeys(("worker", "api", "cli"), PASSWORD),
    "orchestrator_base_postgresql_passwords": dict.fromkeys(
        ("owner", "worker", "api", "supervisor", "cli", "lightrag"), PLAIN
    ),
    "orchestrator_base_api_keys": [{"name": "test", "tenant": "*", "key": "k" * 40}],
    "redis_passwords": dict.fromkeys(("worker", "api", "cli"), PASSWORD),
    "postgresql_passwords": dict.fromkeys(("owner", "worker", "api", "supervisor", "cli", "lightrag"), PLAIN),
}


def play(playbook: str, variables: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the project on localhost with these variables; return how it ended and what it said."""
    extra = json.dumps({**SECRETS, "ansible_python_interpreter": sys.executable, **variables})
    return run_playbook(Path(playbook), "-i", "localhost,", "-e", extra, *arguments)


def environment() -> dict[str, str]:
    """Return the environment Ansible runs in, with the project's configuration."""
    return {
        "PATH": f"{PLAYBOOK.parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }


def run_playbook(playbook: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the project; return how it ended and what it said."""
    command = [str(PLAYBOOK), *arguments, str(playbook)]
    return subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, check=False)


def render(out: Path, variables: dict[str, Any]) -> dict[str, Path]:
    """Render all templates into a directory, or those that the variable `only` lists; return them by file name."""
    out.mkdir(exist_ok=True)
    done = play("tests/deploy/render.yml", {"out": str(out), **variables})
    assert done.returncode == 0, done.stdout[-3000:]
    return {path.name: path for path in out.iterdir()}
