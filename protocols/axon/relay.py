"""Calls to a peer that nobody can dial: a peer both are connected to copies the bytes (AXON R35).

The target reserves at a relay, and names it in its service record (`<address>/p2p/<relay>/relay`). A caller asks the
relay for the target and gets a stream whose bytes are those of the target's axon protocol. The relay can delay or cut,
nothing else: requests and replies are signed end to end. It cannot vouch for the caller's peer id either, so a relayed
call is always signed and never uses a peer certificate.

A relay serves only targets that asked it to, only the axon protocol, and only so many streams and bytes.

First frame of a stream: `[1]` to reserve, `[2, target]` to connect. Its answer: `[0, seconds]`, or `[code, reason]`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import trio

from ...consensus import cbor
from ...consensus.types import MalformedError
from ..framing import frame, read_frame
from ..limits import OPEN_TIMEOUT
from ..names import NetworkNames
from ..transport import DialFailed, NotConnected, PeerId, Stream, StreamClosed, StreamRefused
from .interfaces import CallTransport

LEASE: Final = 30 * 60.0
"""Seconds a reservation lasts while the target stays connected; it asks again at half of that."""

FRAME_BYTES: Final = 256
"""First frame and its answer."""

REASON_BYTES: Final = 128
RESERVE, CONNECT = 1, 2
_RELAY_MARK: Final = "/relay/p2p/"


class Answer(IntEnum):
    """First field of a relay's answer."""

    OK = 0
    MALFORMED = 1
    NO_RESERVATION = 2
    BUSY = 3
    TARGET_REFUSED = 4


def relay_protocol(names: NetworkNames) -> str:
    """Protocol id of the relay."""
    return names.request("axon-relay")


def split_relay_address(address: str) -> tuple[str, PeerId, PeerId] | None:
    """`<multiaddr>/p2p/<relay>/relay/p2p/<target>` as (dialable address of the relay, relay, target).

    None for an address that names no relay.
    """
    via, mark, target = address.rpartition(_RELAY_MARK)
    if not mark:
        return None
    return via, PeerId(via.rpartition("/p2p/")[2]), PeerId(target)


# --- asking a relay ---------------------------------------------------------------------------------------------------


class RelayedStream:
    """A stream to `peer` through a relay. Who answers is proven by signed replies, not by a handshake."""

    def __init__(self, stream: Stream, target: PeerId) -> None:
        self._stream = stream
        self._target = target

    @property
    def peer(self) -> PeerId:
        """The target, as the relay was told."""
        return self._target

    @property
    def relay(self) -> PeerId:
        """Who copies the bytes."""
        return self._stream.peer

    async def read_exactly(self, n: int) -> bytes:
        """As of a direct stream."""
        return await self._stream.read_exactly(n)

    async def read_some(self, limit: int) -> bytes:
        """As of a direct stream."""
        return await self._stream.read_some(limit)

    async def write_all(self, data: bytes) -> None:
        """As of a direct stream."""
        await self._stream.write_all(data)

    async def write(self, data: bytes) -> None:
        """As of a direct stream."""
        await self._stream.write(data)

    async def close_write(self) -> None:
        """As of a direct stream."""
        await self._stream.close_write()

    async def close(self) -> None:
        """As of a direct stream."""
        await self._stream.close()

    async def reset(self) -> None:
        """As of a direct stream."""
        await self._stream.reset()


async def open_through_relay(
    transport: CallTransport, protocol: str, relay: PeerId, target: PeerId, *, timeout: float
) -> RelayedStream:
    """An axon stream to `target` through `relay`, which must be connected, within `timeout` seconds.

    `protocol` is the relay's (`relay_protocol`). Raises NotConnected, or StreamRefused with the relay's reason.
    """
    stream, _ = await _ask(transport, protocol, relay, [CONNECT, target.encode("ascii")], timeout)
    return RelayedStream(stream, target)


async def open_relayed(transport: CallTransport, protocol: str, address: str, *, timeout: float) -> RelayedStream:
    """The same for `<multiaddr>/p2p/<relay>/relay/p2p/<target>`, dialing the relay if need be.

    Raises DialFailed, also for an address that names no relay, and StreamRefused.
    """
    way = split_relay_address(address)
    if way is None:
        raise DialFailed(address, "it names no relay")
    relay_address, relay, target = way
    ends = trio.current_time() + timeout
    with trio.move_on_at(ends):
        await transport.dial(relay_address)
    try:
        return await open_through_relay(
            transport, protocol, relay, target, timeout=max(0.0, ends - trio.current_time())
        )
    except NotConnected as error:
        raise DialFailed(address, "the relay cannot be reached") from error


async def reserve(transport: CallTransport, protocol: str, relay: PeerId, *, timeout: float = OPEN_TIMEOUT) -> float:
    """Ask a connected relay to take calls for this peer; gives the seconds for which it does.

    Raises NotConnected, or StreamRefused with the relay's reason.
    """
    stream, seconds = await _ask(transport, protocol, relay, [RESERVE], timeout)
    await stream.close()
    return min(float(seconds), LEASE)


async def _ask(
    transport: CallTransport, protocol: str, relay: PeerId, message: list[Any], timeout: float
) -> tuple[Stream, int]:
    """Send the first frame; the stream stays open when the relay agrees."""
    started = trio.current_time()
    stream = await transport.open_stream(relay, protocol, timeout=timeout)
    agreed = False
    try:
        with trio.fail_after(max(0.0, started + timeout - trio.current_time())):
            await stream.write_all(frame(cbor.encode(message)))
            value = cbor.decode(await read_frame(stream, FRAME_BYTES), max_bytes=FRAME_BYTES)
        code, detail = cbor.as_array(value, 2, what="relay answer")
        if code != Answer.OK:
            reason = cbor.as_bytes(detail, what="reason", most=REASON_BYTES).decode("utf-8", "replace")
            raise StreamRefused(f"relay {relay} refuses: {reason}")
        seconds = cbor.as_uint(detail, 32, what="seconds")
        agreed = True
        return stream, seconds
    except trio.TooSlowError as error:
        raise StreamRefused(f"relay {relay} did not answer within {timeout:g} s") from error
    except (StreamClosed, MalformedError) as error:
        raise StreamRefused(f"relay {relay} gave no answer: {error}") from error
    finally:
        if not agreed:
            with trio.CancelScope(shield=True):
                await stream.reset()


if TYPE_CHECKING:

    def _keeps_the_contract(stream: RelayedStream) -> Stream:
        return stream
