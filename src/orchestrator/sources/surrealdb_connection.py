"""A connection to SurrealDB that is made anew when it is lost, and answers only when every statement went well."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from surrealdb import AsyncWsSurrealConnection, SurrealError
from websockets.exceptions import WebSocketException

from orchestrator.errors import DependencyError, RefusedError
from orchestrator.tasks import end

log = logging.getLogger("orchestrator.sources")

PATIENCE_SECONDS = 10.0
CLOSE_SECONDS = 1.0
CONFLICT_TRIES = 10
CONFLICT_PAUSE_SECONDS = 0.01
LEVELS = ("root", "namespace", "database")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

LOST = (OSError, TimeoutError, WebSocketException, SurrealError, KeyError)
"""What the library raises when it has no answer; KeyError is its own slip over a request that the loss has ended."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the database is, and who we are there."""

    url: str
    namespace: str
    database: str
    username: str
    password: str = field(repr=False)

    def sign_in(self, level: str) -> dict[str, Any]:
        """Return what the server wants to know of a user who is defined at this level."""
        where = {"namespace": self.namespace, "database": self.database}
        known = {name: where[name] for name in LEVELS[1 : LEVELS.index(level) + 1]}
        return {**known, "username": self.username, "password": self.password}


def target_of(url: str) -> Target | None:
    """Read ws://user:password@host:port/namespace/database; None when it is none."""
    try:
        parts = urlsplit(url)
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    names = parts.path.removeprefix("/").split("/")
    if parts.scheme not in ("ws", "wss") or not (has_host and username and password) or parts.query or parts.fragment:
        return None
    if len(names) != 2 or not all(NAME.fullmatch(name) for name in names):  # noqa: PLR2004 - namespace and database
        return None
    address = parts.netloc.rpartition("@")[2]
    return Target(f"{parts.scheme}://{address}", names[0], names[1], username, password)


class SurrealConnection:
    """One socket for all that a source asks; answers come in any order."""

    def __init__(self, target: Target, level: str, live: str, live_parameters: Mapping[str, Any]) -> None:
        """`live` ends with a LIVE SELECT: what that reports sets `hint`."""
        self.hint = asyncio.Event()
        self._target = target
        self._sign_in = target.sign_in(level)
        self._live = (live, dict(live_parameters))
        self._lock = asyncio.Lock()
        self._db: AsyncWsSurrealConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    async def ask(self, what: str, text: str, parameters: Mapping[str, Any]) -> list[Any]:
        """Run statements; return the result of each. Raises DependencyError when one of them went wrong.

        After a write conflict all are run again: they have to bear that. Each is a transaction of its own.
        """
        wrong: list[Mapping[str, Any]] = []
        for attempt in range(CONFLICT_TRIES):
            if attempt:
                await asyncio.sleep(random.uniform(0.5, 1) * CONFLICT_PAUSE_SECONDS * 2**attempt)  # noqa: S311
            replies = await self._replies(what, text, parameters)
            wrong = [reply for reply in replies if reply.get("status") != "OK"]
            if not wrong:
                return [reply["result"] for reply in replies]
            if not all(_is_conflict(reply) for reply in wrong):
                raise DependencyError(f"cannot {what}: SurrealDB refuses a statement ({_kind(wrong)}); see its log")
        raise DependencyError(f"cannot {what}: others write the same rows all the time; will be tried again")

    async def _replies(self, what: str, text: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        db = await self._connected(what)
        try:
            reply = await _answered(db, text, parameters)
        except LOST as error:
            await self._drop(db)
            look = "check that it runs, and credential source-url"
            raise DependencyError(f"cannot {what}: SurrealDB does not answer ({_name(error)}); {look}") from error
        if "error" in reply:  # of the request, not of a statement; a session that has expired is one
            await self._drop(db)
            look = "check the user's rights in credential source-url"
            raise DependencyError(f"cannot {what}: SurrealDB refuses ({_kind([reply['error']])}); {look}")
        replies: Sequence[Mapping[str, Any]] = reply["result"]
        return replies

    async def _connected(self, what: str) -> AsyncWsSurrealConnection:
        """Return the connection; a lost one stays dead in the library, so another one is made."""
        async with self._lock:
            if self._db is not None and (self._db.recv_task is None or self._db.recv_task.done()):
                await self._drop(self._db)
            if self._db is None:
                self._db = await self._connect(what)
            return self._db

    async def _connect(self, what: str) -> AsyncWsSurrealConnection:
        db = AsyncWsSurrealConnection(self._target.url)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await db.connect()
                await db.signin(self._sign_in)
                await db.use(self._target.namespace, self._target.database)
        except (*LOST, ValueError) as error:
            await _close(db)
            look = "check that it runs, and credential source-url"
            kind = RefusedError if isinstance(error, SurrealError) else DependencyError
            raise kind(f"cannot {what}: SurrealDB lets nobody in ({_name(error)}); {look}") from error
        except BaseException:
            await _close(db)
            raise
        self._listening = asyncio.create_task(self._listen(db))
        return db

    async def _listen(self, db: AsyncWsSurrealConnection) -> None:
        """Set the hint for every notification. After a loss nothing comes any more, and no error either."""
        text, parameters = self._live
        try:
            *_, reply = (await _answered(db, text, parameters)).get("result", [{}])
            if reply.get("status") == "OK":
                self.hint.set()  # what came before the server listened
                async for _ in await db.subscribe_live(reply["result"]):
                    self.hint.set()
        except LOST as error:
            log.debug("no live query", extra={"error": _name(error)})
            return
        log.warning("SurrealDB refuses the live query: rows are found by polling alone")

    async def _drop(self, db: AsyncWsSurrealConnection) -> None:
        """Give up a connection."""
        if self._db is db:
            self._db = None
            if self._listening is not None:
                self._listening.cancel()
        await _close(db)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._listening is not None:
            await end([self._listening])
        if self._db is not None:
            await self._drop(self._db)


async def _answered(db: AsyncWsSurrealConnection, text: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply. Raises one of LOST."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await db.query_raw(text, dict(parameters))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("the socket was lost") from None  # the library cancels what waits for an answer


async def _close(db: AsyncWsSurrealConnection) -> None:
    with suppress(*LOST):
        async with asyncio.timeout(CLOSE_SECONDS):
            await db.close()


def _is_conflict(reply: Mapping[str, Any]) -> bool:
    """Return whether a transaction has failed for nothing but another one: the engine says that in words alone."""
    return "can be retried" in str(reply.get("result"))


def _kind(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return what kind of errors these are; their words may hold what is in rows."""
    return ", ".join(sorted({_kind_of(error) for error in errors}))


def _kind_of(error: Mapping[str, Any]) -> str:
    details = error.get("details")
    words = (error.get("kind") or error.get("code"), details.get("kind") if isinstance(details, dict) else None)
    return " ".join(str(word) for word in words if word) or "of no kind"


def _name(error: BaseException) -> str:
    return type(error).__name__
