"""multistream-select 1.0: which protocol a connection or a stream will speak.

Written here because the library's reader takes a length of any size from a stranger before the handshake (memory
without bound) and lets a name that is not UTF-8 end the process (LIBP2P 6 row 3). A dialer sends the header and its
first proposal together and so saves a round trip; answers are the standard ones.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final, Protocol

MULTISTREAM: Final = "/multistream/1.0.0"
NOT_AVAILABLE: Final = "na"

MAX_LINE: Final = 1024
"""Longest message in bytes, as in the Go and JavaScript implementations. Our longest protocol id has about 60."""

MAX_PROPOSALS: Final = 16
"""Proposals heard before giving up on a dialer; ours make at most three."""


class NegotiationFailed(Exception):
    """No protocol was agreed on, or the other side does not speak multistream-select."""


class BytePipe(Protocol):
    """What negotiation needs from a socket, a secure channel or a stream."""

    async def read_exactly(self, n: int) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


async def accept_protocol(pipe: BytePipe, supported: Container[str]) -> str:
    """Answer the other side's proposals; the first one that is in `supported`. Raises NegotiationFailed."""
    if await _read_line(pipe) != MULTISTREAM:
        raise NegotiationFailed("the first message is not the multistream header")
    await pipe.write(_line(MULTISTREAM))
    for _ in range(MAX_PROPOSALS):
        proposal = await _read_line(pipe)
        if proposal in supported:
            await pipe.write(_line(proposal))
            return proposal
        await pipe.write(_line(NOT_AVAILABLE))
    raise NegotiationFailed(f"none of {MAX_PROPOSALS} proposals is spoken here")


async def propose_protocol(pipe: BytePipe, protocols: Sequence[str]) -> str:
    """Propose in order of preference; the first one that the other side takes. Raises NegotiationFailed."""
    await pipe.write(_line(MULTISTREAM) + _line(protocols[0]))
    if await _read_line(pipe) != MULTISTREAM:
        raise NegotiationFailed("the answer is not the multistream header")
    for position, protocol in enumerate(protocols):
        if position > 0:
            await pipe.write(_line(protocol))
        answer = await _read_line(pipe)
        if answer == protocol:
            return protocol
        if answer != NOT_AVAILABLE:
            raise NegotiationFailed("the answer is neither the proposed protocol nor 'na'")
    raise NegotiationFailed(f"the other side speaks none of {', '.join(protocols)}")


def _line(text: str) -> bytes:
    body = text.encode("ascii") + b"\n"
    if len(body) > MAX_LINE:
        raise ValueError(f"protocol name of {len(body)} bytes, at most {MAX_LINE} fit")
    if len(body) < 0x80:
        return bytes((len(body),)) + body
    return bytes((len(body) & 0x7F | 0x80, len(body) >> 7)) + body


async def _read_line(pipe: BytePipe) -> str:
    (length,) = await pipe.read_exactly(1)
    if length & 0x80:
        (high,) = await pipe.read_exactly(1)
        length = length & 0x7F | high << 7
    if not 1 <= length <= MAX_LINE:
        raise NegotiationFailed(f"message of {length} bytes, 1 to {MAX_LINE} are allowed")
    body = await pipe.read_exactly(length)
    if body[-1] != 0x0A:
        raise NegotiationFailed("message does not end in a newline")
    try:
        return body[:-1].decode("utf-8")
    except UnicodeDecodeError:
        raise NegotiationFailed("protocol name is not UTF-8") from None
