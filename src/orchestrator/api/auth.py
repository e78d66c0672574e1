"""Who may ask, and for which tenant: bearer keys, kept as hashes in the credential api-keys (X-28)."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from orchestrator.api.problems import ProblemError, invalid
from orchestrator.errors import CredentialError
from orchestrator.settings.model import NAME

EVERY_TENANT = "*"
DEFAULT_WORKSPACE = "default"
HASH = re.compile(r"[0-9a-f]{64}")
WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was recognised."""

    name: str
    tenant: str

    @property
    def scope(self) -> str | None:
        """Return the tenant whose jobs the caller sees, None for all."""
        return None if self.tenant == EVERY_TENANT else self.tenant

    def workspace(self, wish: str | None) -> str:
        """Return the workspace to use. Raises ProblemError when the name is wrong (422) or another tenant's (403)."""
        if wish is None:
            return DEFAULT_WORKSPACE if self.scope is None else self.tenant
        if not WORKSPACE.fullmatch(wish):
            raise invalid(("workspace", "must be 1 to 64 letters, digits, - and _, a letter or digit first"))
        if self.scope is not None and wish != self.tenant and not wish.startswith(f"{self.tenant}-"):
            raise ProblemError(
                403, f"This key may use the workspace {self.tenant} and those that begin with {self.tenant}-."
            )
        return wish


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys: hash and caller."""

    entries: Sequence[tuple[bytes, Caller]]

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Read the credential: one line a key, `name tenant sha256-of-the-key`; # begins a comment line.

        Raises CredentialError naming the line, never its content.
        """
        entries: list[tuple[bytes, Caller]] = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                name, tenant, digest = words
            except ValueError:
                raise CredentialError(f"credential 'api-keys' line {number}: must be: name tenant sha256") from None
            if not NAME.fullmatch(name) or not (tenant == EVERY_TENANT or NAME.fullmatch(tenant)):
                raise CredentialError(f"credential 'api-keys' line {number}: name or tenant is not a name")
            if not HASH.fullmatch(digest):
                raise CredentialError(f"credential 'api-keys' line {number}: the hash must be 64 lower-case hex digits")
            entries.append((digest.encode(), Caller(name, tenant)))
        if not entries:
            raise CredentialError("credential 'api-keys' has no key; add a line: name tenant sha256")
        _check_apart(sorted({caller.tenant for _, caller in entries}))
        return cls(tuple(entries))

    def find(self, key: str) -> Caller | None:
        """Return whose key it is. Takes the same time whichever entry matches."""
        digest = sha256(key.encode("utf-8", "surrogateescape")).hexdigest().encode()
        found: Caller | None = None
        for known, caller in self.entries:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _check_apart(tenants: Sequence[str]) -> None:
    # tenant a may use workspaces a-…; tenant a-b would then not be alone in its own
    for tenant in tenants:
        for other in tenants:
            if other.startswith(f"{tenant}-"):
                raise CredentialError(
                    f"credential 'api-keys': tenant {other!r} lies in the workspaces of tenant {tenant!r}; rename one"
                )


bearer = HTTPBearer(auto_error=False, description="A key of the credential api-keys.")


async def authenticated(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Return the caller. Raises a 401 problem."""
    challenge = 'Bearer realm="orchestrator"'
    if given is None:
        detail = "Send the header Authorization: Bearer KEY."
        raise ProblemError(401, detail, headers={"WWW-Authenticate": challenge})
    keys: KeyRing = request.app.state.deps.keys
    caller = keys.find(given.credentials)
    if caller is None:
        headers = {"WWW-Authenticate": f'{challenge}, error="invalid_token"'}
        raise ProblemError(401, "The key is not known.", headers=headers)
    request.state.key = caller.name
    return caller


Authenticated = Annotated[Caller, Depends(authenticated)]
