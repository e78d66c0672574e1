"""The API as the command line sees it: requests with the key, problems as readable errors, events with reconnect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from orchestrator.errors import CredentialError, DependencyError, NotFoundError, OrchestratorError
from orchestrator.logs import escape

REQUEST_SECONDS = 60.0
QUERY_SECONDS = 600.0
SILENCE_SECONDS = 45.0  # three heartbeats of the stream
RECONNECT_SECONDS = 2.0
PATIENCE_SECONDS = 120.0  # without one answer; a deploy of the API takes seconds


class ApiError(OrchestratorError):
    """The API refused; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event."""

    id: str
    type: str
    data: Mapping[str, Any]


def read_key(path: Path) -> str:
    """Return the key in a file. Raises CredentialError, without the key in it."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CredentialError(f"key file {path} cannot be read: {error.strerror}; pass --key-file FILE") from error
    except UnicodeDecodeError as error:
        raise CredentialError(f"key file {path} does not hold a key") from error
    if not key or not key.isprintable():
        raise CredentialError(f"key file {path} must hold one line, the key")
    return key


class Client:
    """Calls the API. Methods raise ApiError when it refuses, DependencyError when it does not answer."""

    def __init__(self, http: httpx.Client, *, reconnect_seconds: float = RECONNECT_SECONDS) -> None:
        self._http = http
        self._reconnect_seconds = reconnect_seconds

    @classmethod
    @contextmanager
    def connect(cls, url: str, key_file: Path) -> Iterator[Client]:
        """Give a client of the API at `url`; nothing is sent yet."""
        headers = {"Authorization": f"Bearer {read_key(key_file)}"}
        try:
            http = httpx.Client(base_url=url, headers=headers, timeout=REQUEST_SECONDS, trust_env=False)
        except (httpx.InvalidURL, ValueError) as error:
            raise OrchestratorError(f"--url {url}: {error}") from error
        with http:
            yield cls(http)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON a GET answers."""
        return self._request("GET", path, params={k: v for k, v in query.items() if v is not None})

    def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Return the JSON a POST answers."""
        return self._request("POST", path, json=body, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        """Return the JSON a PUT answers."""
        return self._request("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """Return the JSON a PATCH answers."""
        return self._request("PATCH", path, json=body)

    def remove(self, path: str) -> None:
        """Send a DELETE."""
        self._request("DELETE", path)

    def query(self, question: str, *, mode: str, workspace: str | None) -> Any:
        """Ask the graph; a model may take its time."""
        body = {"query": question, "mode": mode} | ({"workspace": workspace} if workspace else {})
        return self._request("POST", "/lightrag/query", json=body, timeout=QUERY_SECONDS)

    def health(self) -> Any:
        """Return the detailed health report, also when the API is down by it."""
        return self._request("GET", "/health/detailed", report=503)

    def job(self, job_id: str) -> Any:
        """Return a job."""
        return self.get(job_path(job_id))

    def cancel(self, job_id: str) -> Any:
        """Cancel a job and return it."""
        return self.post(f"{job_path(job_id)}/cancel")

    def delete(self, job_id: str) -> None:
        """Forget an ended job."""
        self.remove(job_path(job_id))

    def _request(self, method: str, path: str, *, report: int = 0, **more: Any) -> Any:
        try:
            response = self._http.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if response.status_code == report and "problem" not in response.headers.get("content-type", ""):
            return _json(response)
        if not response.is_success:
            raise problem(response)
        return _json(response) if response.content else None

    def _unreachable(self, error: Exception) -> DependencyError:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        advice = "check --url and `systemctl status orchestrator-api`"
        return DependencyError(f"the API at {self._http.base_url} does not answer ({escape(what)}); {advice}")

    def events(self, job_id: str, *, deadline: float | None = None) -> Iterator[ServerEvent]:
        """Yield a job's events from its first; a broken stream is taken up again after the last event seen.

        Ends with the caller or when the `deadline` (monotonic) has passed. Raises DependencyError after two minutes
        without an answer.
        """
        last, heard = "", time.monotonic()
        while deadline is None or time.monotonic() < deadline:
            try:
                for event in self._stream(job_id, last, deadline):
                    heard = time.monotonic()
                    if event is not None:
                        last = event.id or last
                        yield event
                    elif deadline is not None and heard > deadline:
                        return
            except httpx.HTTPError as error:
                if time.monotonic() - heard > PATIENCE_SECONDS:
                    raise self._unreachable(error) from error
            left = self._reconnect_seconds if deadline is None else deadline - time.monotonic()
            time.sleep(max(0.0, min(left, self._reconnect_seconds)))

    def _stream(self, job_id: str, last: str, deadline: float | None) -> Iterator[ServerEvent | None]:
        left = SILENCE_SECONDS if deadline is None else min(SILENCE_SECONDS, max(0.1, deadline - time.monotonic()))
        timeout = httpx.Timeout(REQUEST_SECONDS, read=left)
        headers = {"Last-Event-ID": last} if last else {}
        query = {"job_id": job_id}
        with self._http.stream("GET", "/events/stream", params=query, headers=headers, timeout=timeout) as response:
            if response.status_code in {502, 503, 504}:
                raise httpx.RemoteProtocolError(f"HTTP {response.status_code}")
            if not response.is_success:
                response.read()
                raise problem(response)
            yield from parse_events(response.iter_lines())


def job_path(job_id: str) -> str:
    """Return the path of a job."""
    return f"/jobs/{quote(job_id, safe='')}"


def parse_events(lines: Iterator[str]) -> Iterator[ServerEvent | None]:
    """Yield the events in the lines of a stream, None for each comment: the server is alive."""
    fields: dict[str, str] = {}
    take: Callable[[str, str], object] = fields.__setitem__
    for line in lines:
        name, _, value = line.partition(":")
        if line.startswith(":"):
            yield None
        elif line:
            take(name, value.removeprefix(" "))
        elif fields:
            if "data" in fields:
                yield ServerEvent(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
            fields.clear()


def problem(response: httpx.Response) -> OrchestratorError:
    """Return what a refusal says, as an error for a terminal: title, detail, what is wrong where, and what next."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return ApiError(f"the API answers HTTP {response.status_code}; is this its URL?", response.status_code)
    words = [str(found.get("detail") or found.get("title") or f"HTTP {response.status_code}")]
    words += [f"{e.get('where')}: {e.get('message')}" for e in found.get("errors") or []]
    if response.status_code == httpx.codes.UNAUTHORIZED:
        words.append("check --key-file")
    if wait := response.headers.get("Retry-After"):
        words.append(f"try again in {wait} s")
    if (correlation_id := found.get("correlation_id")) and response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        words.append(f"correlation_id {correlation_id} finds it in the API's journal")
    text = escape("; ".join(words))
    return (
        NotFoundError(text) if response.status_code == httpx.codes.NOT_FOUND else ApiError(text, response.status_code)
    )


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise ApiError("the API answers something that is not JSON; check --url", response.status_code) from error
