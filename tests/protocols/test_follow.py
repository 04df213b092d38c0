"""Blocks by hash, the walk back, certificates by view, and the chain spec's pages (CHAIN 2.2, DESIGN decision 13)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from peer_doubles import FakeView, MadeChain, key, statement
from sync_world import World, joiner
from trio.testing import MockClock
from yumad.consensus.block import Block, Body, encode_block
from yumad.consensus.certificate import Certificate
from yumad.consensus.domains import Domain, digest
from yumad.consensus.statement import Kind
from yumad.consensus.types import Era, Hash32, Height, View
from yumad.protocols.bootstrap import Bootstrap
from yumad.protocols.limits import CHAINSPEC_PAGE_BYTES
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.sync.chainspec_fetch import ChainSpecUnavailable, fetch_chain_spec
from yumad.protocols.sync.follow import GRACE, MAX_WALK_BACK, MAX_WANTED, BlockFetcher, fetch_certificates
from yumad.protocols.sync.progress import Stage, SyncProgress
from yumad.protocols.transport import PeerId

CHAIN = MadeChain().grow(60)


class Lacks(MadeChain):
    """Has no blocks by hash."""

    def __init__(self) -> None:
        self.__dict__.update(CHAIN.__dict__)

    def height_of(self, name: Hash32) -> Height | None:
        return None


class Alters(Lacks):
    """Answers with a body of its own."""

    def pending_block(self, name: Hash32) -> bytes | None:
        height = CHAIN.height_of(name)
        if height is None:
            return None
        return encode_block(Block(CHAIN.blocks[height - 1].header, Body(None, (), (b"mine",))))


class Swaps(Lacks):
    """Answers with another block."""

    def pending_block(self, name: Hash32) -> bytes | None:
        return encode_block(CHAIN.blocks[0])


@asynccontextmanager
async def fetching(chains: Sequence[MadeChain]) -> AsyncIterator[tuple[World, BlockFetcher, list[Block]]]:
    async with joiner(CHAIN, chains) as world, trio.open_nursery() as nursery:
        arrived: list[Block] = []

        async def deliver(block: Block, peer: PeerId) -> None:
            arrived.append(block)

        fetcher = BlockFetcher(world.client, world.transport.connected, deliver, world.penalties, random.Random(2))
        await nursery.start(fetcher.run)
        yield world, fetcher, arrived
        nursery.cancel_scope.cancel()


async def test_wanted_block_is_fetched_from_whoever_has_it(autojump_clock: MockClock) -> None:
    async with fetching([Lacks(), Lacks(), CHAIN]) as (world, fetcher, arrived):
        assert fetcher.want(CHAIN.hash_at(30))
        assert not fetcher.want(CHAIN.hash_at(30))
        await trio.sleep(3)
        assert arrived == [CHAIN.blocks[29]]
        assert fetcher.wanted() == ()
        assert world.penalties.offences == []


@pytest.mark.parametrize("liar", [Alters, Swaps])
async def test_altered_or_other_block_costs_its_sender_and_the_right_one_arrives(
    autojump_clock: MockClock, liar: type[Lacks]
) -> None:
    async with fetching([liar(), CHAIN]) as (world, fetcher, arrived):
        fetcher.want(CHAIN.hash_at(30), world.servers[0].peer)
        await trio.sleep(3)
        assert arrived == [CHAIN.blocks[29]]
        assert world.offenders() == {world.servers[0].peer: ["bad_reply"]}


async def test_block_that_comes_by_gossip_within_the_grace_is_not_pulled(autojump_clock: MockClock) -> None:
    async with fetching([CHAIN]) as (world, fetcher, arrived):
        fetcher.want(CHAIN.hash_at(30))
        await trio.sleep(GRACE / 2)
        fetcher.drop(CHAIN.hash_at(30))
        await trio.sleep(3)
        assert arrived == []
        assert "blocks_by_hash/ok" not in world.client.stats.outcomes


async def test_block_nobody_has_is_asked_for_ever_more_rarely_until_dropped(autojump_clock: MockClock) -> None:
    async with fetching([Lacks()]) as (world, fetcher, _arrived):
        fetcher.want(Hash32(bytes(32)))
        await trio.sleep(60)
        asked = world.client.stats.outcomes["blocks_by_hash/ok"]
        assert 10 < asked < 25
        fetcher.drop(Hash32(bytes(32)))
        await trio.sleep(60)
        assert world.client.stats.outcomes["blocks_by_hash/ok"] == asked


async def test_walk_back_ends_at_a_known_block(autojump_clock: MockClock) -> None:
    async with fetching([CHAIN]) as (_, fetcher, _arrived):
        blocks = await fetcher.walk_back(CHAIN.hash_at(60), lambda name: name == CHAIN.hash_at(50))
        assert blocks == CHAIN.blocks[50:60]
        assert await fetcher.walk_back(CHAIN.hash_at(60), lambda name: True) == []


async def test_walk_back_deeper_than_its_bound_is_left_to_range_sync(autojump_clock: MockClock) -> None:
    async with fetching([CHAIN]) as (_, fetcher, _arrived):
        just = CHAIN.hash_at(60 - MAX_WALK_BACK)
        assert len(await fetcher.walk_back(CHAIN.hash_at(60), lambda name: name == just) or []) == MAX_WALK_BACK
        deeper = CHAIN.hash_at(59 - MAX_WALK_BACK)
        assert await fetcher.walk_back(CHAIN.hash_at(60), lambda name: name == deeper) is None
        assert await fetcher.walk_back(Hash32(bytes(32)), lambda name: False) is None


# --- certificates ----------------------------------------------------------------------------------------------------


class Holds(MadeChain):
    """Holds the given certificates above F."""

    def __init__(self, *held: Certificate) -> None:
        self.__dict__.update(CHAIN.__dict__)
        self.held = held

    def held_certificates(self, era: Era) -> Sequence[Certificate]:
        return self.held


async def test_missing_certificates_are_collected_from_several_peers_and_a_forger_is_banned(
    autojump_clock: MockClock,
) -> None:
    authorities = CHAIN.eras[3]
    nullified = authorities.certificate(statement(Kind.NULLIFY, 2, era=3))
    notarized = authorities.certificate(statement(Kind.NOTARIZE, 3, era=3))
    weak = authorities.certificate(statement(Kind.NULLIFY, 3, era=3), without=2)
    async with joiner(CHAIN, [Holds(weak), Holds(nullified), Holds(notarized)]) as world:
        view = FakeView({3: authorities.set}, era=Era(3))
        peers = [server.peer for server in world.servers]
        found = await fetch_certificates(
            world.client, peers, view, world.penalties, Era(3), [View(2), View(3), View(4)]
        )
        assert found == [nullified, notarized]
        assert world.offenders() == {peers[0]: ["bad_certificate"]}


# --- chain spec ------------------------------------------------------------------------------------------------------


def specced(spec: bytes) -> MadeChain:
    chain = MadeChain()
    chain.spec = spec
    return chain


def named(spec: bytes, digits: int = 64) -> Bootstrap:
    peer = peer_id_of(key(1).public_key)
    return Bootstrap(f"/ip4/1.2.3.4/tcp/1/p2p/{peer}", digest(Domain.SPEC, spec).hex()[:digits])


@pytest.mark.parametrize("size", [1, CHAINSPEC_PAGE_BYTES, CHAINSPEC_PAGE_BYTES + 1, 6 * CHAINSPEC_PAGE_BYTES + 7])
@pytest.mark.parametrize("digits", [32, 33, 64])
async def test_chain_spec_arrives_page_by_page(autojump_clock: MockClock, size: int, digits: int) -> None:
    spec = random.Random(size).randbytes(size)
    seen: list[SyncProgress] = []
    async with joiner(CHAIN, [specced(spec)]) as world:
        got = await fetch_chain_spec(
            world.client, world.servers[0].peer, named(spec, digits), world.penalties, seen.append
        )
        assert got == spec
        pages = -(-size // CHAINSPEC_PAGE_BYTES)
        assert seen == [SyncProgress(Stage.CHAIN_SPEC, n + 1, pages) for n in range(pages)]


async def test_chain_spec_of_another_chain_is_not_had(autojump_clock: MockClock) -> None:
    async with joiner(CHAIN, [specced(b"other")]) as world:
        with pytest.raises(ChainSpecUnavailable, match="this peer serves the chain"):
            await fetch_chain_spec(world.client, world.servers[0].peer, named(b"wanted"), world.penalties)


async def test_forged_chain_spec_with_an_equal_prefix_is_refused(autojump_clock: MockClock) -> None:
    """The server claims the hash that it was asked for and sends other bytes."""
    async with joiner(CHAIN, [specced(b"forged")]) as world:
        world.servers[0].transport.set_stream_handler("/yumad/chainspec/1", _page_server(b"forged"))
        with pytest.raises(ChainSpecUnavailable, match=r"sent a chain spec with hash [0-9a-f]{64}, expected"):
            await fetch_chain_spec(world.client, world.servers[0].peer, named(b"wanted"), world.penalties)
        assert world.offenders() == {world.servers[0].peer: ["wrong_genesis"]}


def _page_server(data: bytes) -> object:
    from yumad.protocols import messages as m
    from yumad.protocols.framing import ReplyCode, encode_chunk, frame

    async def handle(stream: object) -> None:
        await stream.read_some(100)  # type: ignore[attr-defined]
        page = m.CHAINSPEC.encode_reply(m.ChainSpecPage(0, 1, data))
        await stream.write_all(frame(encode_chunk(ReplyCode.OK, page)))  # type: ignore[attr-defined]

    return handle


async def test_wanted_blocks_are_bounded_and_the_oldest_is_given_up(autojump_clock: MockClock) -> None:
    async with fetching([Lacks(), CHAIN]) as (_, fetcher, arrived):
        for number in range(MAX_WANTED + 10):
            assert fetcher.want(Hash32(number.to_bytes(32, "big")))
            if number % 50 == 0:
                await trio.sleep(0.01)
        assert len(fetcher.wanted()) == MAX_WANTED
        assert Hash32(bytes(32)) not in fetcher.wanted()
        assert fetcher.want(CHAIN.hash_at(3))
        await trio.sleep(30)
        assert arrived == [CHAIN.blocks[2]]
