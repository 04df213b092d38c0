"""Bounds of the call protocol in one place (AXON R2, R9, R11), and who may knock at all (R6, first step)."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ..limits import Quota
from ..token_bucket import TokenBucket

WINDOW_BACK_NS: Final = 10_000_000_000
"""How old a call may be on arrival. Ten seconds cover clocks a few seconds off and a slow dial (R2)."""

WINDOW_AHEAD_NS: Final = 2_000_000_000
"""How far in the future a call may be made: clocks are allowed to differ, not to be wrong."""


@dataclass(frozen=True, slots=True)
class AxonLimits:
    """What a server takes and a client asks for. Bytes and seconds."""

    max_body: int = 16 << 20
    """Of a request; a method may set less. Larger things travel as blobs."""
    max_reply: int = 16 << 20
    max_message: int = 4 << 20
    """Of one message of a stream."""
    max_stream_bytes: int = 256 << 20
    """Of all messages of a stream in one direction."""
    stream_seconds: float = 300.0
    """Longest stream, if the caller's deadline is not sooner."""
    stream_idle: float = 30.0
    """Seconds without a message, or without credit, after which a stream is aborted."""
    upload_seconds: float = 10.0
    """Seconds that a body has, and one more for each `upload_rate` bytes: it has a slot of its method meanwhile."""
    upload_rate: int = 64 << 10
    """Bytes a second: half of a link of 1 Mbit/s."""
    held_requests: int = 256 << 20
    """Bytes of request bodies that are held or asked for, of all callers; one caller has half of it at most."""
    held_replies: int = 256 << 20
    """Bytes of replies that wait for their callers to take them."""
    fan_out_replies: int = 256 << 20
    """Bytes of the replies that a client holds for one fan-out: 1 MiB of each miner of a full subnet."""
    room_seconds: float = 1.0
    """Seconds that a call waits for room for its body before it is BUSY."""
    streams_per_caller: int = 16
    """Open streams of messages of one hotkey."""
    idle_connection: float = 600.0
    """Seconds after which the server resets a stream that carries no call. The client gives up its own much earlier
    (`StreamPool`), so that a call never meets a stream that is just being closed."""
    max_deadline: float = 3600.0
    """Seconds from now at most, whatever the caller signed."""
    allow_channel: bool = False
    """Whether calls without a signature are served on connections with a certificate (R4)."""
    peer_calls: Quota = Quota(4000, 2)
    """Calls of one peer, whoever signs them: two thirds of what a core serves, so that one peer never takes all of it.
    A peer that is above it is read more slowly, and refused only when it would have to wait for long."""
    peer_frames: Quota = Quota(40_000, 2)
    """Frames of one peer: ten for each of its calls. Tiny ones cost as much to take as large ones. Paced like calls."""
    bad_inputs: Quota = Quota(8, 16)
    """Bad signatures and malformed frames of one peer before it is muted: a faulty client is told what is wrong, a
    flood costs eight verifications."""
    bad_inputs_of_prefix: Quota = Quota(64, 16)
    """The same of one network: peer ids cost nothing, addresses do."""
    mute_seconds: float = 5.0


MAX_TRACKED: Final = 4096
"""Peers and networks whose behaviour is remembered; the longest silent one is forgotten first."""

LONGEST_PACE: Final = 0.25
"""Seconds for which a call above the quota is just not read; one that would wait longer is refused (28). A peer whose
192 streams all have a call in flight waits 0.1 s at most."""

_LOOPBACK: Final = "loopback"


def network_of(address: str | None) -> str:
    """The /24 of an IPv4 multiaddr, the /48 of an IPv6 one, "" when there is none, `loopback` for this machine."""
    parts = (address or "").split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6"):
        return ""
    try:
        host = ipaddress.ip_address(parts[2])
    except ValueError:
        return ""
    if host.is_loopback:
        return _LOOPBACK
    return str(ipaddress.ip_network(f"{host}/{24 if host.version == 4 else 48}", strict=False))


class KnockLimiter:
    """Counts calls and bad input by peer and network. Pure: time in seconds is an argument."""

    def __init__(self, limits: AxonLimits) -> None:
        self._limits = limits
        self._calls: OrderedDict[str, TokenBucket] = OrderedDict()
        self._frames: OrderedDict[str, TokenBucket] = OrderedDict()
        self._bad: OrderedDict[str, TokenBucket] = OrderedDict()
        self._muted: OrderedDict[str, float] = OrderedDict()

    def muted_for(self, peer: str, network: str, now: float) -> float:
        """Seconds for which nothing of this peer is looked at."""
        if not self._muted:
            return 0.0
        return max(self._muted.get(peer, 0.0), self._muted.get(network, 0.0), now) - now

    def pace_call(self, peer: str, now: float) -> float:
        """Seconds to wait before a call of this peer is looked at. Up to LONGEST_PACE it is taken from the quota, into
        debt: each stream then waits once, for its own turn, and they do not wake each other up to find no room.
        """
        bucket = self._bucket(self._calls, peer, self._limits.peer_calls, now)
        wait = bucket.wait(1, now)
        if wait <= LONGEST_PACE:
            bucket.take(1, now)
        return wait

    def pace_frames(self, peer: str, count: int, now: float) -> float:
        """Seconds to wait after `count` frames of this peer were taken."""
        bucket = self._bucket(self._frames, peer, self._limits.peer_frames, now)
        bucket.take(count, now)
        return bucket.wait(0, now)

    def is_muted(self, name: str, now: float) -> bool:
        """Whether a peer itself, or a network, is muted."""
        return self._muted.get(name, 0.0) > now

    def bad_input(self, peer: str, network: str, now: float) -> bool:
        """Count one bad signature or malformed frame; True when the peer or its network is muted by it."""
        muted = False
        for name, quota in ((peer, self._limits.bad_inputs), (network, self._limits.bad_inputs_of_prefix)):
            # One machine with many peers is a test swarm, and an unknown address says nothing.
            if name in ("", _LOOPBACK):
                continue
            if not self._bucket(self._bad, name, quota, now).take_if_free(1, now):
                self._muted[name] = now + self._limits.mute_seconds
                self._muted.move_to_end(name)
                if len(self._muted) > MAX_TRACKED:
                    self._muted.popitem(last=False)
                muted = True
        return muted

    @staticmethod
    def _bucket(buckets: OrderedDict[str, TokenBucket], name: str, quota: Quota, now: float) -> TokenBucket:
        bucket = buckets.get(name)
        if bucket is None:
            bucket = buckets[name] = TokenBucket(quota, now)
            if len(buckets) > MAX_TRACKED:
                buckets.popitem(last=False)
        buckets.move_to_end(name)
        return bucket
