"""How a peer says which codecs it decodes beyond those of the protocol (AXON R10; docs/axon-payload.md "Codecs").

A miner says it in its service record, a caller in the extension of its envelope; both are signed. So requests and
replies are packed as the side that reads them can unpack, and there is no message for it. The extension is a row of
items `u8 kind | u16 length | bytes`; kind 1 has names of codecs with commas between them. Other kinds are passed over.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Final

from .tensor_codec import MANDATORY, local_codecs

MAX_CODECS: Final = 8
MAX_NAME: Final = 16

_CODECS: Final = 1
_LETTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")


@cache
def own_codecs() -> tuple[str, ...]:
    """What this peer decodes beyond the protocol's own."""
    return tuple(codec for codec in local_codecs() if codec not in MANDATORY)


@cache
def own_extension() -> bytes:
    """The envelope's extension that says so; empty when there is nothing to say."""
    return encode_extension(own_codecs())


def encode_extension(codecs: Collection[str]) -> bytes:
    """An extension with this offer."""
    names = ",".join(codecs).encode("ascii")
    return bytes([_CODECS]) + len(names).to_bytes(2, "big") + names if names else b""


def codecs_in(extension: bytes) -> tuple[str, ...]:
    """The codecs that an extension offers; none when it does not say, or is of another form."""
    at, offered = 0, b""
    while at + 3 <= len(extension):
        kind, size = extension[at], int.from_bytes(extension[at + 1 : at + 3], "big")
        at += 3
        if kind == _CODECS:
            offered = extension[at : at + size]
        at += size
    names = offered.split(b",") if at == len(extension) and offered else []
    if len(names) > MAX_CODECS or not all(is_codec_name(name) for name in names):
        return ()
    return tuple(name.decode("ascii") for name in names)


def is_codec_name(name: bytes) -> bool:
    """Whether a codec, also of a later version, could be called that."""
    return 0 < len(name) <= MAX_NAME and _LETTERS.issuperset(name)
