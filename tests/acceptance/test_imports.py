"""What happens when modules are imported, in a Python of its own: nothing begins, and nothing heavy comes along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
WATCH = """
import sys, threading, traceback

def begins(event, *arguments):
    if event.startswith(("socket.", "thread", "subprocess.", "os.system", "os.fork", "os.posix_spawn")):
        if any(frame.f_code.co_name == "_has_ipv6" for frame, _ in traceback.walk_stack(sys._getframe())):
            return  # urllib3, which the client of SurrealDB brings, looks once whether there is IPv6, and closes that
        traceback.print_stack()
        raise SystemExit(f"{event} at import")

sys.addaudithook(begins)
threading.Thread.start = lambda thread: begins("thread")
"""
OF_OURS = """
import importlib, pkgutil, orchestrator
for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
    importlib.import_module(module.name)
ours = [m for n, m in sys.modules.items() if n.startswith("orchestrator")]
held = {f"{m.__name__}.{k}" for m in ours for k, v in vars(m).items()
        if not isinstance(v, type) and not hasattr(v, "__path__")
        if any(hasattr(type(v), end) for end in ("close", "aclose"))}
sys.exit(f"made at import, to be closed by nobody: {held}" if held else 0)
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a Python of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)


@pytest.mark.parametrize(
    ("at_import", "event"),
    [("import socket; socket.socket()", "socket."), ("import threading; threading.Thread().start()", "thread")],
)
def test_x49_an_import_that_begins_something_is_seen(at_import: str, event: str) -> None:
    """The watch itself works."""
    done = python(f"{WATCH}{at_import}")
    assert done.returncode != 0 and event in done.stderr


def test_x49_importing_everything_begins_nothing() -> None:
    """A pool built at import brought its processor and its clients to whoever imported the module.

    No socket, no thread, no process, and nothing held by a module that would have to be closed.
    """
    done = python(WATCH + OF_OURS)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("command", [["--help"], ["check-settings", "--help"]])
def test_the_command_line_is_light(command: list[str]) -> None:
    """A validate: of a deployment runs it once a file: nothing heavy may be imported."""
    done = python(
        "import sys\nfrom orchestrator.cli.main import app\n"
        f"try:\n    app({command!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'lightrag', 'fastapi', 'asyncpg', 'redis', 'httpx', 'uvloop'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_handler_is_cheap() -> None:
    """LightRAG takes seconds and a hundred megabytes, and reads the environment: only `open` may load it."""
    done = python(
        "import sys, orchestrator.handlers.lightrag\nprint(sorted({'lightrag', 'openai', 'numpy'} & set(sys.modules)))"
    )
    assert done.stdout == "[]\n", done.stderr
