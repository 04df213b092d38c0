"""Streams to the peers that may have a blob, opened in the name of a hotkey (AXON R11; docs/axon-payload.md "Blobs").

Who fetches has to be connected and known before it asks: a source is dialed by the addresses of its record, and told
by certificate for which hotkey this peer fetches. Sources behind relays are reached only while they are connected:
relayed bytes prove no peer, and a relay has better use for its bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ..transport import DialFailed, NotConnected, PeerId, Stream, StreamClosed
from .blobs import encode_introduction
from .interfaces import CallTransport, Endpoint
from .relay import split_relay_address


class BlobSources:
    """A `StreamOpener` over the endpoints of one hotkey."""

    def __init__(self, transport: CallTransport, endpoints: Sequence[Endpoint], certificate: bytes) -> None:
        """`certificate`: an encoded PeerCertificate of the fetching hotkey for this peer."""
        self._transport = transport
        self._addresses = {endpoint.peer: endpoint.addresses for endpoint in endpoints}
        self._introduction = encode_introduction(certificate)

    @property
    def peers(self) -> list[PeerId]:
        """Best first."""
        return list(self._addresses)

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream:
        """An introduced stream. Raises TransportError; TooSlowError when dialing takes more than `timeout` seconds."""
        try:
            stream = await self._transport.open_stream(peer, protocol, timeout=timeout)
        except NotConnected:
            with trio.fail_after(timeout):
                await self._dial(peer)
            stream = await self._transport.open_stream(peer, protocol, timeout=timeout)
        try:
            await stream.write_all(self._introduction)
        except StreamClosed:
            await stream.reset()
            raise
        return stream

    async def _dial(self, peer: PeerId) -> None:
        failure = DialFailed(peer, "it is not connected, and no direct address is known")
        for address in self._addresses.get(peer, ()):
            if split_relay_address(address) is not None:
                continue
            try:
                if await self._transport.dial(address) == peer:
                    return
            except DialFailed as error:
                failure = error
        raise failure
