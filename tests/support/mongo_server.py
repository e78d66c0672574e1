"""Run the stand-in for MongoDB on a free port; what it cannot do is written in tests/support/mongowire.py."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers import Server, free_port, plain_server


@contextlib.contextmanager
def mongo_server() -> Iterator[Server]:
    """Run one; its URL names a database."""
    port = free_port()
    program = Path(__file__).with_name("mongowire.py")
    url = f"mongodb://127.0.0.1:{port}/work?directConnection=true"
    with plain_server(url, port, sys.executable, str(program), str(port)) as server:
        yield server
