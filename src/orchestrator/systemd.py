"""Talk to systemd: READY, STATUS, WATCHDOG, STOPPING. Does nothing when nobody listens."""

from __future__ import annotations

import os
import socket

ONCE = ("READY=1", "STOPPING=1")
WAIT_SECONDS = 2.0
"""How long what is said once waits for a systemd that does not read; the rest comes again, and must not hold us up."""


def notify(state: str) -> bool:
    """Send a state such as "READY=1\\nSTATUS=…" to systemd; False when nobody takes it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(WAIT_SECONDS if state.startswith(ONCE) else 0)
        try:
            sender.connect(address)
            sender.sendall(state.encode())
        except OSError:
            return False
    return True


def status(text: str) -> bool:
    """Set the line `systemctl status` shows."""
    return notify("STATUS=" + text.replace("\n", " "))


def watchdog_interval() -> float | None:
    """Return how often to send WATCHDOG=1, in seconds: a third of WatchdogSec. None when there is no watchdog."""
    usec = os.environ.get("WATCHDOG_USEC")
    if not usec or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 1_000_000 / 3


def under_journal() -> bool:
    """Return whether standard error goes to the journal, which takes `<4>` before a line for its priority."""
    return "JOURNAL_STREAM" in os.environ
