"""One side of a peer, in a process of its own: `python -m bench.peers.child arq enqueue|work URL COUNT TALLY`.

A peer is a module with PACKAGE, SETTING (what it runs with, in words), LEFT (a Lua script that counts the jobs which
are not acked), `enqueue(url, count)`, and `work(url, noop, ready)`, which is killed when all are done.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path


def tally(path: Path) -> Callable[[], None]:
    """Return what a job does: nothing but count itself where the parent can read it."""
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)
    lock = threading.Lock()

    def one() -> None:
        with lock:
            (done,) = struct.unpack_from("Q", shared)
            struct.pack_into("Q", shared, 0, done + 1)

    return one


def main(name: str, side: str, url: str, count: str, path: str) -> None:
    """Be one side of a peer."""
    peer = import_module(f"bench.peers.{name}")
    if side == "enqueue":
        peer.enqueue(url, int(count))
        return

    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # for some have banners

    def ready() -> None:
        about = {"version": version(peer.PACKAGE), "setting": peer.SETTING, "left": peer.LEFT}
        told.write(json.dumps(about) + "\n")
        told.flush()

    peer.work(url, tally(Path(path)), ready)


if __name__ == "__main__":
    main(*sys.argv[1:])
