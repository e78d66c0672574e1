"""The published client of the command table, surreal-commands, in a process of its own: it reads its environment.

usage: producer.py ARGUMENTS...    submits a command of each, JSON, to lab.double; prints as JSON how the library sees
their ends
"""

import asyncio
import json
import sys
from typing import Any

from loguru import logger
from pydantic import BaseModel
from surreal_commands import command, submit_command, wait_for_command


class Number(BaseModel):
    """What `double` takes; the noop handler does as the metadata says."""

    x: int
    metadata: dict[str, Any] | None = None


class Doubled(BaseModel):
    """What it returns."""

    y: int


def double(number: Number) -> Doubled:
    """Stand in the library's registry; who does the work is a worker of ours."""
    return Doubled(y=2 * number.x)


async def run(arguments: str) -> dict[str, Any]:
    """Submit, and return how it ended."""
    made = await asyncio.to_thread(submit_command, "lab", "double", json.loads(arguments))
    seen = await wait_for_command(made, timeout=45, poll_interval=0.1)
    return {"id": str(made), "status": seen.status.value, "result": seen.result, "error": seen.error_message}


async def main() -> None:
    """Run all of them side by side."""
    print(json.dumps(await asyncio.gather(*map(run, sys.argv[1:]))))


if __name__ == "__main__":
    logger.remove()
    command("double", app="lab")(double)
    asyncio.run(main())
