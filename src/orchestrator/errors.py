"""Every error we raise on purpose. Each message says what is wrong, where, and what to do next."""

from __future__ import annotations


class OrchestratorError(Exception):
    """Base of all errors that are ours; anything else is a bug or a failing dependency."""


class SettingsError(OrchestratorError):
    """A settings module or a value in it is wrong. The message names the file and the key."""


class CredentialError(OrchestratorError):
    """A credential is missing or malformed. The message names the credential, never its value."""


class NotFoundError(OrchestratorError):
    """No such job, chunk or dead letter in the ledger."""


class ConflictError(OrchestratorError):
    """The request contradicts what the ledger already holds."""


class DependencyError(OrchestratorError):
    """Redis, PostgreSQL or a model endpoint does not answer; trying again may help."""


class RefusedError(DependencyError):
    """A server answers, and lets us not do it: our credentials or rights are wrong, until somebody mends them."""


class ThrottledError(DependencyError):
    """A model endpoint lets nobody in, and for longer than the caller can wait; `delay_seconds` says how long."""

    def __init__(self, reason: str, *, delay_seconds: float = 10.0) -> None:
        super().__init__(reason)
        self.delay_seconds = delay_seconds


class RetryError(OrchestratorError):
    """Raised by a handler: run this chunk again.

    `delay_seconds` None means the pool's backoff. `counts` False means that no handler work was tried, as when a
    workspace is held by another host: then no attempt is burned.
    """

    def __init__(self, reason: str, *, delay_seconds: float | None = None, counts: bool = True) -> None:
        super().__init__(reason)
        self.delay_seconds = delay_seconds
        self.counts = counts


class RejectError(OrchestratorError):
    """Raised by a handler: this chunk can never succeed; bury it at once."""
