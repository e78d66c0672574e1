"""Answer a question from the context LightRAG gives: the sentences that share most with it, with references. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from math import log

SENTENCES = 4
SHORTEST, LONGEST = 25, 500
WORD = re.compile(r"[a-z0-9][a-z0-9+.-]{2,}")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n{2,}")
REFERENCE = re.compile(r"^\[?(\d+)\]?[ :.)-]+(.+)$")
NOTHING = "The documents at hand do not answer this question."
STOP = frozenset(
    re.findall(
        r"\w+", "the and for with from that this what which how does are can you your not have has was were will"
    )
)


def answer_from(system: str, user: str) -> str:
    """Return two to four sentences of the context in their order, each with its reference, and the references."""
    asked = words_of(user[-1000:])
    candidates = [(ref, s) for ref, text in chunks_in(system) for s in sentences_of(text)]
    if not candidates:
        return NOTHING
    spread = Counter(w for _, s in candidates for w in set(words_of(s)))
    weight = {w: log(1 + len(candidates) / spread[w]) for w in asked if w in spread}
    scored = sorted(
        ((sum(weight.get(w, 0.0) for w in set(words_of(s))), -i) for i, (_, s) in enumerate(candidates)), reverse=True
    )
    best = sorted({candidates[-i][1]: -i for score, i in scored[: 3 * SENTENCES] if score > 0}.values())[:SENTENCES]
    if not best:
        return NOTHING
    names = references_in(system)
    cited = [(candidates[i][0], candidates[i][1]) for i in best]
    text = " ".join(f"{sentence} [{ref}]" if ref else sentence for ref, sentence in cited)
    used = [ref for ref in dict.fromkeys(ref for ref, _ in cited) if ref]
    if not used:
        return text
    return text + "\n\n### References\n\n" + "\n".join(f"- [{ref}] {names.get(ref, 'unnamed')}" for ref in used)


def words_of(text: str) -> list[str]:
    """Return the words of a text that say something."""
    return [w for w in WORD.findall(text.lower()) if w not in STOP]


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a chunk that are neither scraps nor walls of text."""
    found = (" ".join(s.split()) for s in SENTENCE.split(text))
    return [s for s in found if SHORTEST <= len(s) <= LONGEST]


def chunks_in(context: str) -> Iterator[tuple[str, str]]:
    """Yield (reference, text) of every document chunk in LightRAG's context: lines of JSON with `content`."""
    for line in context.splitlines():
        if not line.lstrip().startswith("{"):
            continue
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "content" in value:
            yield str(value.get("reference_id", "")), str(value["content"])


def references_in(context: str) -> dict[str, str]:
    """Return the reference list of the context: number -> document."""
    found = (REFERENCE.match(line.strip()) for line in context.splitlines())
    return {m.group(1): m.group(2) for m in found if m}
