"""Find entities and relations in a text by rules: names, acronyms, technical words; neighbours in a sentence. Pure.

It proves the plumbing of a lab. It says nothing about what a real language model would find.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

MAX_ENTITIES = 10
MAX_RELATIONS = 8
DESCRIPTION_LENGTH = 240
SHORTEST_NAME = 3

SENTENCE = re.compile(r"(?<=[.!?])\s+|\n{2,}")
NAME = re.compile(
    r"\b[A-Z][A-Za-z0-9+&-]*(?:[ /](?:of )?[A-Z][A-Za-z0-9+&-]*)*"  # Debian Policy, GNU/Linux, University of Oslo
    r"|\b[a-z][a-z0-9]*(?:-[a-z0-9+]+)*-(?:get|config|cache|key|utils|tools|server|doc|dev|common|faq)\b"  # apt-get
    r"|\b[a-z]{2,}[0-9]+(?:\.[0-9]+)*\b"  # utf8, ext4
)
COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        The A An In On At It This That These Those He She They We You I But And Or Not If When While After Before For
        With As Its Their Our Your By From During To Of There Here What Which Who How Why Where So Then Thus Also
        However Some Many Most All Any Each No Yes Please Note See Are Is Was Do Does Can Will Should Must May
        Since Because Although Once Chapter Section Table Figure Example Use Using
        """,
    )
)
KINDS = (
    (
        re.compile(r"\b(inc|corp|ltd|gmbh|bank|agency|group|university|company|foundation|project|team)\b"),
        "Organization",
    ),
    (re.compile(r"\b(city|river|berlin|paris|london|port|valley|county|europe|america)\b"), "Location"),
    (re.compile(r"\b(dr|mr|mrs|ms|prof)\b"), "Person"),
    (re.compile(r"[0-9-]"), "Artifact"),
)
VERB = re.compile(
    r"\b(uses?|contains?|provides?|requires?|installs?|manages?|supports?|includes?|depends?|replaces?|runs?|builds?"
    r"|maintains?|releases?|configures?|owns?|leads?|founded|acquired|supplies|joined)\b"
)


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing the text speaks of."""

    name: str
    kind: str
    description: str


@dataclass(frozen=True, slots=True)
class Relation:
    """Two things the text speaks of in one sentence."""

    source: str
    target: str
    keyword: str
    description: str


def extract(text: str) -> tuple[list[Entity], list[Relation]]:
    """Return at most 10 entities and 8 relations, in the order of the text; the same text gives the same answer."""
    entities: dict[str, Entity] = {}
    relations: dict[tuple[str, str], Relation] = {}
    for raw in SENTENCE.split(text):
        sentence = " ".join(raw.split())
        names = [n for n in names_in(sentence) if n in entities or len(entities) < MAX_ENTITIES]
        for name in names:
            if name not in entities and len(entities) < MAX_ENTITIES:
                entities[name] = Entity(name, kind_of(name), sentence[:DESCRIPTION_LENGTH])
        found = [n for n in names if n in entities]
        verb = VERB.search(sentence)
        for one, other in pairwise(found):
            pair = (min(one, other), max(one, other))
            if pair not in relations and len(relations) < MAX_RELATIONS:
                keyword = verb.group(1) if verb else "association"
                relations[pair] = Relation(one, other, keyword, sentence[:DESCRIPTION_LENGTH])
    return list(entities.values()), list(relations.values())


def names_in(sentence: str) -> list[str]:
    """Return the names in a sentence, each once."""
    found: dict[str, None] = {}
    for match in NAME.finditer(sentence):
        words = match.group(0).split(" ")
        while words and words[0] in COMMON:
            words = words[1:]
        name = " ".join(words).strip("-&+/")
        if len(name) >= SHORTEST_NAME:
            found[name] = None
    return list(found)


def kind_of(name: str) -> str:
    """Return the kind of entity its name suggests."""
    low = name.lower()
    for pattern, kind in KINDS:
        if pattern.search(low):
            return kind
    return "Concept"
