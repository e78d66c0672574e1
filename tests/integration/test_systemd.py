"""What systemd is told, read from a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from orchestrator import systemd


@contextmanager
def listener(address: str) -> Iterator[socket.socket]:
    """Listen in systemd's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(address)
        made.settimeout(5)
        yield made


def test_a_message_reaches_a_socket_in_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One datagram a call, several lines in it."""
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with listener(path) as systemds:
        assert systemd.notify("READY=1\nSTATUS=at work")
        assert systemds.recv(4096) == b"READY=1\nSTATUS=at work"


def test_a_message_reaches_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment writes @ for the zero byte."""
    name = f"orchestrator-test-{uuid4().hex}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with listener(f"\0{name}") as systemds:
        assert systemd.notify("WATCHDOG=1")
        assert systemds.recv(4096) == b"WATCHDOG=1"


def test_a_status_cannot_smuggle_in_another_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error text with a line end would else be read as READY=1."""
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with listener(path) as systemds:
        assert systemd.status("waiting\nREADY=1")
        assert systemds.recv(4096) == b"STATUS=waiting READY=1"


def test_nobody_waits_for_a_systemd_that_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is full: the loop once stood still in the middle of a send, and with it every lease of the worker."""
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setattr(systemd, "WAIT_SECONDS", 0.1)
    with listener(path) as systemds:
        while systemd.notify("WATCHDOG=1"):
            pass
        assert not systemd.status("at work") and not systemd.notify("STOPPING=1\nSTATUS=draining")
        systemds.recv(4096)
        assert systemd.notify("WATCHDOG=1"), "it reads again"


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not run by systemd, or its socket is gone: work goes on."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not systemd.notify("READY=1")


def test_the_watchdog_is_fed_three_times_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when it is meant for this process."""
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert systemd.watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert systemd.watchdog_interval() == 10.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_interval() == 10.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert systemd.watchdog_interval() is None
