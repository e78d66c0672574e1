"""The rules of the lab's model server: deterministic, bounded, in the formats that LightRAG parses."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.models.answer import NOTHING
from orchestrator.models.extraction import MAX_ENTITIES, MAX_RELATIONS, extract, names_in
from orchestrator.models.prompts import END, FIELD, complete

TEXT = (
    "Debian is maintained by the Debian Project. The package apt-get installs software from the Debian Archive. "
    "Ian Murdock founded Debian in 1993."
)


def prompt(text: str) -> list[tuple[str, str]]:
    """Return the messages of an extraction as LightRAG sends them."""
    user = f"Extract entities and relationships.\n---Input Text---\n```\n{text}\n```\n\n---Output---\n"
    return [("system", "You are an extraction specialist."), ("user", user)]


def test_names_and_technical_words_are_found() -> None:
    """Names, acronyms and commands; words that only begin a sentence are not."""
    assert names_in("The package apt-get comes from the Debian Archive.") == ["apt-get", "Debian Archive"]
    assert names_in("When it rains, It pours.") == []


def test_entities_and_relations_of_a_text() -> None:
    """Neighbours in a sentence are related by its verb."""
    entities, relations = extract(TEXT)
    assert {"Debian", "Debian Project", "apt-get", "Ian Murdock"} <= {e.name for e in entities}
    assert ("Ian Murdock", "Debian", "founded") in {(r.source, r.target, r.keyword) for r in relations}


@given(st.text(max_size=3000))
def test_any_text_gives_a_bounded_deterministic_answer(text: str) -> None:
    """Whatever comes in: no error, no format characters in a field, the same answer twice."""
    entities, relations = extract(text)
    assert len(entities) <= MAX_ENTITIES and len(relations) <= MAX_RELATIONS
    reply = complete(prompt(text))
    assert reply == complete(prompt(text)) and reply.endswith(END)
    for line in reply.splitlines()[:-1]:
        assert len(line.split(FIELD)) == (4 if line.startswith("entity") else 5)


def test_the_tuple_format_is_what_lightrag_asks_for() -> None:
    """entity<|#|>name<|#|>type<|#|>description."""
    first = complete(prompt(TEXT)).splitlines()[0].split(FIELD)
    assert first[0] == "entity" and first[1] == "Debian" and len(first) == 4


def test_the_json_format_when_json_is_asked_for() -> None:
    """With entity_extraction_use_json."""
    messages = [("system", "Answer with a JSON object."), prompt(TEXT)[1]]
    found = json.loads(complete(messages))
    assert {"name", "type", "description"} == set(found["entities"][0])
    assert {"source", "target", "keywords", "description"} == set(found["relationships"][0])


def test_gleaning_finds_nothing_more() -> None:
    """A second look at the same text by the same rules is empty."""
    assert complete([("user", "Based on the last extraction task, find what was missed.")]) == END


def test_a_summary_joins_descriptions_once() -> None:
    """Duplicates go, and the length is bounded."""
    lines = "\n".join(json.dumps({"Description": d}) for d in ("One.", "Two.", "One."))
    assert complete([("user", f"Summarise.\nDescription List:\n{lines}\n")]) == "One. Two."


def test_keywords_of_a_question() -> None:
    """High-level words and low-level names, as JSON."""
    asked = [("user", "Return high_level_keywords.\nUser Query: How does Debian Policy treat upgrades?\n")]
    found = json.loads(complete(asked))
    assert "Debian Policy" in found["low_level_keywords"] and "upgrades" in found["high_level_keywords"]


def test_the_answer_is_taken_from_the_context_with_its_reference() -> None:
    """Extractive: nothing is made up; without context it says so."""
    chunk = {
        "reference_id": "2",
        "content": "Stable is updated rarely. Testing receives packages from unstable every day.",
    }
    context = "Context\n" + json.dumps(chunk) + "\nReference Document List\n[2] faq.txt\n"
    reply = complete([("system", context), ("user", "Which distribution receives packages from unstable?")])
    assert "Testing receives packages from unstable every day. [2]" in reply and "- [2] faq.txt" in reply
    assert complete([("system", "no context"), ("user", "What?")]) == NOTHING
