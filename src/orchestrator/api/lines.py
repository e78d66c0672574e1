"""A submission in lines (application/x-ndjson): the frame first, then a chunk a line. However many, few are in memory.

The body is spooled before anything is read of it: a client that sends slowly holds no connection to PostgreSQL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import orjson
from fastapi import Request

from orchestrator.api.problems import ProblemError, invalid
from orchestrator.api.submission import Submission, check_frame, sound
from orchestrator.ledger.jobs import NewChunk

MEDIA_TYPE = "application/x-ndjson"
IN_MEMORY = 1 << 20  # bytes; a larger body lies in a temporary file


@asynccontextmanager
async def spooled(request: Request) -> AsyncIterator[IO[bytes]]:
    """Give the body as a file. Raises a 503 problem when the disk is full."""
    with SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        try:
            async for piece in request.stream():
                file.write(piece)
            file.seek(0)
        except OSError as error:
            detail = f"The body cannot be stored ({error.strerror}); the disk of this host may be full."
            raise ProblemError(503, detail, headers={"Retry-After": "30"}) from error
        yield file


class ChunkLines:
    """The chunks of the lines after the frame, read again by each iteration."""

    def __init__(self, file: IO[bytes], max_chunk_bytes: int) -> None:
        self._file = file
        self._max_chunk_bytes = max_chunk_bytes
        self._start = file.tell()
        self._count = 0

    def check(self, max_chunks: int) -> None:
        """Look at all of them, and count. Raises a 422 problem that says where they are wrong."""
        errors: list[tuple[str, str]] = []
        self._count = sum(1 for _ in self._sound(errors.append))
        if errors:
            raise invalid(*errors)
        if not 1 <= self._count <= max_chunks:
            raise invalid(("chunks", f"must be 1 to {max_chunks} lines after the first, got {self._count}"))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[NewChunk]:
        return self._sound(_refuse)

    def _sound(self, report: Callable[[tuple[str, str]], None]) -> Iterator[NewChunk]:
        return sound(self._given(), self._max_chunk_bytes, report)

    def _given(self) -> Iterator[Any]:
        self._file.seek(self._start)
        for index, line in enumerate(line for line in self._file if not line.isspace()):
            yield _object(line, f"chunks[{index}]")


def read(file: IO[bytes], *, max_chunks: int, max_chunk_bytes: int) -> Submission:
    """Return the submission; its chunks are good while the file is open. Raises a 422 problem."""
    frame = _object(file.readline(), "body")
    if errors := list(check_frame(frame)):
        raise invalid(*errors)
    if "chunks" in frame:
        raise invalid(
            ("chunks", "are the lines after the first, each an object; the first line is the rest of the body")
        )
    chunks = ChunkLines(file, max_chunk_bytes)
    chunks.check(max_chunks)
    return Submission(chunks, frame)


def _object(line: bytes, where: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise invalid((where, f"is not a line of JSON in UTF-8: {error}")) from None


def _refuse(error: tuple[str, str]) -> None:
    raise invalid(error)  # the file was sound when it was checked
