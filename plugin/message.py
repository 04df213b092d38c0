"""An author's message type with its way to the wire and back: schema.py for types, payload.py for bytes (AXON R10)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..protocols.axon.payload import decode_payload, encode_payload
from ..protocols.axon.tensor_codec import MANDATORY
from .schema import compile_schema


class Message:
    """One type of message, compiled once."""

    __slots__ = ("_schema", "_where", "type")

    def __init__(self, hint: Any, where: str = "value") -> None:
        """`where` is what errors call it, as in `request.items[3].text`.

        Raises InvalidError for a type that cannot travel.
        """
        self.type, self._where = hint, where
        self._schema = compile_schema(hint)

    def encode(self, value: Any, *, peer: Collection[str] = MANDATORY) -> bytes:
        """Bytes of a value for a reader of the codecs `peer`; which one an array has is in its annotation.

        Raises SchemaError for a value of another type, with the path to it.
        """
        return b"".join(encode_payload(self._schema.encode(value, self._where), peer=peer))

    def decode(self, data: bytes | bytearray | memoryview) -> Any:
        """The value of outside bytes. Raises MalformedError, SchemaError."""
        return self._schema.decode(decode_payload(data), self._where)
