"""Gossip over a network of peers, in virtual time: batches, announcements and pulls, digests (CHAIN 3, 7)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import trio
from peer_doubles import (
    DIGEST,
    GENESIS,
    TX_DOMAIN,
    Authorities,
    FakeView,
    FixedClock,
    MadeChain,
    key,
    propose,
    statement,
)
from sync_world import Server
from trio.testing import MockClock
from yumad.consensus.authority import era_seed
from yumad.consensus.evidence import make_evidence
from yumad.consensus.statement import Kind
from yumad.consensus.transaction import encode_transaction, sign_transaction, transaction_bytes_hash
from yumad.consensus.types import Era, Hash32
from yumad.protocols.bounded_queue import BoundedQueue
from yumad.protocols.gossip import Gossip
from yumad.protocols.gossip_validators import Validators
from yumad.protocols.limits import INLINE_TRANSACTION
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.requests import RequestClient
from yumad.protocols.transport import Stream

NAMES = NetworkNames.of(GENESIS)
FOUR = Authorities(range(4), era_seed(GENESIS, Era(0), None))
CHAIN = MadeChain().grow(1)


class Pooled(MadeChain):
    """A chain with a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: dict[Hash32, bytes] = {}

    def pool_transaction(self, name: Hash32) -> bytes | None:
        return self.pool.get(name)


