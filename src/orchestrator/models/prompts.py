"""Recognise what LightRAG 1.5.7 asks for, and answer in the format it parses. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from orchestrator.models.answer import answer_from
from orchestrator.models.extraction import COMMON, extract, names_in

FIELD = "<|#|>"
END = "<|COMPLETE|>"
INPUT = re.compile(r"---Input Text---\s*```\n?(.*?)\n?```\s*\n---Output---", re.DOTALL)
WORD = re.compile(r"[a-z]{4,}")
QUERY = re.compile(r"User Query:\s*(.*)")
SUMMARY_LENGTH = 1200
KEYWORDS = 6


def complete(messages: Sequence[tuple[str, str]]) -> str:
    """Return the assistant's text for messages (role, content)."""
    system = "\n".join(content for role, content in messages if role == "system")
    user = next((content for role, content in reversed(messages) if role == "user"), "")
    # what the text itself says is not an instruction
    as_json = "valid JSON" in INPUT.sub("", user) or "JSON object" in system
    if "Based on the last extraction task" in user:  # gleaning: the rules missed nothing they could find
        return '{"entities": [], "relationships": []}' if as_json else END
    if "---Input Text---" in user:
        found = INPUT.search(user)
        return extraction(found.group(1) if found else user.split("---Input Text---", 1)[1], as_json=as_json)
    if "Description List" in user:
        return summary(user)
    if "high_level_keywords" in user + system:
        return keywords(user)
    return answer_from(system, user)


def extraction(text: str, *, as_json: bool) -> str:
    """Return entities and relations in LightRAG's tuple or JSON format."""
    entities, relations = extract(text)
    if as_json:
        return json.dumps(
            {
                "entities": [{"name": e.name, "type": e.kind, "description": e.description} for e in entities],
                "relationships": [
                    {"source": r.source, "target": r.target, "keywords": r.keyword, "description": r.description}
                    for r in relations
                ],
            }
        )
    lines = [FIELD.join(("entity", _plain(e.name), e.kind, _plain(e.description))) for e in entities]
    lines += [
        FIELD.join(("relation", _plain(r.source), _plain(r.target), r.keyword, _plain(r.description)))
        for r in relations
    ]
    return "\n".join([*lines, END])


def _plain(text: str) -> str:
    """Return the text without anything that is part of the format."""
    return text.replace("<|", "").replace("|>", "").replace("\n", " ")


def summary(prompt: str) -> str:
    """Return the descriptions in the prompt, each once, cut to a bounded length."""
    found: dict[str, None] = {}
    for line in prompt.split("Description List", 1)[1].splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and value:
            found[str(value.get("Description") or next(iter(value.values())))] = None
    return " ".join(found)[:SUMMARY_LENGTH] or "No description."


def keywords(prompt: str) -> str:
    """Return the keywords of a question as JSON: its words as themes, its names as details."""
    asked = QUERY.search(prompt)
    question = asked.group(1) if asked else prompt[-300:]
    words = [w for w in dict.fromkeys(WORD.findall(question.lower())) if w.title() not in COMMON][:KEYWORDS]
    return json.dumps({"high_level_keywords": words, "low_level_keywords": names_in(question)[:KEYWORDS] or words})
