"""The lab knows its processes by number and start: what ends and what follows is never taken for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from lab.process import Process, children, kill


def test_a_zombie_is_not_alive_and_has_no_start() -> None:
    """Process 1 of a container may reap late: what is killed must not count as running until then."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = Process.of(child.pid)
        assert process
        assert process in children(os.getpid())
        assert kill([process])
        assert Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
        assert not process.alive
        assert Process.of(child.pid) is None


def test_an_id_that_was_given_anew_is_not_signalled() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = Process.of(child.pid)
        assert process
        predecessor = Process(process.pid, process.start - 1)
        predecessor.send(signal.SIGKILL)
        assert not predecessor.alive
        child.communicate(b"\n")
        assert child.returncode == 0
