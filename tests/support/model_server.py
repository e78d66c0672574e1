"""A model endpoint for tests: speaks OpenAI's protocol and Ollama's, answers by rule at once, and fails as told.

Entities are runs of capitalised words; each is related to the next in its sentence. Vectors are hashes of words.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

from tests.support.throttling import Gate

DIMENSIONS = 64
FIELD = "<|#|>"
NAME = re.compile(r"\b[A-Z][\w-]*(?: [A-Z0-9][\w-]*)*")
TEXT = re.compile(r"---Input Text---\s*```\n?(.*?)\n?```\s*\n---Output---", re.DOTALL)


class Refusal(Exception):
    """Answer with this status instead."""

    def __init__(self, status: int, retry_after: float | None = 0.01) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after = retry_after


class ModelServer:
    """What the server does, and what it was asked."""

    def __init__(self) -> None:
        self.delay = 0.0  # seconds an extraction takes
        self.failing: set[str] = set()  # an extraction of a text that holds one of these fails
        self.failure = 500  # with this status
        self.holding: set[str] = set()  # an extraction of a text that holds one of these waits while it is here
        self.refusing = 0  # this many of the next requests get `status`
        self.status = 429
        self.waits: float | None = 0.01  # what a refusal says of when to come again
        self.words = "refused by the test"
        self.broken_embeddings = False
        self.embedded: list[str] = []
        self.texts: list[str] = []  # every text that was extracted, in order
        self.asked: list[str] = []  # everything that was neither an extraction nor keywords
        self.gate: Gate | None = None  # before the language model
        self.refusing_all: set[int] = set()  # with this status, whatever it is asked, while there is one
        self.says_usage = True
        self.billed: list[tuple[int, int]] = []  # prompt and completion tokens of every answer
        self.at_work = 0  # requests, also such as nobody waits for any more
        self.url = ""

    def rest(self) -> None:
        """Wait until nothing is at work."""
        while self.at_work > 0:
            time.sleep(0.01)

    def chat(self, messages: list[dict[str, str]]) -> str:
        """Return the answer to a conversation."""
        if self.refusing:
            self.refusing -= 1
            raise Refusal(self.status, self.waits)
        prompt = messages[-1]["content"]
        if "---Input Text---" in prompt:
            return self._extract(prompt)
        if "high_level_keywords" in "".join(m["content"] for m in messages):
            names = NAME.findall(prompt.rsplit("Query:", 1)[-1])
            return json.dumps({"high_level_keywords": names or ["all"], "low_level_keywords": names or ["all"]})
        self.asked.append("\n".join(m["content"] for m in messages))
        return "According to the sources, so it is."

    def vector(self, text: str) -> list[float]:
        """Return a unit vector."""
        if self.broken_embeddings:
            raise Refusal(400)
        self.embedded.append(text)
        values = [0.0] * DIMENSIONS
        for word in text.lower().split()[:200]:
            number = int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")
            values[number % DIMENSIONS] += 1 if (number >> 40) & 1 else -1
        length = math.sqrt(sum(v * v for v in values))
        return [v / length for v in values] if length else [1.0] + [0.0] * (DIMENSIONS - 1)

    def _extract(self, prompt: str) -> str:
        found = TEXT.findall(prompt)
        text = found[-1] if found else prompt
        self.texts.append(text.strip())
        time.sleep(self.delay)
        while any(marker in text for marker in tuple(self.holding)):  # a copy: the test changes it meanwhile
            time.sleep(0.02)
        if any(marker in text for marker in self.failing):
            raise Refusal(self.failure)
        lines: list[str] = []
        for sentence in re.split(r"(?<=[.!?])\s", text):
            names = list(dict.fromkeys(NAME.findall(sentence)))
            lines += [FIELD.join(("entity", name, "concept", f"{name} is mentioned.")) for name in names]
            for a, b in pairwise(names):
                lines.append(FIELD.join(("relation", a, b, "association", f"{a} goes with {b}.")))
        return "\n".join([*lines, "<|COMPLETE|>"])


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run a model server on a free port; its `url` ends with /v1."""
    model = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.at_work += 1
            try:
                self._send(200, _answer(model, self.path, body))
            except Refusal as refusal:
                error = {"error": {"message": model.words, "type": "test"}}
                self._send(refusal.status, error, refusal.retry_after)
            finally:
                model.at_work -= 1

        def _send(self, status: int, value: Any, retry_after: float | None = None) -> None:
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if retry_after is not None:
                if retry_after >= 1:  # as the standard has it
                    self.send_header("Retry-After", str(int(retry_after)))
                else:
                    self.send_header("Retry-After-Ms", f"{retry_after * 1000:.0f}")
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was cancelled hangs up; that is what the tests do."""

    server = Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(model: ModelServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON to send back."""
    for status in model.refusing_all:
        raise Refusal(status)
    name = body.get("model", "")
    if path in {"/v1/chat/completions", "/api/chat"}:
        return _chat(model, path, body, name)
    vectors = [model.vector(text) for text in body["input"]]
    tokens = _bill(model, sum(map(len, body["input"])), 0)
    if path == "/api/embed":
        return {"model": name, "embeddings": vectors, "prompt_eval_count": tokens["prompt_tokens"]}
    packed: list[Any] = list(vectors)
    if body.get("encoding_format") == "base64":
        packed = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *v)).decode() for v in vectors]
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(packed)]
    return {"object": "list", "model": name, "data": data, "usage": tokens}


def _chat(model: ModelServer, path: str, body: dict[str, Any], name: str) -> dict[str, Any]:
    gate = model.gate or Gate(capacity=1_000_000, latency=0)
    prompt = sum(len(m["content"]) for m in body["messages"])
    with gate.admitted(_tokens(prompt)) as admitted:
        if not admitted:
            raise Refusal(429, gate.retry_after)
        text = model.chat(body["messages"])
    tokens = _bill(model, prompt, len(text))
    message = {"role": "assistant", "content": text}
    if path == "/api/chat":
        counts = {"prompt_eval_count": tokens["prompt_tokens"], "eval_count": tokens["completion_tokens"]}
        return {"model": name, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": True, **counts}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": [choice]}
    return {**reply, "usage": tokens} if model.says_usage else reply


def _bill(model: ModelServer, prompt: int, completion: int) -> dict[str, int]:
    """Return what an answer used, at three letters a token: not what we estimate."""
    counted = {"prompt_tokens": _tokens(prompt), "completion_tokens": completion // 3}
    model.billed.append((counted["prompt_tokens"], counted["completion_tokens"]))
    return {**counted, "total_tokens": sum(counted.values())}


def _tokens(letters: int) -> int:
    return letters // 3 + 1
