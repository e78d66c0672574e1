"""Calls of Amazon SQS: batches within its limits, the errors of each entry looked at, and its errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from orchestrator.errors import DependencyError, RefusedError

MOST = 10
"""Entries of one batch, and messages of one receive: the limit of the service."""
LARGEST = 262_144
"""Bytes of one batch of sends, all messages together. The service takes 1 MiB since August 2025, and as much of one
message: what is larger than this goes alone. A queue or a region that still has the former limit is content, too."""
TRIES = 3
PAUSE_SECONDS = 0.2
STALE = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"})
"""What the service says when a receipt handle is good no more, or its twelve hours are over."""
REFUSED = frozenset(
    {"AccessDenied", "AccessDeniedException", "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"}
    | {"401", "403"}
)
"""The last two are of an answer that the client cannot read, as from a proxy: its status, then."""
MISSING = frozenset({"NonExistentQueue", "QueueDoesNotExist"})

Entry = dict[str, Any]
Act = Callable[..., Awaitable[Mapping[str, Any]]]
"""A method of the client that takes a batch as `Entries`; their `Id` is set here."""


@contextmanager
def reachable(what: str, queue: str) -> Iterator[None]:
    """Turn what the client raises into DependencyError, and say what to look at."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        look = "give credential source-key, or the host an instance role"
        raise RefusedError(f"cannot {what}: SQS got no credentials; {look}") from error
    except ClientError as error:
        kind = RefusedError if code_of(error) in REFUSED else DependencyError
        raise kind(f"cannot {what}: {_meaning(code_of(error), queue)}") from error
    except (BotoCoreError, OSError, TimeoutError) as error:
        look = "check source_options endpoint_url and region, and the network"
        raise DependencyError(f"cannot {what}: SQS does not answer ({type(error).__name__}); {look}") from error


def code_of(error: ClientError) -> str:
    """Return the service's code without the prefix that some spellings of it have."""
    return str(error.response.get("Error", {}).get("Code", "")).rpartition(".")[2]


def _meaning(code: str, queue: str) -> str:
    if code in REFUSED:
        return f"SQS refuses us ({code}); check credential source-key or the instance role, and the policy of {queue}"
    if code in MISSING:
        return f"SQS has no queue {queue!r}; check its name, the region and the account"
    return f"SQS says {code or 'nothing of use'}; see the service's health and quotas"


async def in_batches(entries: Sequence[Entry], act: Act) -> dict[int, str]:
    """Send entries in batches, side by side; what the service failed at is tried again.

    Returns what it refused: index of the entry -> its code.
    """
    refused = await asyncio.gather(*(_batch(batch, act) for batch in _batches(entries)))
    return {n: code for found in refused for n, code in found.items()}


def _batches(entries: Sequence[Entry]) -> list[dict[int, Entry]]:
    """Part entries by both limits, of number and of bytes; each with its index, which is its `Id`."""
    batches: list[dict[int, Entry]] = []
    room = 0
    for n, entry in enumerate(entries):
        size = _size(entry)
        if not batches or len(batches[-1]) == MOST or size > room:
            batches.append({})
            room = LARGEST
        batches[-1][n] = {**entry, "Id": str(n)}
        room -= size
    return batches


def _size(entry: Entry) -> int:
    """Return what the service counts of a message: its body, and its attributes' names, types and values."""
    said = [entry.get("MessageBody", "")]
    for name, attribute in entry.get("MessageAttributes", {}).items():
        said += [name, *attribute.values()]
    return sum(len(part if isinstance(part, bytes) else str(part).encode()) for part in said)


async def _batch(left: dict[int, Entry], act: Act) -> dict[int, str]:
    refused: dict[int, str] = {}
    for last in (*[False] * (TRIES - 1), True):
        reply = await act(Entries=list(left.values()))
        failed = {int(f["Id"]): f for f in reply.get("Failed", ())}
        refused |= {n: str(f.get("Code", "")).rpartition(".")[2] for n, f in failed.items() if f.get("SenderFault")}
        left = {n: left[n] for n in failed if n not in refused}
        if not left or last:
            break
        await asyncio.sleep(PAUSE_SECONDS)
    return refused | {n: str(failed[n].get("Code", "")) for n in left}
