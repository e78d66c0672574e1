"""Calls of Amazon SQS: batches of ten, the errors of each entry looked at, and its errors in our words."""

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

from orchestrator.errors import DependencyError

MOST = 10
"""Entries of one batch, and messages of one receive: the limit of the service."""
TRIES = 3
PAUSE_SECONDS = 0.2
STALE = frozenset({"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue"})
"""What the service says when a receipt handle is good no more, or its twelve hours are over."""
REFUSED = frozenset(
    {"AccessDenied", "AccessDeniedException", "ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"}
)
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
        raise DependencyError(f"cannot {what}: SQS got no credentials; {look}") from error
    except ClientError as error:
        raise DependencyError(f"cannot {what}: {_meaning(code_of(error), queue)}") from error
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
    """Send entries ten at a time, the batches side by side; what the service failed at is tried again.

    Returns what it refused: index of the entry -> its code.
    """
    starts = range(0, len(entries), MOST)
    refused = await asyncio.gather(*(_batch(entries[s : s + MOST], act) for s in starts))
    return {start + n: code for start, found in zip(starts, refused, strict=True) for n, code in found.items()}


async def _batch(entries: Sequence[Entry], act: Act) -> dict[int, str]:
    left = {n: {**entry, "Id": str(n)} for n, entry in enumerate(entries)}
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
