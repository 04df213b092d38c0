"""The connection events of a transport, bounded by coalescing per peer (contract of `transport.Transport.next_event`).

A reader that is slow must neither stop the network nor miss how things ended. So the feed keeps no list of what
happened; it keeps what is true now, what the reader was told, and which peers differ. Its size is the number of
such peers.
"""

from __future__ import annotations

import trio

from .transport import ConnectionEvent, PeerConnected, PeerDisconnected, PeerId


class ConnectionFeed:
    """What is true about each peer's connection, against what the reader knows."""

    def __init__(self) -> None:
        self._current: dict[PeerId, PeerConnected] = {}
        self._told: dict[PeerId, None] = {}
        self._changed: dict[PeerId, bool] = {}
        """Peers to report, oldest change first; True when the connection was lost since the reader heard of it."""
        self._waiting = trio.lowlevel.ParkingLot()

    def connected(self, event: PeerConnected) -> None:
        """The peer has a connection now."""
        self._current[event.peer] = event
        self._changed.setdefault(event.peer, False)
        self._waiting.unpark()

    def disconnected(self, peer: PeerId) -> None:
        """The peer has no connection any more."""
        self._current.pop(peer, None)
        if peer in self._told:
            self._changed[peer] = True
            self._waiting.unpark()
        else:
            # The reader never heard of it: nothing to report.
            self._changed.pop(peer, None)

    async def next(self) -> ConnectionEvent:
        """Wait for the next event the reader does not know yet."""
        await trio.lowlevel.checkpoint()
        while True:
            event = self._take()
            if event is not None:
                return event
            await self._waiting.park()

    def _take(self) -> ConnectionEvent | None:
        while self._changed:
            peer = next(iter(self._changed))
            lost = self._changed.pop(peer)
            current = self._current.get(peer)
            if lost and peer in self._told:
                del self._told[peer]
                if current is not None:
                    self._changed[peer] = False
                return PeerDisconnected(peer)
            if current is not None and peer not in self._told:
                self._told[peer] = None
                return current
        return None
