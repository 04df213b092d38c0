"""What waits to be written to one gossip peer: bounded by bytes, control before messages (LIBP2P 8.9).

The library's queue holds 32 RPCs of any size, each a copy of its own. Here the encoded frame is shared between
peers, and what finds no room is reported to the caller, which offers it again later.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import trio
from libp2p.pubsub.rpc_queue import RpcQueue
from libp2p.utils.varint import encode_varint_prefixed

OUTBOX_BYTES: Final = 4 << 20
"""Bytes of messages waiting for one peer: eight full blocks."""

OUTBOX_MESSAGES: Final = 1024
CONTROL_FRAMES: Final = 256
"""Control RPCs waiting for one peer; more means that it does not read, and the stream is given up."""

PACE_BYTES: Final = OUTBOX_BYTES // 4
PACE_MESSAGES: Final = OUTBOX_MESSAGES // 4
"""Marks above which our own publishing waits, so that relaying others' messages always finds room."""


def encode_frame(rpc: Any) -> bytes:
    """One RPC with its length in front, as it goes over the stream."""
    return encode_varint_prefixed(rpc.SerializeToString())


class Outbox(RpcQueue):
    """Frames waiting for one peer; stands where the library keeps its queue of RPCs."""

    def __init__(self) -> None:
        super().__init__()
        self._control: deque[bytes] = deque()
        self._messages: dict[bytes, bytes] = {}
        """Id -> frame, in order."""
        self._bytes = 0
        self.overflown = False
        """True when the peer left too much control unread; the stream must be given up then."""
        self._reader = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._closed = False

    def put_control(self, frame: bytes) -> None:
        """Queue a control RPC."""
        self.overflown = self.overflown or len(self._control) >= CONTROL_FRAMES
        if not self.overflown:
            self._control.append(frame)
        self._reader.unpark()

    def push(self, rpc: Any, priority: bool = False) -> bool:
        """Queue what the library announces to all peers (subscriptions)."""
        self.put_control(encode_frame(rpc))
        return True

    def put_message(self, identifier: bytes, frame: bytes) -> bool:
        """Queue a message; False when there is no room."""
        if identifier in self._messages:
            return True
        if self._bytes + len(frame) > OUTBOX_BYTES or len(self._messages) >= OUTBOX_MESSAGES:
            return False
        self._messages[identifier] = frame
        self._bytes += len(frame)
        self._reader.unpark()
        return True

    def cancel(self, identifier: bytes) -> None:
        """The peer has that message already: do not send it if it still waits."""
        frame = self._messages.pop(identifier, None)
        if frame is not None:
            self._bytes -= len(frame)
            self._room.unpark_all()

    @property
    def is_behind(self) -> bool:
        """Whether a publisher should wait before it adds to it."""
        return not self._closed and (self._bytes > PACE_BYTES or len(self._messages) > PACE_MESSAGES)

    async def wait_paced(self) -> None:
        """Wait until a publisher may add to it, or it is closed."""
        while self.is_behind:
            await self._room.park()

    async def next(self) -> bytes | None:
        """The next frame to write, control first; None once it is closed or overflown."""
        while not self._closed and not self.overflown:
            if self._control:
                return self._control.popleft()
            if self._messages:
                frame = self._messages.pop(next(iter(self._messages)))
                self._bytes -= len(frame)
                self._room.unpark_all()
                return frame
            await self._reader.park()
        return None

    def close(self) -> None:
        """Nobody writes from it any more."""
        self._closed = True
        self._reader.unpark_all()
        self._room.unpark_all()
