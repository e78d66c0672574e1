"""Texts for LightRAG: each names a few things, some of them shared with its neighbours. Always the same."""

from __future__ import annotations

WARM_UP = "Warmup0 is beside Warmup1, and that is all there is to say about the two of them."


def texts(workspace: str, count: int) -> list[str]:
    """Return so many different texts."""
    return [_text(workspace, n) for n in range(count)]


def _text(workspace: str, n: int) -> str:
    names = [f"Thing{n}", f"Thing{n + 1}", f"Place{n // 5}", f"Person{n % 10}"]
    sentences = [f"{a} is known to {b} since the year {1900 + n}." for a in names for b in names if a != b]
    return f"Report {n} of {workspace}. " + " ".join(sentences)
