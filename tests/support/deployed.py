"""A deployed host, asked from outside: by systemctl, redis-cli, psql and curl, never by our own command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
API = "http://127.0.0.1:8000"
CREDENTIALS = "/etc/orchestrator/credentials"
KEY = f"Authorization: Bearer $(cat {CREDENTIALS}/cli/api-key)"
COUNTERS = ("status", "chunks_total", "queued", "running", "processed", "failed", "cancelled")


def eventually(condition: Callable[[], T], within: float = 90.0, every: float = 0.5) -> T:
    """Return the first truthy value of the condition. Raises AssertionError with the last value."""
    limit = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < limit, f"it did not come true within {within:g} s; last value: {value!r}"
        time.sleep(every)
    return value


class Deployed:
    """What testinfra's host, a deployed one, says."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def sh(self, command: str) -> str:
        """Return what a shell command prints. Raises AssertionError when it fails."""
        printed: str = self.host.check_output(command)
        return printed

    def unit(self, name: str, key: str) -> str:
        """Return a property of a unit."""
        return self.sh(f"systemctl show --property={key} --value {name}")

    def running(self, *units: str) -> bool:
        """Return whether all of them are active."""
        return bool(self.host.run(f"systemctl is-active --quiet {' '.join(units)}").rc == 0)

    def curl(self, path: str, *options: str) -> Any:
        """Return the JSON that the API answers."""
        return json.loads(self.sh(f'curl -sS -H "{KEY}" {" ".join(options)} {API}{path}'))

    def submit(self, texts: Iterable[str], workspace: str = "molecule") -> str:
        """Submit a job by curl, as soon as the API takes any; return its id."""
        eventually(lambda: self.host.run(f"curl -fsS {API}/ready").rc == 0)
        chunks = [{"text": text, "source_uri": f"file:{n}"} for n, text in enumerate(texts)]
        body = json.dumps({"chunks": chunks, "source_type": "test", "workspace": workspace})
        assert "'" not in body
        options = ("-X POST", "-H 'Content-Type: application/json'", f"-d '{body}'")
        return str(self.curl("/lightrag/ingest-async", *options)["job_id"])

    def events(self, job: str, after: str = "", seconds: float = 10.0) -> list[dict[str, str]]:
        """Return the events of a job that its stream sends within so many seconds: the fields of each frame."""
        resume = f'-H "Last-Event-ID: {after}"' if after else ""
        line = f'curl -sSN --max-time {seconds:g} -H "{KEY}" {resume} "{API}/events/stream?job_id={job}"'
        done = self.host.run(line)
        assert done.rc == 28, f"curl ended with {done.rc} before its time was over: {done.stderr}"
        frames = [block.splitlines() for block in done.stdout.split("\n\n") if block.startswith("id: ")]
        return [dict(line.split(": ", 1) for line in frame) for frame in frames]

    def psql(self, query: str, database: str = "orchestrator") -> str:
        """Return what PostgreSQL's superuser is answered: fields separated by |."""
        return self.sh(f'runuser -u postgres -- psql -At -d {database} -c "{query}"')

    def counters(self, job: str) -> dict[str, Any]:
        """Return a job's state and counters as the ledger has them; the counters add up."""
        row = self.psql(f"SELECT {', '.join(COUNTERS)} FROM jobs WHERE job_id = '{job}'").split("|")
        found: dict[str, Any] = {k: v if k == "status" else int(v) for k, v in zip(COUNTERS, row, strict=True)}
        assert sum(found[key] for key in COUNTERS[2:]) == found["chunks_total"], found
        return found

    def redis(self, *words: str, user: str = "cli", options: str = "") -> str:
        """Return what Redis answers one of its users: worker, api or cli."""
        url = f"$(cat {CREDENTIALS}/{user}/redis-url)"
        return self.sh(f'redis-cli -e --no-auth-warning {options} -u "{url}" {" ".join(words)}')

    def redis_refuses(self, *words: str, user: str) -> bool:
        """Return whether the ACL denies a user a command."""
        url = f"$(cat {CREDENTIALS}/{user}/redis-url)"
        said = self.host.run(f'redis-cli --no-auth-warning -u "{url}" {" ".join(words)}').stdout
        return bool(said.startswith("NOPERM"))

    def xinfo(self, *words: str) -> list[dict[str, Any]]:
        """Return what XINFO says."""
        found: list[dict[str, Any]] = json.loads(self.redis("XINFO", *words, options="--json"))
        return found

    def password(self, credential: str) -> str:
        """Return the password in a credential that is a URL."""
        return urlsplit(self.sh(f"cat {CREDENTIALS}/{credential}")).password or ""
