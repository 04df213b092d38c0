"""An author's message type with its way to the wire and back: schema.py for types, payload.py for bytes (AXON R10)."""

from __future__ import annotations

from typing import Any

from ..protocols.axon.payload import decode_payload, encode_payload
from .schema import compile_schema


class Message:
    """One type of message, compiled once."""

    __slots__ = ("_schema", "type")

    def __init__(self, hint: Any) -> None:
        """Raises InvalidError for a type that cannot travel."""
        self.type = hint
        self._schema = compile_schema(hint)

    def encode(self, value: Any, codecs: tuple[str, ...] = ("none",)) -> bytes:
        """Bytes of a value. Raises SchemaError for a value of another type, with the path to it."""
        return b"".join(encode_payload(self._schema.encode(value), codecs=codecs))

    def decode(self, data: bytes | bytearray | memoryview) -> Any:
        """The value of outside bytes. Raises MalformedError, SchemaError."""
        return self._schema.decode(decode_payload(data))
