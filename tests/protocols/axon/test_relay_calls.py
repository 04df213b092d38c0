"""Whole calls to a miner that only a relay can reach (AXON R35, R4)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from axon_world import GENESIS, OTHER, PROTOCOL, SERVER, Offences, RawCaller, World, account, signed_call
from trio.testing import MockClock
from yumad.protocols.axon.client import AxonClient
from yumad.protocols.axon.interfaces import Endpoint, Standing
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.relay import open_relayed, relay_protocol, reserve
from yumad.protocols.axon.relay_service import Relay
from yumad.protocols.axon.status import Status
from yumad.protocols.memory_transport import MemoryNetwork
from yumad.protocols.names import NetworkNames

NAMES = NetworkNames.of(GENESIS)
RELAY = "/memory/p2p/relay"


@asynccontextmanager
async def relayed_world(limits: AxonLimits | None = None) -> AsyncIterator[tuple[World, Relay]]:
    """A miner that reserved at a relay, and a caller that knows nothing but that."""
    network = MemoryNetwork(random.Random(1))
    miner, caller, middle = (network.transport(name) for name in ("miner", "validator", "relay"))
    relay = Relay(middle, NAMES, Offences())
    relay.register()
    async with trio.open_nursery() as nursery:
        for transport in (miner, caller, middle):
            await nursery.start(transport.run)
        world = World(miner, caller, limits=limits, addresses=(f"{RELAY}/relay/p2p/miner",))
        world.client = AxonClient(
            caller,
            PROTOCOL,
            GENESIS,
            world.book,
            now_ns=world.client._now_ns,
            random_bytes=world.client._random_bytes,
            limits=limits,
            relay_protocol_id=relay_protocol(NAMES),
        )
        world.serve()
        await miner.dial(RELAY)
        await reserve(miner, relay_protocol(NAMES), middle.local_peer)
        yield world, relay
        nursery.cancel_scope.cancel()


async def test_r35_call_through_a_relay_is_answered_and_the_next_takes_the_same_stream(
    autojump_clock: MockClock,
) -> None:
    async with relayed_world() as (world, relay):
        for body in (b"hello", random.Random(1).randbytes(300_000)):
            result = await world.call(body)
            assert result.ok
            assert bytes(result.body) == body
            assert result.receipt, "signed end to end"
        assert relay.counters["connected"] == 1
        assert world.client_transport.connected() == ("relay",), "the miner was never dialed"


async def test_r35_miner_without_a_reservation_cannot_be_called(autojump_clock: MockClock) -> None:
    async with relayed_world() as (world, relay):
        relay._reserved.clear()
        assert (await world.call()).status is Status.DIAL_FAILED
        world.book.rows[account(SERVER)] = [Endpoint(world.endpoint.peer, ("/memory/p2p/nobody/relay/p2p/miner",))]
        assert (await world.call()).status is Status.DIAL_FAILED


async def test_r4_r35_call_in_channel_mode_is_signed_where_it_goes_through_a_relay(autojump_clock: MockClock) -> None:
    async with relayed_world(AxonLimits(allow_channel=True)) as (world, _):
        result = await world.call(channel=True)
        assert result.ok
        assert result.receipt
        assert "MALFORMED" not in world.outcomes()


async def test_r6_r35_strangers_bad_calls_through_a_relay_do_not_mute_the_relay(autojump_clock: MockClock) -> None:
    async with relayed_world() as (world, _):
        world.server.is_relay = lambda peer: peer == "relay"
        for number in range(20):
            stream = await open_relayed(
                world.client_transport, relay_protocol(NAMES), world.endpoint.addresses[0], timeout=5
            )
            bad = signed_call(caller=account(OTHER), request_id=bytes([number]) * 16)
            caller = RawCaller(stream)
            assert (await caller.ask(bad)).status is Status.BAD_SIGNATURE
            assert await caller.frame() is None, "each costs its sender a stream"
            await stream.reset()
        assert world.offences.seen == []
        assert (await world.call()).ok


async def test_r4_r35_unsigned_refusal_through_a_relay_says_that_it_may_be_the_relays(
    autojump_clock: MockClock,
) -> None:
    async with relayed_world() as (world, _):
        world.view.default = Standing(uid=None, permit=False, stake=0)
        result = await world.call()
    assert result.status is Status.NOT_REGISTERED
    assert result.text.endswith("(unsigned; the relay may have said it)")
    assert result.receipt == b""
