"""The gossipsub RPC on the wire (/meshsub/1.0.0 to 1.2.0): strict, bounded decoding and encoding.

Decoded by hand and not by a protobuf library, because a megabyte of two-byte empty messages is half a million objects
there, and because what is malformed has to leave here as one exception (LIBP2P 6 rows 1 and 2). Unknown fields are
skipped. Of a message only topic and data are read: the envelope is unsigned (CHAIN 7), so origin, sequence number,
key and signature say nothing, and leaving them out keeps a relay from using them (a copy that names us as its
origin is a stock host's reason to drop the message for good).

    RPC      1 subscriptions {1 subscribe, 2 topic}   2 publish {2 data, 4 topic}   3 control
    control  1 ihave {1 topic, 2 ids}   2 iwant {1 ids}   3 graft {1 topic}   4 prune {1 topic, 3 backoff}
             5 idontwant {1 ids}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

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

MAX_TOPIC: Final = 128
"""Bytes of a topic; ours have about 50."""

MAX_ID: Final = 64
"""Bytes of a message id; ours have 20, other implementations use up to 42."""


class MalformedRpc(Exception):
    """The bytes are not an RPC within the limits."""


@dataclass(slots=True)
class Rpc:
    """One RPC. Also the accumulator of control messages to send."""

    subscriptions: list[tuple[str, bool]] = field(default_factory=list)
    """(topic, True to join or False to leave)."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    """(topic, data)."""

    ihave: list[tuple[str, list[bytes]]] = field(default_factory=list)
    iwant: list[bytes] = field(default_factory=list)
    graft: list[str] = field(default_factory=list)
    prune: list[tuple[str, int]] = field(default_factory=list)
    """(topic, seconds of back-off, 0 when not given)."""

    idontwant: list[bytes] = field(default_factory=list)


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode_rpc(data: bytes) -> Rpc:
    """Decode one RPC; raises MalformedRpc. Ids, topics and lists are within the limits of this module."""
    if len(data) > MAX_RPC:
        raise MalformedRpc(f"RPC of {len(data)} bytes, at most {MAX_RPC} are taken")
    rpc = Rpc()
    for number, value in _fields(memoryview(data)):
        if number == 1:
            rpc.subscriptions.append(_subscription(_message(value)))
            _limit(len(rpc.subscriptions), MAX_SUBSCRIPTIONS, "subscriptions")
        elif number == 2:
            rpc.messages.append(_published(_message(value)))
            _limit(len(rpc.messages), MAX_MESSAGES, "messages")
        elif number == 3:
            _control(_message(value), rpc)
    return rpc


def _subscription(view: memoryview) -> tuple[str, bool]:
    topic, subscribe = "", False
    for number, value in _fields(view):
        if number == 1:
            subscribe = bool(_number(value))
        elif number == 2:
            topic = _topic(value)
    return _required(topic), subscribe


def _published(view: memoryview) -> tuple[str, bytes]:
    topic, data = "", b""
    for number, value in _fields(view):
        if number == 2:
            data = bytes(_message(value))
        elif number == 4:
            if topic:
                raise MalformedRpc("a message for several topics")
            topic = _topic(value)
    return _required(topic), data


def _control(view: memoryview, rpc: Rpc) -> None:
    entries = ids = 0
    for number, value in _fields(view):
        entries += 1
        _limit(entries, MAX_CONTROL, "control entries")
        if number not in (1, 2, 3, 4, 5):
            continue
        topic, backoff, found = "", 0, []
        id_field = {1: 2, 2: 1, 5: 1}.get(number, 0)
        for inner, content in _fields(_message(value)):
            if inner == id_field:
                found.append(_id(content))
                ids += 1
                _limit(ids, MAX_IDS, "message ids")
            elif inner == 1:
                topic = _topic(content)
            elif inner == 3 and number == 4:
                backoff = _number(content)
        if number == 1:
            rpc.ihave.append((_required(topic), found))
        elif number == 2:
            rpc.iwant.extend(found)
        elif number == 3:
            rpc.graft.append(_required(topic))
        elif number == 4:
            rpc.prune.append((_required(topic), backoff))
        else:
            rpc.idontwant.extend(found)


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, number or bytes) of one protobuf message. Fixed-width fields are skipped."""
    position, end = 0, len(view)
    while position < end:
        key, position = _varint(view, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise MalformedRpc("field number 0")
        if wire_type == 0:
            value, position = _varint(view, position)
            yield number, value
        elif wire_type == 2:
            size, position = _varint(view, position)
            if size > end - position:
                raise MalformedRpc(f"field of {size} bytes where {end - position} are left")
            yield number, view[position : position + size]
            position += size
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
            if position > end:
                raise MalformedRpc("cut in a fixed-width field")
        else:
            raise MalformedRpc(f"wire type {wire_type}")


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in view[position : position + 10]:
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            if value >> 64:
                break
            return value, position
        shift += 7
    raise MalformedRpc("cut or overlong number")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise MalformedRpc("a number where bytes belong")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise MalformedRpc("bytes where a number belongs")
    return value


def _topic(value: int | memoryview) -> str:
    raw = _message(value)
    _limit(len(raw), MAX_TOPIC, "bytes of a topic")
    try:
        return bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedRpc("topic is not UTF-8") from None


def _id(value: int | memoryview) -> bytes:
    raw = _message(value)
    _limit(len(raw), MAX_ID, "bytes of a message id")
    return bytes(raw)


def _required(topic: str) -> str:
    if not topic:
        raise MalformedRpc("no topic")
    return topic


def _limit(count: int, limit: int, what: str) -> None:
    if count > limit:
        raise MalformedRpc(f"more than {limit} {what}")


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode_rpc(rpc: Rpc) -> bytes:
    """Encode one RPC, without its length prefix."""
    parts: list[bytes] = []
    for topic, joins in rpc.subscriptions:
        parts.append(_field(1, bytes((0x08, joins)) + _field(2, topic.encode())))
    for topic, data in rpc.messages:
        parts.append(_field(2, _field(2, data) + _field(4, topic.encode())))
    control: list[bytes] = []
    for topic, ids in rpc.ihave:
        control.append(_field(1, _field(1, topic.encode()) + b"".join(_field(2, i) for i in ids)))
    if rpc.iwant:
        control.append(_field(2, b"".join(_field(1, i) for i in rpc.iwant)))
    for topic in rpc.graft:
        control.append(_field(3, _field(1, topic.encode())))
    for topic, backoff in rpc.prune:
        control.append(_field(4, _field(1, topic.encode()) + b"\x18" + encode_varint(backoff)))
    if rpc.idontwant:
        control.append(_field(5, b"".join(_field(1, i) for i in rpc.idontwant)))
    if control:
        parts.append(_field(3, b"".join(control)))
    return b"".join(parts)


def encode_frame(rpc: Rpc) -> bytes:
    """Encode one RPC with its length prefix, as it is written to a stream."""
    body = encode_rpc(rpc)
    return encode_varint(len(body)) + body


def encode_varint(value: int) -> bytes:
    """LEB128 of a number >= 0."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + encode_varint(len(content)) + content
