"""The SurrealQL of one table. Pure: a name that was checked is in the texts, all else are parameters.

Traps of the engine (3.0) that these texts keep clear of:

- A SELECT by itself applies LIMIT to an index before the conditions that the index cannot answer, and finds nothing
  behind the rows these refuse; within LET it did not, but what we select with a LIMIT is one range of a named index.
- `IN` over states scans the table: each state is asked for by itself.
- Rows are compared with times of the server's clock; whatever is no time compares as earlier than EPOCH.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
EPOCH = "d'1970-01-01T00:00:00Z'"

LEASED = "orchestrator.lease_until = time::now() + <duration>$lease, updated = time::now()"
TAKEN = (
    f"status = $running, orchestrator.token = $claim, {LEASED}, not_before = NONE, progress = NONE,"
    " completed_at = NONE, result = NONE, output = NONE, error = NONE, error_message = NONE"
)
FREED = "orchestrator.token = NONE, orchestrator.lease_until = NONE, updated = time::now()"
ENDED = f"{FREED}, orchestrator.life = (orchestrator.life ?? 0) + 1"
"""Should its owner set an ended row back, that is another life."""

UNLEASED = f"status = $running AND orchestrator.lease_until = NONE AND updated <= {EPOCH}"
LEFT = (
    "status = $running AND ((orchestrator.lease_until != NONE AND orchestrator.lease_until < time::now()) OR"
    f" (orchestrator.lease_until = NONE AND updated > {EPOCH} AND updated < time::now() - <duration>$stale))"
)
HELD = "orchestrator.token = $row.token AND status = $running"

RENEW = f"""
UPDATE $ids SET {LEASED} WHERE orchestrator.token IN $tokens AND status = $running RETURN NONE;
UPDATE $ids SET {ENDED}, completed_at = completed_at ?? time::now()
  WHERE orchestrator.token IN $tokens AND status IN $cancelled RETURN NONE;
SELECT id, status, orchestrator.token AS token FROM $ids WHERE status != NONE;
"""

END = f"""
FOR $row IN $rows {{
  UPDATE $row.id SET {ENDED}, status = $row.status, completed_at = time::now(), result = $row.result,
    output = $row.result, error = $row.error, error_message = $row.error WHERE {HELD} RETURN NONE;
}};
"""

PUT_BACK = f"""
FOR $row IN $rows {{
  UPDATE $row.id SET {FREED}, status = $new, error = $row.error, error_message = $row.error,
    not_before = IF $row.delay {{ time::now() + <duration>$row.delay }} ELSE {{ NONE }} WHERE {HELD} RETURN NONE;
}};
"""

SHOW = f"""
FOR $row IN $rows {{
  UPDATE $row.id SET progress = {{ step: $row.step }}, updated = time::now() WHERE {HELD} RETURN NONE;
}};
"""

REDRIVE = "UPDATE $ids SET status = $new, not_before = NONE, updated = time::now() WHERE status = $failed RETURN id;"


@dataclass(frozen=True, slots=True)
class Statements:
    """The texts that name the table; `of_app` is for those that take only the rows of `$app`."""

    table: str
    of_app: bool

    def __post_init__(self) -> None:
        if not TABLE.fullmatch(self.table):
            raise ValueError("a table's name has letters, digits, _ and -, at most 63, and begins with a letter or _")

    @property
    def _index(self) -> str:
        return "orchestrator_app_due" if self.of_app else "orchestrator_due"

    @property
    def _own(self) -> str:
        return "app = $app AND " if self.of_app else ""

    def _select(self, what: str, where: str) -> str:
        return f"SELECT {what} FROM `{self.table}` WITH INDEX {self._index} WHERE {self._own}{where}"

    @property
    def define(self) -> str:
        """Make the table and the index of claims."""
        fields = f"{'app, ' if self.of_app else ''}status, not_before, created"
        return f"""
DEFINE TABLE IF NOT EXISTS `{self.table}` SCHEMALESS;
DEFINE INDEX IF NOT EXISTS {self._index} ON `{self.table}` FIELDS {fields};
"""

    @property
    def claim(self) -> str:
        """Take rows: those that were put back and are due, then the others; an update of those still so."""
        due = self._select("VALUE id", f"status = $new AND not_before > {EPOCH} AND not_before <= time::now()")
        fresh = self._select("VALUE id", f"status = $new AND not_before <= {EPOCH}")
        return f"""
LET $due = ({due} LIMIT $limit);
LET $fresh = ({fresh} LIMIT $limit);
UPDATE array::slice(array::concat($due, $fresh), 0, $limit) SET {TAKEN}
  WHERE {self._own}status = $new AND not_before <= time::now() RETURN AFTER;
"""

    @property
    def recover(self) -> str:
        """Take rows whose worker is dead. For those that do not say since when, the time begins now."""
        return f"""
LET $undated = ({self._select("VALUE id", UNLEASED)});
UPDATE $undated SET updated = time::now() WHERE {UNLEASED} RETURN NONE;
LET $left = ({self._select("id, updated", LEFT)} ORDER BY updated LIMIT $limit);
UPDATE $left.id SET {TAKEN} WHERE {self._own}{LEFT} RETURN AFTER;
"""

    @property
    def count(self) -> str:
        """Count what waits and what is in work."""
        return "".join(f"{self._select('count()', f'status = {state}')} GROUP ALL;\n" for state in ("$new", "$running"))

    @property
    def live(self) -> str:
        """Report rows that can be claimed; the engine listens to no table that is not there."""
        return f"{self.define}LIVE SELECT id FROM `{self.table}` WHERE {self._own}status = $new"