class Node(Server):
    """A peer that gossips, pools what it gets, and serves its pool."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.pool = Pooled()
        super().__init__(network, name, self.pool)
        self.view = FakeView({0: FOUR.set})
        self.validators = Validators(self.view, FixedClock(), self.penalties)
        self.gossip = Gossip(
            self.transport,
            NAMES,
            self.validators,
            RequestClient(self.transport, NAMES, self.penalties),
            self.penalties,
            digest=DIGEST,
        )
        self.gossip.subscribe()

    async def run_pool(self) -> None:
        while True:
            received = await self.validators.transactions.get()
            self.pool.pool[received.bytes_hash] = received.data

    def submit(self, data: bytes) -> None:
        self.pool.pool[transaction_bytes_hash(data)] = data
        assert self.gossip.offer_transaction(data)


@asynccontextmanager
async def line(count: int) -> AsyncIterator[Sequence[Node]]:
    """Nodes in a row: each message must be relayed to arrive."""
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.01))
    nodes = [Node(network, f"node{n}") for n in range(count)]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.transport.run)
            await nursery.start(node.gossip.run)
            nursery.start_soon(node.run_pool)
        for one, other in pairwise(nodes):
            await one.transport.dial(other.transport.addresses()[0])
        await trio.sleep(1)
        yield nodes
        nursery.cancel_scope.cancel()


def transaction(nonce: int, size: int = 0) -> bytes:
    signed = sign_transaction(TX_DOMAIN, key(1), nonce=nonce, valid_until=9, call=1, args=[bytes(size)])
    return encode_transaction(signed)


async def test_small_transactions_travel_in_batches(autojump_clock: MockClock) -> None:
    async with line(4) as nodes:
        for nonce in range(40):
            nodes[0].submit(transaction(nonce))
        await trio.sleep(2)
        assert [len(node.pool.pool) for node in nodes] == [40] * 4
        assert nodes[0].gossip.counters["transactions/published"] == 2
        assert all(node.penalties.offences == [] for node in nodes)


async def test_large_transaction_is_announced_and_pulled_hop_by_hop(autojump_clock: MockClock) -> None:
    async with line(5) as nodes:
        big = transaction(0, 5000)
        assert len(big) > INLINE_TRANSACTION
        nodes[0].submit(big)
        await trio.sleep(10)
        assert [list(node.pool.pool.values()) for node in nodes] == [[big]] * 5
        assert all(node.penalties.offences == [] for node in nodes)


async def test_announced_transaction_that_nobody_has_is_forgotten_and_may_come_again(
    autojump_clock: MockClock,
) -> None:
    async with line(2) as nodes:
        big = transaction(0, 5000)
        nodes[0].submit(big)
        nodes[0].pool.pool.clear()
        await trio.sleep(10)
        assert nodes[1].gossip.counters["pull/missing"] == 1
        assert nodes[1].pool.pool == {}
        nodes[0].submit(transaction(1, 5000))
        await trio.sleep(10)
        assert len(nodes[1].pool.pool) == 1


async def test_pulled_bytes_that_were_not_asked_for_or_are_forged_cost_their_sender(
    autojump_clock: MockClock,
) -> None:
    async with line(2) as nodes:
        big, other = transaction(0, 5000), transaction(1, 5000)
        nodes[0].submit(big)
        nodes[0].pool.pool[transaction_bytes_hash(big)] = other
        await trio.sleep(10)
        assert Offence.BAD_REPLY in [offence for _, offence in nodes[1].penalties.offences]
        forged = big[:-1] + bytes([big[-1] ^ 1])
        nodes[0].submit(forged)
        await trio.sleep(10)
        assert Offence.INVALID_TRANSACTION in [offence for _, offence in nodes[1].penalties.offences]
        assert nodes[1].pool.pool == {}


async def test_proposal_certificate_and_evidence_reach_everybody_once(autojump_clock: MockClock) -> None:
    async with line(4) as nodes:
        proposal = propose(FOUR, CHAIN.blocks[0], 1)
        final = FOUR.certificate(statement(Kind.FINALIZE, 1), without=1)
        votes = [FOUR.sign(0, statement(Kind.NOTARIZE, 1, block=Hash32(bytes([n]) * 32))) for n in (1, 2)]
        for _ in range(2):
            await nodes[0].gossip.publish_proposal(proposal)
            await nodes[0].gossip.publish_certificate(final)
            await nodes[0].gossip.publish_evidence(make_evidence(*votes))
        await trio.sleep(1)
        for node in nodes[1:]:
            assert [len(node.validators.proposals), len(node.validators.certificates)] == [1, 1]
            assert len(node.validators.evidence) == 1
            assert node.penalties.offences == []
        assert nodes[0].gossip.counters["finality/published"] == 1


async def test_other_digest_is_another_network(autojump_clock: MockClock) -> None:
    async with line(3) as nodes:
        nodes[2].gossip.set_digest(b"next")
        await trio.sleep(1)
        await nodes[0].gossip.publish_certificate(FOUR.certificate(statement(Kind.FINALIZE, 1)))
        await trio.sleep(1)
        assert [len(node.validators.certificates) for node in nodes] == [0, 1, 0]
        nodes[2].gossip.set_digest(DIGEST)
        await trio.sleep(1)
        await nodes[0].gossip.publish_certificate(FOUR.certificate(statement(Kind.FINALIZE, 2)))
        await trio.sleep(1)
        assert [len(node.validators.certificates) for node in nodes] == [0, 2, 1]


async def test_queue_is_bounded_in_items_and_bytes_and_keeps_order(autojump_clock: MockClock) -> None:
    queue: BoundedQueue[int] = BoundedQueue(items=3, size=10)
    assert [queue.put(n, size) for n, size in enumerate((4, 7, 4, 1, 1))] == [True, False, True, True, False]
    assert queue.bytes_held == 9
    assert [await queue.get() for _ in range(3)] == [0, 2, 3]
    with trio.move_on_after(1) as waiting:
        await queue.get()
    assert waiting.cancelled_caught
    assert queue.put(9, 10)
    assert await queue.get() == 9


async def test_queue_wakes_as_many_readers_as_entries_come(autojump_clock: MockClock) -> None:
    queue: BoundedQueue[int] = BoundedQueue(items=9, size=9)
    got: list[int] = []

    async def read_one_and_stay_busy() -> None:
        got.append(await queue.get())
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read_one_and_stay_busy)
        await trio.sleep(1)
        for number in range(4):
            queue.put(number, 1)
            await trio.sleep(1)
        assert got == [0, 1, 2]
        assert len(queue) == 1
        nursery.cancel_scope.cancel()


async def test_announcer_that_does_not_answer_does_not_hold_up_the_others(autojump_clock: MockClock) -> None:
    async def silence(stream: Stream) -> None:
        await trio.sleep_forever()

    async with line(3) as nodes:
        nodes[0].transport.set_stream_handler(NAMES.request("transactions"), silence)
        nodes[0].submit(transaction(0, 5000))
        await trio.sleep(0.5)
        nodes[2].submit(transaction(1, 5000))
        await trio.sleep(1)
        assert len(nodes[1].pool.pool) == 1
