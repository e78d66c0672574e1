"""moto's server, deletes one at a time.

Its Queue.delete_message builds a new list of messages and puts it in the place of the old one, without the lock under
which messages are added. Of two at once the later puts back what it found: what was sent between the two is gone.
"""

from __future__ import annotations

from functools import wraps

from moto.server import main
from moto.sqs.models import Queue

_delete = Queue.delete_message


@wraps(_delete)
def delete_alone(self: Queue, receipt_handle: str) -> None:
    """Delete under the lock under which messages are added; it is re-entrant."""
    with self._messages_lock:
        _delete(self, receipt_handle)


Queue.delete_message = delete_alone  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
