"""The two other processes of test_axon_flood.py: the server under attack, and the attacker.

    axon_flood.py server MODE           MODE is `lenient` (no peer is ever dropped) or `ledger` (as a peer does it)
    axon_flood.py attacker HOW ADDRESS SECONDS
                                        HOW is `keep` (streams are written to until they stall) or `churn` (each write
                                        goes to a new stream, so that the server's pause on a stream costs nothing)

Run in processes of their own, so that the attacker's work is not the server's.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, Signature
from yumad.daemon.clock import SystemClock
from yumad.protocols.axon.admission import AdmissionQueue
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.envelope import Envelope
from yumad.protocols.axon.frames import Kind, frame
from yumad.protocols.axon.interfaces import (
    Admission,
    CallReply,
    Endpoint,
    Freshness,
    IncomingCall,
    ServedMethod,
    Standing,
)
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.replay import MemoryReplayStore
from yumad.protocols.axon.server import AxonServer
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.peer_ledger import Offence, PeerLedger
from yumad.protocols.penalties import LedgerEnforcer, Penalties
from yumad.protocols.transport import DialFailed, PeerId, TransportError

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
GENESIS = Hash32(bytes(range(32)))
PROTOCOL = "/yumad/00010203/axon/1"
NETUID = 1
GOOD, MINER = KeyPair(bytes([1]) * 32), KeyPair(bytes([2]) * 32)
METHOD = ServedMethod("echo.echo", policy=Policy(quota=Quota(1000, 1000)))

CALLS_PER_SECOND = 10_000
CALLS_PER_WRITE = 100
STREAMS = 32
STALLED = 0.3
"""Seconds after which the attacker gives a stream up that the server no longer reads, and opens another."""


class OnePermit:
    """The good caller has a permit, and the attacker knows it: its calls name that hotkey."""

    def standing(self, netuid: int, hotkey: AccountId) -> Standing:
        if hotkey == GOOD.public_key:
            return Standing(0, True, 10**12)
        return Standing(None, False, 0)

    def freshness(self, netuid: int) -> Freshness:
        return Freshness.FRESH


class Lenient:
    """Drops nobody: the server itself must bear the flood."""

    def offend(self, peer: PeerId, offence: Offence) -> None:
        pass

    def useful(self, peer: PeerId) -> None:
        pass


@dataclass
class OneEndpoint:
    """A directory with the miner alone."""

    address: str
    rows: Sequence[Endpoint] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = (Endpoint(PeerId(self.address.rpartition("/")[2]), (self.address,)),)

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        return self.rows


async def echo(call: IncomingCall) -> CallReply:
    return CallReply(body=bytes(call.body))


def make_transport() -> Libp2pTransport:
    return Libp2pTransport(os.urandom(32), [LOOPBACK], rng=random.Random(1))


async def serve(mode: str) -> None:
    """Serve until killed; the first line of output is the address."""
    transport = make_transport()
    penalties: Penalties = Lenient()
    if mode == "ledger":
        penalties = LedgerEnforcer(PeerLedger(SystemClock()), transport)
    replay = MemoryReplayStore(time.time_ns, salt=secrets.token_bytes(16))
    queue = Admission(AdmissionQueue(), CallerLimiter())
    server = AxonServer(
        transport, PROTOCOL, GENESIS, OnePermit(), queue, replay, now_ns=time.time_ns, penalties=penalties
    )
    server.register(MINER, NETUID, [METHOD], echo)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        print(json.dumps({"address": transport.addresses()[0]}), flush=True)


def bad_calls() -> bytes:
    """Fresh, well-formed calls of the good hotkey, with signatures that are none."""
    now = time.time_ns()
    calls = []
    for _ in range(CALLS_PER_WRITE):
        envelope = Envelope(
            GENESIS,
            NETUID,
            METHOD.name,
            1,
            AccountId(GOOD.public_key),
            AccountId(MINER.public_key),
            secrets.token_bytes(16),
            now,
            now + 10**10,
            0,
            bytes(32),
            signature=Signature(secrets.token_bytes(64)),
        )
        calls.append(frame(Kind.CALL, envelope.encode()))
    return b"".join(calls)


class Attacker:
    """One peer that writes bad calls at a steady pace, on as many streams as it takes."""

    def __init__(self, transport: Libp2pTransport, address: str, how: str) -> None:
        self._transport = transport
        self._address = address
        self._churns = how == "churn"
        self._started = trio.current_time()
        self.sent = 0
        self.streams = 0
        self.dials_refused = 0
        self._calls = bad_calls()
        self._made = self._started

    async def lane(self) -> None:
        """Streams, one after the other, for ever."""
        while True:
            try:
                peer = await self._transport.dial(self._address)
                stream = await self._transport.open_stream(peer, PROTOCOL, timeout=2)
            except DialFailed:
                self.dials_refused += 1
                await trio.sleep(0.2)
                continue
            except TransportError:
                await trio.sleep(0.02)
                continue
            self.streams += 1
            try:
                while True:
                    await self._pace()
                    written = False
                    with trio.move_on_after(STALLED):
                        await stream.write(self._calls)  # type: ignore[attr-defined] # unlike write_all, may be cut
                        written = True
                    if not written:
                        break
                    self.sent += CALLS_PER_WRITE
                    if self._churns:
                        break
            except TransportError:
                pass
            finally:
                await stream.reset()

    async def _pace(self) -> None:
        now = trio.current_time()
        if now - self._made > 1:
            self._calls, self._made = bad_calls(), now
        ahead = self.sent / CALLS_PER_SECOND - (now - self._started)
        await trio.sleep(max(0.0, ahead))


async def attack(how: str, address: str, seconds: float) -> None:
    """Attack for a while, then say how much."""
    transport = make_transport()
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        attacker = Attacker(transport, address, how)
        for _ in range(STREAMS):
            nursery.start_soon(attacker.lane)
        await trio.sleep(seconds)
        report = {"sent": attacker.sent, "streams": attacker.streams, "dials_refused": attacker.dials_refused}
        print(json.dumps(report), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        trio.run(serve, sys.argv[2])
    else:
        trio.run(attack, sys.argv[2], sys.argv[3], float(sys.argv[4]))
