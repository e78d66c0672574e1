"""POST /lightrag/query, and the API's description of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.errors import DependencyError
from orchestrator.ledger import Ledger
from tests.support.api import api_over

PATH = "/lightrag/query"
WRONG: list[object] = [
    {"query": ""},
    {},
    {"query": "q", "mode": "psychic"},
    {"query": "q", "x": 1},
    [],
    {"query": "\x00"},
]


@dataclass
class Answer:
    """What the engine of these tests says."""

    answer: str = "apt depends on dpkg"
    sources: list[str] = field(default_factory=lambda: ["test://1"])


class Oracle:
    """An engine that knows one answer and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    async def query(self, question: str, *, mode: str, workspace: str) -> Answer:
        """Answer, or fail as a model endpoint that is down."""
        self.asked.append((question, mode, workspace))
        if question == "down":
            raise DependencyError("http://10.0.0.1:11434 refused: secret details")
        return Answer()

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_question_goes_to_the_tenants_workspace(ledger: Ledger, redis_url: str) -> None:
    """The answer comes with its sources; another tenant's graph is not asked."""
    oracle = Oracle()
    async with api_over(ledger, redis_url, engine=oracle) as api, api.as_("alpha") as client:
        answer = await client.post(PATH, json={"query": "What does apt need?"})
        assert answer.json() == {"answer": "apt depends on dpkg", "sources": ["test://1"]}
        await client.post(PATH, json={"query": "q", "mode": "naive", "workspace": "alpha-2"})
        assert oracle.asked == [("What does apt need?", "hybrid", "alpha"), ("q", "naive", "alpha-2")]
        assert (await client.post(PATH, json={"query": "q", "workspace": "beta"})).status_code == 403
        for wrong in WRONG:
            answer = await client.post(PATH, json=wrong)
            assert answer.status_code == 422 and answer.json()["errors"], wrong
        down = await client.post(PATH, json={"query": "down"})
        assert down.status_code == 503 and "secret" not in down.text and down.headers["retry-after"]


async def test_without_an_engine_a_question_is_503(ledger: Ledger, redis_url: str) -> None:
    """And says what is missing."""
    async with api_over(ledger, redis_url) as api, api.as_("alpha") as client:
        answer = await client.post(PATH, json={"query": "q"})
        assert answer.status_code == 503 and "lightrag_processor.py" in answer.json()["detail"]


async def test_openapi_tells_every_problem_of_every_route(ledger: Ledger, redis_url: str) -> None:
    """Tags, summaries, security, problems as problem+json, and no reference that leads nowhere."""
    async with api_over(ledger, redis_url) as api, api.as_("alpha") as client:
        found = await client.get("/openapi.json")
        schema = found.json()
    assert set(schema["paths"]) == {
        "/lightrag/ingest-async", "/lightrag/query", "/jobs", "/jobs/{job_id}", "/jobs/{job_id}/chunks",
        "/dead-letters", "/dead-letters/{letter_id}", "/dead-letters/{letter_id}/retry",
        "/dead-letters/{letter_id}/drop", "/dead-letters/retry", "/dead-letters/drop",
        "/jobs/{job_id}/why", "/jobs/{job_id}/pause", "/jobs/{job_id}/resume",
        "/pauses", "/pauses/{scope}/{name}", "/audit", "/doctor", "/limits", "/usage",
        "/jobs/{job_id}/cancel", "/events/stream", "/health", "/ready", "/health/detailed", "/openapi.json",
    }  # fmt: skip
    known = {tag["name"] for tag in schema["tags"]}
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation["summary"] and set(operation["tags"]) <= known, where
            open_to_all = path in {"/health", "/ready"}
            assert ("security" in operation) is not open_to_all, where
            assert {"500"} | (set() if open_to_all else {"401"}) <= set(operation["responses"]), where
            for status, response in operation["responses"].items():
                if int(status) >= 400 and (path, status) != ("/health/detailed", "503"):
                    assert list(response["content"]) == ["application/problem+json"], f"{where} {status}"
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert schema["components"]["schemas"]["IngestRequest"]["example"]["chunks"]
    for reference in references(schema):
        part = schema
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def references(value: object) -> list[str]:
    """Return every $ref in a document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []
