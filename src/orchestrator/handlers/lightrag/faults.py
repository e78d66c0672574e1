"""What is wrong when a model call fails, told from the client's error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

import httpx
import ollama
import openai

LONGEST_WAIT_SECONDS = 3600.0  # whatever an endpoint asks for: then it is asked again
OVERLOADED = 529  # not in the standard; Anthropic and some gateways
# By name: the clients bring HTTP libraries of their own, with errors of the same names
_UNREACHABLE = frozenset({"ConnectError", "ConnectTimeout", "ConnectionError"})
_NOT_SERVED = {402: "wants to be paid", 404: "knows no such model", 503: "is not available"}
_PASSING = frozenset({408, 409, 425})
_SPENT = ("insufficient_quota", "billing_hard_limit")


class Kind(Enum):
    """What a failed call says."""

    THROTTLED = "throttled"  # too many calls; the text is not to blame, and neither is anybody
    AWAY = "away"  # every text would get this answer
    CREDENTIALS = "credentials"  # as above, because of our key
    PASSING = "passing"  # an error of the server that may be gone at the next try
    UNFINISHED = "unfinished"  # it took the text and did not end: the text may be why
    REFUSED = "refused"  # this text, or every one: that is to be found out


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call failed."""

    kind: Kind
    why: str
    wait_seconds: float | None = None  # the endpoint says when to try again
    again: bool = False  # worth another try at once
    status: int = 0  # of HTTP, when there was an answer

    @property
    def overload(self) -> bool:
        """Return whether it says that the endpoint has too much to do."""
        return self.kind in {Kind.THROTTLED, Kind.UNFINISHED} or self.wait_seconds is not None


class ThrottledAnswer(Exception):
    """A client that hides the headers of an answer raises this instead; of 429, 503 and 529."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers


CLIENT_ERRORS = (openai.APIError, httpx.TransportError, ollama.ResponseError, ConnectionError, ThrottledAnswer)


def fault(error: BaseException) -> Fault:
    """Return what an error of CLIENT_ERRORS means."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error.status_code, error.response.headers, str(error))
    if isinstance(error, ThrottledAnswer):
        return _of_status(error.status, error.headers, "")
    if isinstance(error, ollama.ResponseError):
        return _of_status(error.status_code, {}, str(error))
    reason = type(error.__cause__ or error)
    if _UNREACHABLE & {base.__name__ for base in reason.__mro__}:
        return Fault(Kind.AWAY, f"cannot be reached ({reason.__name__})", again=True)
    return Fault(Kind.UNFINISHED, reason.__name__)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return for how many seconds the endpoint wants no calls; None when it does not say."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) / unit
        except ValueError:
            continue
        if seconds >= 0:  # also says no to what is no number
            return min(seconds, LONGEST_WAIT_SECONDS)
    try:
        at = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - (now or datetime.now(UTC))).total_seconds()), LONGEST_WAIT_SECONDS)


def _of_status(status: int, headers: Mapping[str, str], text: str) -> Fault:
    kind, why, wait = _kind(status, headers, text)
    passing = kind is Kind.PASSING or status == httpx.codes.SERVICE_UNAVAILABLE
    return Fault(kind, f"says {status}{why}", wait, again=passing and kind is not Kind.THROTTLED, status=status)


def _kind(status: int, headers: Mapping[str, str], text: str) -> tuple[Kind, str, float | None]:
    wait = retry_after(headers)
    if status == httpx.codes.TOO_MANY_REQUESTS and any(word in text for word in _SPENT):
        return Kind.AWAY, ": the account's quota is spent", None
    if status in {httpx.codes.TOO_MANY_REQUESTS, OVERLOADED} or (status == httpx.codes.SERVICE_UNAVAILABLE and wait):
        return Kind.THROTTLED, "", wait
    if status == httpx.codes.UNAUTHORIZED:
        return Kind.CREDENTIALS, "", None
    if status in _NOT_SERVED:
        return Kind.AWAY, f": it {_NOT_SERVED[status]}", None
    if status in _PASSING or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Kind.PASSING, "", wait
    return Kind.REFUSED, "", None
