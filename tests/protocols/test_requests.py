"""Client and server of requests against one another and against hostile peers, in virtual time (CHAIN 2.1)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from peer_doubles import GENESIS, MadeChain, RecordedPenalties, key
from sync_world import Server, status_of
from trio.testing import MockClock
from yumad.consensus.statement import Kind
from yumad.consensus.types import Era, Hash32, Height, Micros, View
from yumad.protocols import messages as m
from yumad.protocols.framing import ReplyCode, decode_chunk, encode_chunk, frame, read_frame, read_frame_after
from yumad.protocols.limits import MAX_REPLY_BYTES, MAX_SERVED_STREAMS, REPLY_TIMEOUT, REQUEST_TIMEOUT, THROTTLE_DELAY
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.names import CHAINSPEC_PROTOCOL, NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.peer_records import make_record
from yumad.protocols.request_server import _ByteBudget
from yumad.protocols.requests import (
    BadReply,
    NotAvailable,
    PeerUnreachable,
    RequestClient,
    RequestTimeout,
    ServerFailed,
    Throttled,
    Unsupported,
)
from yumad.protocols.transport import PeerId, Stream, StreamClosed

NAMES = NetworkNames.of(GENESIS)
CHAIN = MadeChain().grow(150)


class Pair:
    """A server and a client that are connected."""

    def __init__(self, network: MemoryNetwork, chain: MadeChain) -> None:
        self.server = Server(network, "server", chain)
        self.transport = MemoryTransport(network, PeerId("client"))
        self.penalties = RecordedPenalties()
        self.client = RequestClient(self.transport, NAMES, self.penalties)

    async def ask(self, protocol: m.RequestProtocol[Any, Any], message: Any) -> list[Any]:
        return await self.client.request(self.server.peer, protocol, message)

    async def raw(self, name: str) -> Stream:
        return await self.transport.open_stream(self.server.peer, NAMES.request(name), timeout=5)

    def serve_with(self, name: str, handler: Any) -> None:
        self.server.transport.set_stream_handler(NAMES.request(name), handler)

    @property
    def offences(self) -> list[Offence]:
        return [offence for _, offence in self.penalties.offences]


@asynccontextmanager
async def pair(chain: MadeChain = CHAIN) -> AsyncIterator[Pair]:
    both = Pair(MemoryNetwork(random.Random(1), LinkQuality(latency=0.01)), chain)
    async with trio.open_nursery() as nursery:
        await nursery.start(both.server.transport.run)
        await nursery.start(both.transport.run)
        await both.transport.dial(both.server.transport.addresses()[0])
        yield both
        nursery.cancel_scope.cancel()


# --- every protocol, answered ----------------------------------------------------------------------------------------


async def test_every_protocol_is_answered(autojump_clock: MockClock) -> None:
    async with pair() as both:
        status = status_of(CHAIN)
        assert await both.ask(m.STATUS, status) == [status]
        assert both.server.heard == [(both.transport.local_peer, status)]
        proofs = await both.ask(m.ERA_PROOFS, m.EraProofsRequest(Era(0), 32))
        assert [proof.boundary.height for proof in proofs] == [20, 40, 60, 80, 100, 120, 140]
        (headers,) = await both.ask(m.HEADERS, m.HeadersRequest(Height(140), 512))
        assert [header.height for header in headers.headers] == list(range(140, 151))
        assert len(headers.certificates) == 11
        assert await both.ask(
            m.BLOCKS, m.BLOCKS.decode_request(m.BLOCKS.encode_request(m.BlocksRequest(Height(149), 9)))
        )
        by_hash = await both.ask(m.BLOCKS_BY_HASH, m.BlocksByHashRequest((CHAIN.hash_at(7), Hash32(bytes(32)))))
        assert by_hash == [CHAIN.blocks[6]]
        asked = ((View(20), Kind.FINALIZE), (View(20), Kind.NULLIFY))
        certificates = await both.ask(m.CERTIFICATES, m.CertificatesRequest(Era(0), asked))
        assert certificates == [CHAIN.certificates[20]]
        assert await both.ask(m.TRANSACTIONS, m.TransactionsRequest((GENESIS,))) == []
        record = make_record(GENESIS, key(1), ["/ip4/10.0.0.1/tcp/4000"], Micros(1_000_000_000 + 1_000 * 2_000_000))
        both.server.book.add(record, Micros(record.sequence))
        assert await both.ask(m.PEERS, m.PeersRequest()) == [m.PeersReply((record,))]
        assert both.offences == []
        assert both.server.penalties.offences == []


async def test_what_is_not_there_is_not_available(autojump_clock: MockClock) -> None:
    async with pair() as both:
        for protocol, message in (
            (m.ERA_PROOFS, m.EraProofsRequest(Era(7), 1)),
            (m.HEADERS, m.HeadersRequest(Height(151), 1)),
            (m.BLOCKS, m.BlocksRequest(Height(0), 1)),
            (m.CHAINSPEC, m.ChainSpecRequest(bytes(32), 0)),
        ):
            with pytest.raises(NotAvailable):
                await both.ask(protocol, message)
        assert both.offences == []


async def test_reply_stops_before_four_mebibytes_and_the_requester_pages(autojump_clock: MockClock) -> None:
    class Big(MadeChain):
        def block_bytes(self, height: Height) -> bytes | None:
            return bytes(500_000)

    async with pair(Big().grow(30)) as both:
        sizes: list[int] = []
        stream = await both.raw("blocks")
        await stream.write_all(frame(m.BLOCKS.encode_request(m.BlocksRequest(Height(1), 30))))
        await stream.close_write()
        while first := await stream.read_some(1):
            sizes.append(len(await read_frame_after(stream, first, 600_000)))
        assert len(sizes) == MAX_REPLY_BYTES // 500_000


# --- quotas and caps -------------------------------------------------------------------------------------------------


async def test_over_quota_is_delayed_then_throttled_and_recovers(autojump_clock: MockClock) -> None:
    async with pair() as both:
        status = status_of(CHAIN)
        for _ in range(4):
            await both.ask(m.STATUS, status)
        start = trio.current_time()
        await both.ask(m.STATUS, status)
        assert 3 < trio.current_time() - start < 4
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                await both.ask(m.STATUS, status)

            nursery.start_soon(ask)
            await trio.sleep(0.1)
            start = trio.current_time()
            with pytest.raises(Throttled):
                await both.ask(m.STATUS, status)
            assert trio.current_time() - start == pytest.approx(THROTTLE_DELAY, abs=0.2)
        assert both.offences == [Offence.THROTTLED]
        assert [offence for _, offence in both.server.penalties.offences] == [Offence.FLOOD]
        await trio.sleep(20)
        await both.ask(m.STATUS, status)


async def test_quota_of_one_peer_does_not_touch_another(autojump_clock: MockClock) -> None:
    async with pair() as both:
        other = MemoryTransport(both.transport._network, PeerId("other"))
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)
            await other.dial(both.server.transport.addresses()[0])
            client = RequestClient(other, NAMES, both.penalties)
            for _ in range(4):
                await both.ask(m.STATUS, status_of(CHAIN))
            start = trio.current_time()
            await client.request(both.server.peer, m.STATUS, status_of(CHAIN))
            assert trio.current_time() - start < 1
            nursery.cancel_scope.cancel()


async def test_third_open_request_of_a_protocol_is_refused_by_the_server(autojump_clock: MockClock) -> None:
    async with pair() as both:
        streams = [await both.raw("headers") for _ in range(3)]
        await trio.sleep(0.1)
        code, _ = decode_chunk(await read_frame(streams[2], 1000), max_bytes=1000)
        assert code is ReplyCode.THROTTLED
        assert both.server.server.counters["headers/busy"] == 1
        await trio.sleep(REQUEST_TIMEOUT + 1)
        assert both.server.server.counters["headers/timeout"] == 2
        await both.ask(m.HEADERS, m.HeadersRequest(Height(1), 1))


async def test_client_never_has_more_than_two_open_and_all_are_answered(autojump_clock: MockClock) -> None:
    async with pair() as both:
        results: list[int] = []

        async def ask(height: int) -> None:
            results.append(len(await both.ask(m.BLOCKS, m.BlocksRequest(Height(height), 3))))

        async with trio.open_nursery() as nursery:
            for height in range(1, 40):
                nursery.start_soon(ask, height)
        assert results == [3] * 39
        assert both.server.server.counters == {"blocks/ok": 39}
        assert both.client._slots == {}


async def test_many_slow_readers_leave_room_for_others(autojump_clock: MockClock) -> None:
    async with pair() as both:
        held = [await both.raw(name) for name in ("headers", "blocks", "era_proofs", "status") for _ in range(2)]
        start = trio.current_time()
        assert await both.ask(m.TRANSACTIONS, m.TransactionsRequest((GENESIS,))) == []
        assert trio.current_time() - start < 1
        for stream in held:
            await stream.reset()


# --- hostile requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["status", "headers", "blocks_by_hash", "certificates", "chainspec", "peers"])
@pytest.mark.parametrize("data", [b"", b"\xff" * 8, frame(b"\x9f"), frame(b"\x82\x01\x18\x05"), frame(bytes(3000))])
async def test_bad_request_is_answered_counted_and_scored(autojump_clock: MockClock, name: str, data: bytes) -> None:
    async with pair() as both:
        stream = await both.raw(name)
        await stream.write_all(data)
        await stream.close_write()
        if data:
            code, _ = decode_chunk(await read_frame(stream, 1000), max_bytes=1000)
            assert code is ReplyCode.BAD_REQUEST
            assert [offence for _, offence in both.server.penalties.offences] == [Offence.MALFORMED]
            assert both.server.server.counters == {f"{name}/bad_request": 1}
        else:
            await trio.sleep(1)
            assert both.server.server.counters == {f"{name}/closed": 1}


async def test_raising_service_answers_server_error_and_stays_up(autojump_clock: MockClock) -> None:
    class Raises(MadeChain):
        def header(self, height: Height) -> Any:
            raise RuntimeError("no disk")

    async with pair(Raises().grow(3)) as both:
        with pytest.raises(ServerFailed, match="internal error"):
            await both.ask(m.HEADERS, m.HeadersRequest(Height(1), 1))
        assert len(await both.ask(m.BLOCKS, m.BlocksRequest(Height(1), 3))) == 3
        assert both.server.server.counters["headers/server_error"] == 1


async def test_random_bytes_on_every_protocol_leave_the_server_answering(autojump_clock: MockClock) -> None:
    rng = random.Random(4)
    async with pair() as both:
        for _ in range(120):
            name = rng.choice(["status", "headers", "blocks", "era_proofs", "transactions", "peers", "certificates"])
            stream = await both.raw(name)
            try:
                await stream.write_all(rng.randbytes(rng.randrange(1, 300)))
                await stream.close_write()
            except StreamClosed:
                pass
            await stream.reset()
        await trio.sleep(60)
        assert len(await both.ask(m.BLOCKS, m.BlocksRequest(Height(1), 3))) == 3
        assert both.server.server._open == {}


# --- hostile replies -------------------------------------------------------------------------------------------------


def replies(*data: bytes, pause: float = 0.0, end: bool = True) -> Any:
    async def handle(stream: Stream) -> None:
        await stream.read_some(1000)
        for piece in data:
            await stream.write_all(piece)
            await trio.sleep(pause)
        if not end:
            await trio.sleep_forever()

    return handle


OK = frame(encode_chunk(ReplyCode.OK, m.HEADERS.encode_reply(m.HeadersReply((), ()))))


@pytest.mark.parametrize(
    ("handler", "error", "offence"),
    [
        (replies(frame(b"\xff\xff")), BadReply, Offence.BAD_REPLY),
        (replies(frame(encode_chunk(ReplyCode.OK, b"junk"))), BadReply, Offence.BAD_REPLY),
        (replies(b"\xff\xff\xff\xff"), BadReply, Offence.BAD_REPLY),
        (replies(OK, OK), BadReply, Offence.BAD_REPLY),
        (replies(OK[:-2]), PeerUnreachable, None),
        (replies(end=False), RequestTimeout, Offence.SLOW),
        (replies(OK[:5], end=False), RequestTimeout, Offence.TIMEOUT),
        (replies(*[OK[n : n + 1] for n in range(len(OK))], pause=3), RequestTimeout, Offence.TIMEOUT),
    ],
)
async def test_bad_reply_is_a_typed_error_within_the_deadline(
    autojump_clock: MockClock, handler: Any, error: type[Exception], offence: Offence | None
) -> None:
    async with pair() as both:
        both.serve_with("headers", handler)
        start = trio.current_time()
        with pytest.raises(error):
            await both.ask(m.HEADERS, m.HeadersRequest(Height(1), 1))
        assert trio.current_time() - start <= REPLY_TIMEOUT + 1
        assert both.offences == ([] if offence is None else [offence])
        await trio.sleep(1)
        assert both.transport.stats().streams_open == 0


async def test_peer_without_the_protocol_or_the_connection_is_no_offence(autojump_clock: MockClock) -> None:
    async with pair() as both:
        del both.server.transport._handlers[CHAINSPEC_PROTOCOL]
        with pytest.raises(Unsupported):
            await both.ask(m.CHAINSPEC, m.ChainSpecRequest(GENESIS, 0))
        await both.transport.disconnect(both.server.peer)
        with pytest.raises(PeerUnreachable):
            await both.ask(m.STATUS, status_of(CHAIN))
        assert both.offences == []


async def test_cancelled_request_frees_its_stream_and_slot(autojump_clock: MockClock) -> None:
    async with pair() as both:
        both.serve_with("headers", replies(end=False))
        with trio.move_on_after(1):
            await both.ask(m.HEADERS, m.HeadersRequest(Height(1), 1))
        await trio.sleep(1)
        assert both.transport.stats().streams_open == 0
        assert both.client._slots == {}


def test_iterators_are_lazy() -> None:
    """A service makes its chunks one at a time: nothing is read from the chain before a chunk is due."""
    read: list[int] = []

    class Counts(MadeChain):
        def block_bytes(self, height: Height) -> bytes | None:
            read.append(height)
            return b"x"

    server = Server(MemoryNetwork(random.Random(1)), "s", Counts().grow(5))
    service = next(s for s in server.server._services if s.protocol.name == "blocks")
    chunks: Iterator[bytes] = iter(service.serve(PeerId("a"), m.BlocksRequest(Height(1), 5)))
    assert read == []
    next(chunks)
    assert read == [1]


async def test_faster_chain_has_wider_quotas_in_blocks(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.01))
    taken: dict[int, float] = {}
    for pace in (1, 6):
        server = Server(network, f"server{pace}", CHAIN, pace=pace)
        transport = MemoryTransport(network, PeerId(f"client{pace}"))
        client = RequestClient(transport, NAMES, RecordedPenalties())
        async with trio.open_nursery() as nursery:
            await nursery.start(server.transport.run)
            await nursery.start(transport.run)
            await transport.dial(server.transport.addresses()[0])
            start = trio.current_time()
            for _ in range(11):
                await client.request(server.peer, m.BLOCKS, m.BlocksRequest(Height(1), 128))
            taken[pace] = trio.current_time() - start
            nursery.cancel_scope.cancel()
    assert 3 < taken[1] < 5
    assert taken[6] < 1


async def test_bytes_in_flight_are_bounded_and_every_waiter_has_its_turn(autojump_clock: MockClock) -> None:
    budget = _ByteBudget(100)
    held = most = 0
    done: list[int] = []

    async def hold(number: int, count: int) -> None:
        nonlocal held, most
        async with budget.hold(count):
            held += min(count, 100)
            most = max(most, held)
            await trio.sleep(1)
            held -= min(count, 100)
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number, count in enumerate((60, 60, 30, 500, 10, 10)):
            nursery.start_soon(hold, number, count)
        await trio.sleep(0.5)
        with trio.move_on_after(0.1):  # a waiter that gives up leaves nothing behind
            await hold(99, 100)
    assert most == 100
    assert sorted(done) == [0, 1, 2, 3, 4, 5]


async def test_served_streams_are_capped_and_the_rest_wait(autojump_clock: MockClock) -> None:
    async with pair() as both:
        server = both.server.server
        for _ in range(MAX_SERVED_STREAMS):
            server._streams.acquire_nowait()
        start = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def free_later() -> None:
                await trio.sleep(3)
                server._streams.release()

            nursery.start_soon(free_later)
            assert len(await both.ask(m.BLOCKS, m.BlocksRequest(Height(1), 3))) == 3
        assert 3 <= trio.current_time() - start < 4
