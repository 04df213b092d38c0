"""The shape of a gossip RPC, checked before the protobuf library sees it (LIBP2P 6 rows 1 and 13).

A megabyte of two-byte empty messages is half a million objects to a protobuf parser, and a topic or an id may be as
long as the RPC. So the bytes are walked once, lengths only, and given up at the first number beyond a limit. What is
malformed leaves here, and from `decode_rpc`, as one exception.

    RPC      1 subscriptions {1 subscribe, 2 topic}   2 publish {2 data, 4 topic}   3 control
    control  1 ihave {1 topic, 2 ids}   2 iwant {1 ids}   3 graft {1 topic}   4 prune {1 topic, 2 peers, 3 backoff}
             5 idontwant {1 ids}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import DecodeError
from libp2p.pubsub.pb import rpc_pb2

MAX_RPC: Final = 1 << 20
"""Largest RPC in bytes, the limit of every implementation."""

MAX_SUBSCRIPTIONS: Final = 128
"""Subscription changes in one RPC; a peer has 4 topics per fork digest."""

MAX_MESSAGES: Final = 512
"""Published messages in one RPC."""

MAX_CONTROL: Final = 512
"""Control entries in one RPC."""

MAX_IDS: Final = 5000
"""Message ids in one RPC over all entries (the usual cap of IHAVE)."""

MAX_FIELDS: Final = 64
"""Fields of one message or entry outside the repeated ones above; ours have at most six."""

MAX_TOPIC: Final = 128
"""Bytes of a topic; ours have about 50."""

MAX_ID: Final = 64
"""Bytes of a message id; ours have 20, other implementations use up to 42."""

_TOPIC_FIELD: Final = {1: 1, 3: 1, 4: 1}
"""Control kind -> its field that is a topic."""

_ID_FIELD: Final = {1: 2, 2: 1, 5: 1}
"""Control kind -> its field that is a list of ids."""


class MalformedRpc(Exception):
    """The bytes are not an RPC within the limits."""


def decode_rpc(data: bytes) -> Any:
    """The RPC as the library's protobuf object, without its signed record; raises MalformedRpc."""
    if len(data) > MAX_RPC:
        raise MalformedRpc(f"RPC of {len(data)} bytes, at most {MAX_RPC} are taken")
    _check(memoryview(data))
    try:
        rpc = rpc_pb2.RPC.FromString(data)
        topics = [entry.topicid for entry in rpc.subscriptions]
        for message in rpc.publish:
            if len(message.topicIDs) != 1:
                raise MalformedRpc(f"a message for {len(message.topicIDs)} topics")
            topics.append(message.topicIDs[0])
        for entries in (rpc.control.ihave, rpc.control.graft, rpc.control.prune):
            topics += [entry.topicID for entry in entries]
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise MalformedRpc(f"not an RPC: {error}") from error
    # The library hands out bytes where text was announced and none came.
    if not all(isinstance(topic, str) for topic in topics):
        raise MalformedRpc("a topic that is not UTF-8")
    # Verifying it twice per RPC is most of what the library spends on one (LIBP2P 8.6), and it says nothing we use.
    rpc.ClearField("senderRecord")
    return rpc


def _check(view: memoryview) -> None:
    subscriptions = messages = others = 0
    for number, value in _fields(view):
        if number == 1:
            subscriptions += 1
            _check_entry(value, topic=2, ids=None)
        elif number == 2:
            messages += 1
            _check_entry(value, topic=4, ids=None)
        elif number == 3 and value is not None:
            _check_control(value)
        else:
            others += 1
        if subscriptions > MAX_SUBSCRIPTIONS or messages > MAX_MESSAGES or others > MAX_FIELDS:
            raise MalformedRpc("more entries than an RPC may have")


def _check_control(view: memoryview) -> None:
    ids = 0
    for entries, (kind, value) in enumerate(_fields(view), start=1):
        if entries > MAX_CONTROL:
            raise MalformedRpc(f"more than {MAX_CONTROL} control entries")
        ids += _check_entry(value, topic=_TOPIC_FIELD.get(kind), ids=_ID_FIELD.get(kind))
        if ids > MAX_IDS:
            raise MalformedRpc(f"more than {MAX_IDS} message ids")


def _check_entry(view: memoryview | None, *, topic: int | None, ids: int | None) -> int:
    """Check one entry; how many ids it has."""
    count = fields = 0
    for number, value in _fields(view) if view is not None else ():
        size = 0 if value is None else len(value)
        if number == ids:
            count += 1
            if size > MAX_ID or count > MAX_IDS:
                raise MalformedRpc("message id too long, or too many of them")
            continue
        fields += 1
        if fields > MAX_FIELDS or (number == topic and size > MAX_TOPIC):
            raise MalformedRpc("topic too long, or too many fields")
    return count


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """(field number, content of a length-delimited field or None) in order; raises MalformedRpc."""
    position, end = 0, len(view)
    while position < end:
        key, position = _varint(view, position)
        kind = key & 7
        if kind == 2:
            size, position = _varint(view, position)
            if size > end - position:
                raise MalformedRpc("a field is longer than what contains it")
            yield key >> 3, view[position : position + size]
            position += size
        elif kind == 0:
            _, position = _varint(view, position)
            yield key >> 3, None
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
            if position > end:
                raise MalformedRpc("a number is cut off")
            yield key >> 3, None
        else:
            raise MalformedRpc(f"wire type {kind}")


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(view) or shift > 63:
            raise MalformedRpc("a number is cut off or too long")
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
