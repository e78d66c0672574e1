"""A stand-in for MongoDB: its wire protocol in front of mongomock. A real server cannot be had here.

Run as a program with a port. Its limits: commands are atomic only because it does one at a time; it has no change
streams, transactions, users or query planner, keeps everything in memory and forgets it when it ends. Where an update
leads through a text or a number it passes the document over, and MongoDB refuses; through a list it refuses as well.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import bson
import mongomock
from bson.codec_options import CodecOptions, DatetimeConversion

Document = dict[str, Any]
HEADER = struct.Struct("<iiii")
OP_MSG, OP_QUERY, OP_REPLY = 2013, 2004, 1
MORE_TO_COME, CHECKSUM = 2, 1
BATCH = 1000
NO_SUCH_COMMAND, DUPLICATE = 59, 11000
AUTO = DatetimeConversion.DATETIME_AUTO  # a time that Python cannot hold is kept as its number
NAIVE: CodecOptions[Document] = CodecOptions(tz_aware=False, datetime_conversion=AUTO)  # mongomock compares naive ones
NOT_UTF8 = "<a text that is not UTF-8>"
"""Where a text has this, bytes are sent that are no UTF-8: MongoDB keeps such texts, our driver writes none."""


class Store:
    """The databases, and what a client may ask of them."""

    def __init__(self) -> None:
        self._databases: Any = mongomock.MongoClient(tz_aware=False)
        self._cursors: dict[int, tuple[str, list[Document]]] = {}
        self._numbers = count(1000)
        self._commands: Mapping[str, Callable[[Any, Document], Document]] = {
            "hello": lambda c, m: _hello(),
            "ismaster": lambda c, m: _hello(),
            "ping": lambda c, m: {},
            "endsessions": lambda c, m: {},
            "killcursors": lambda c, m: {},
            "insert": self._insert,
            "find": self._find,
            "getmore": self._more,
            "update": self._update,
            "delete": self._delete,
            "aggregate": self._aggregate,
            "createindexes": self._indexes,
        }

    def run(self, message: Document) -> Document:
        """Return the reply to a command."""
        name = next(iter(message))
        act = self._commands.get(name.lower())
        if act is None:
            return {"ok": 0.0, "code": NO_SUCH_COMMAND, "errmsg": f"no such command: {name}"}
        database = self._databases[message.get("$db", "admin")]
        target = database[message[name]] if isinstance(message[name], str) else None
        try:
            return {**act(target, message), "ok": 1.0}
        except Exception as error:
            return {"ok": 0.0, "code": 1, "errmsg": f"{type(error).__name__}: {error}"}

    def _insert(self, target: Any, message: Document) -> Document:
        errors = []
        for index, document in enumerate(message["documents"]):
            try:
                target.insert_one(document)
            except mongomock.DuplicateKeyError as error:
                errors.append({"index": index, "code": DUPLICATE, "errmsg": str(error)})
        done = {"n": len(message["documents"]) - len(errors)}
        return {**done, "writeErrors": errors} if errors else done

    def _find(self, target: Any, message: Document) -> Document:
        found = target.find(message.get("filter", {}), message.get("projection"))
        if message.get("sort"):
            found = found.sort(list(message["sort"].items()))
        return self._page(f"{message['$db']}.{message['find']}", list(found.limit(message.get("limit", 0))))

    def _page(self, name: str, documents: list[Document]) -> Document:
        number = 0
        if len(documents) > BATCH:
            number = next(self._numbers)
            self._cursors[number] = (name, documents[BATCH:])
        return {"cursor": {"id": bson.Int64(number), "ns": name, "firstBatch": documents[:BATCH]}}

    def _more(self, target: Any, message: Document) -> Document:
        number = int(message["getMore"])
        name, left = self._cursors.pop(number)
        if len(left) > BATCH:
            self._cursors[number] = (name, left[BATCH:])
        shown = bson.Int64(number if number in self._cursors else 0)
        return {"cursor": {"id": shown, "ns": name, "nextBatch": left[:BATCH]}}

    def _update(self, target: Any, message: Document) -> Document:
        matched = modified = 0
        for wish in message["updates"]:
            act = target.update_many if wish.get("multi") else target.update_one
            done = act(wish["q"], wish["u"], upsert=wish.get("upsert", False))
            matched += done.matched_count
            modified += done.modified_count or 0
        return {"n": matched, "nModified": modified}

    def _delete(self, target: Any, message: Document) -> Document:
        acts = [
            (target.delete_one if wish.get("limit") else target.delete_many, wish["q"]) for wish in message["deletes"]
        ]
        return {"n": sum(act(query).deleted_count for act, query in acts)}

    def _aggregate(self, target: Any, message: Document) -> Document:
        return self._page(f"{message['$db']}.{message['aggregate']}", list(target.aggregate(message["pipeline"])))

    def _indexes(self, target: Any, message: Document) -> Document:
        for index in message["indexes"]:
            target.create_index(list(index["key"].items()), name=index["name"], sparse=index.get("sparse", False))
        return {}


def _hello() -> Document:
    return {
        "helloOk": True,
        "isWritablePrimary": True,
        "ismaster": True,
        "maxBsonObjectSize": 16 << 20,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "localTime": datetime.now(UTC),
        "logicalSessionTimeoutMinutes": 30,
        "connectionId": 1,
        "minWireVersion": 0,
        "maxWireVersion": 21,
        "readOnly": False,
    }


def _command(body: bytes) -> tuple[Document, int]:
    """Return the command in a message, its sections joined, and the message's flags."""
    (flags,) = struct.unpack_from("<I", body)
    message: Document = {}
    sequences: Document = {}
    at, end = 4, len(body) - (4 if flags & CHECKSUM else 0)
    while at < end:
        kind = body[at]
        (size,) = struct.unpack_from("<i", body, at + 1)
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            message = bson.decode(section, NAIVE)
        else:
            name, _, documents = section[4:].partition(b"\0")
            sequences[name.decode()] = bson.decode_all(documents, NAIVE)
        at += 1 + size
    return message | sequences, flags


async def _serve(store: Store, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    replies = count(1)
    try:
        while True:
            length, request, _, operation = HEADER.unpack(await reader.readexactly(HEADER.size))
            body = await reader.readexactly(length - HEADER.size)
            flags = 0
            if operation == OP_QUERY:  # the first hello of a driver
                kind, reply = OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + bson.encode({**_hello(), "ok": 1.0})
            else:
                message, flags = _command(body)
                shown = bson.encode(store.run(message)).replace(NOT_UTF8.encode(), b"\xff" * len(NOT_UTF8))
                kind, reply = OP_MSG, struct.pack("<IB", 0, 0) + shown
            if not flags & MORE_TO_COME:
                writer.write(HEADER.pack(HEADER.size + len(reply), next(replies), request, kind) + reply)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    store = Store()
    server = await asyncio.start_server(lambda r, w: _serve(store, r, w), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
