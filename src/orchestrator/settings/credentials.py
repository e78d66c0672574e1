"""Secrets: files in one directory, put there by systemd's LoadCredential. Never the environment, argv or a log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import CredentialError


@dataclass(frozen=True, slots=True)
class Credentials:
    """A directory of credentials; each is one file, its content stripped of surrounding whitespace."""

    directory: Path

    @classmethod
    def given(cls, directory: Path | None = None) -> Credentials:
        """Return the credentials in `directory`, or in systemd's $CREDENTIALS_DIRECTORY.

        Raises CredentialError when neither is set or the directory does not exist.
        """
        chosen = directory or (Path(found) if (found := os.environ.get("CREDENTIALS_DIRECTORY")) else None)
        if chosen is None:
            raise CredentialError("no credentials: run under systemd with LoadCredential=, or pass --credentials DIR")
        if not chosen.is_dir():
            raise CredentialError(f"credentials directory {chosen} does not exist; pass --credentials DIR")
        return cls(chosen)

    def read(self, name: str) -> str:
        """Return a credential. Raises CredentialError naming it when it is missing or empty."""
        value = self.find(name)
        if not value:
            raise CredentialError(f"credential {name!r} is missing or empty in {self.directory}")
        return value

    def find(self, name: str) -> str | None:
        """Return a credential, or None when there is no such file."""
        path = self.directory / name
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(f"credential {name!r} in {self.directory} cannot be read: {error}") from error
