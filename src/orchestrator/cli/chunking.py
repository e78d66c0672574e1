"""Cut prose into chunks of at most so many characters, at the largest seams that allow it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SEAMS = (
    re.compile(r"\n[ \t]*(?:\n[ \t]*)+"),  # between paragraphs
    re.compile(r"(?<=[.!?…])\s+"),  # between sentences
    re.compile(r"\s+"),  # between words
)
_GLUE = ("\n\n", " ", " ")


def chunks(text: str, limit: int) -> list[str]:
    """Return the text as chunks of 1 to `limit` characters.

    Paragraphs stay whole and neighbours share a chunk while they fit; a longer one is cut between sentences, then
    between words, and only a word longer than the limit is cut inside. Nothing but white space is lost or moved.
    """
    if limit < 1:
        raise ValueError(f"limit must be >= 1, got {limit}")
    return list(_pack(_pieces(text.strip(), limit, 0), limit))


def _pieces(text: str, limit: int, seam: int) -> Iterator[tuple[str, str]]:
    """Yield (glue to the piece before, piece), each piece within the limit."""
    if seam == len(_SEAMS):
        for start in range(0, len(text), limit):
            yield "", text[start : start + limit]
        return
    for part in filter(None, _SEAMS[seam].split(text)):
        glue = _GLUE[seam]
        for inner, piece in [("", part)] if len(part) <= limit else _pieces(part, limit, seam + 1):
            yield glue or inner, piece
            glue = ""


def _pack(pieces: Iterator[tuple[str, str]], limit: int) -> Iterator[str]:
    current = ""
    for glue, piece in pieces:
        if current and len(current) + len(glue) + len(piece) <= limit:
            current += glue + piece
        else:
            if current:
                yield current
            current = piece
    if current:
        yield current
