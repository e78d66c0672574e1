"""An OpenAI-compatible model that answers at once: what is left of a run's time is LightRAG and the queue.

`python -m bench.instant PORT [SECONDS]`: each completion takes so long, as of a real language model; vectors do not.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
import struct
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import blake2b
from typing import Any

import orjson
import uvicorn

DIMENSIONS = 384
NAME = re.compile(r"\b[A-Z][a-z]+\d+\b")  # only our texts hold such words, no prompt does
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def vector(text: str) -> list[float]:
    """Return an embedding that tells texts apart, and nothing more."""
    seed = blake2b(text.encode(), digest_size=48).digest()
    raw = list(itertools.islice(itertools.cycle(b - 127.5 for b in seed), DIMENSIONS))
    length = sum(x * x for x in raw) ** 0.5
    return [x / length for x in raw]


def answer(prompt: str) -> str:
    """Return the entities and relations of the names in a prompt, in LightRAG's tuple format."""
    names = list(dict.fromkeys(NAME.findall(prompt)))
    lines = [f"entity<|#|>{name}<|#|>concept<|#|>{name} is named in the text." for name in names]
    lines += [f"relation<|#|>{a}<|#|>{b}<|#|>near<|#|>{a} is beside {b}." for a, b in itertools.pairwise(names)]
    return "\n".join([*lines, "<|COMPLETE|>"])


def embeddings(request: dict[str, Any]) -> dict[str, Any]:
    """Answer POST /v1/embeddings."""
    texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
    vectors: list[Any] = [vector(text) for text in texts]
    if request.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *v)).decode() for v in vectors]
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "instant", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """Answer POST /v1/chat/completions."""
    message = {"role": "assistant", "content": answer(request["messages"][-1]["content"])}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "instant",
        "choices": [choice],
        "usage": usage,
    }


async def answer_request(scope: Message, receive: Receive, send: Send, *, seconds: float) -> None:
    """Serve both."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    request = orjson.loads(body)
    if scope["path"].endswith("/embeddings"):
        found = embeddings(request)
    else:
        found = completion(request)
        await asyncio.sleep(seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": orjson.dumps(found)})


def main(port: int, seconds: float = 0.0) -> None:
    """Serve until told to stop."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await answer_request(scope, receive, send, seconds=seconds)

    uvicorn.run(app, port=port, lifespan="off", log_level="warning", http="httptools")


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(float, sys.argv[2:]))
