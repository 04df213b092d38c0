"""Joining from several peers, some of which lie, are slow or cut their replies (CHAIN 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
from peer_doubles import MadeChain
from sync_world import joiner
from trio.testing import MockClock
from yumad.consensus.block import Block, Body, encode_block
from yumad.consensus.certificate import Certificate
from yumad.consensus.header import Header
from yumad.consensus.types import Era, Hash32, Height
from yumad.protocols.sync.progress import Stage, SyncProgress
from yumad.protocols.sync.range import PROCESSING_TRIES, RangeFailed
from yumad.protocols.sync.scheduler import AnchorMismatch

CHAIN = MadeChain().grow(330)
"""Sixteen eras and ten blocks, each block with a certificate of its own."""


class Serves(MadeChain):
    """The reference chain, from which a liar departs."""

    def __init__(self) -> None:
        self.__dict__.update(CHAIN.__dict__)


class AltersBodies(Serves):
    def block_bytes(self, height: Height) -> bytes | None:
        data = super().block_bytes(height)
        if data is None or height % 7:
            return data
        block = self.blocks[height - 1]
        return encode_block(Block(block.header, Body(None, (), (b"mine",))))


class ServesAnotherChain(Serves):
    other = MadeChain(salt=9).grow(330)

    def block_bytes(self, height: Height) -> bytes | None:
        return self.other.block_bytes(height)


class ShortensReplies(Serves):
    """Ends a reply before each fifth height, unless that is the first one asked for."""

    previous = 0

    def block_bytes(self, height: Height) -> bytes | None:
        is_end = height % 5 == 0 and height == self.previous + 1
        self.previous = 0 if is_end else height
        return None if is_end else super().block_bytes(height)


class HasNoBlocks(Serves):
    def block_bytes(self, height: Height) -> bytes | None:
        return None


class RaisesInside(Serves):
    def block_bytes(self, height: Height) -> bytes | None:
        raise RuntimeError("disk on fire")


class ForgesCertificates(Serves):
    def certificate(self, height: Height) -> Certificate | None:
        right = self.certificates[height]
        return replace(right, signatures=tuple(right.signatures[0] for _ in right.signatures))


class KeepsFewCertificates(Serves):
    """Only boundaries and the newest few: batches end between certificates."""

    def certificate(self, height: Height) -> Certificate | None:
        return self.certificates.get(height) if height % 20 == 0 or height > 320 else None


async def test_joiner_reaches_the_claimed_height_of_honest_peers(autojump_clock: MockClock) -> None:
    seen: list[SyncProgress] = []
    async with joiner(CHAIN, [CHAIN] * 3, on_progress=seen.append) as world:
        assert await world.catch_up.run_once() == 330
        assert world.sink.height == 330
        assert world.offenders() == {}
        assert not world.catch_up.is_behind()
    assert {progress.stage for progress in seen} == {Stage.PROOFS, Stage.BLOCKS}
    assert seen[-1] == SyncProgress(Stage.BLOCKS, 330, 330)


async def test_joiner_goes_on_from_its_own_f(autojump_clock: MockClock) -> None:
    early = MadeChain().grow(130)
    async with joiner(CHAIN, [early, CHAIN]) as world:
        world.peers.left(world.servers[1].peer)
        assert await world.catch_up.run_once() == 130
        await world.catch_up.ask_status(world.servers[1].peer)
        assert world.catch_up.is_behind()
        assert await world.catch_up.run_once() == 330


@pytest.mark.parametrize(
    ("liar", "offence"),
    [
        (AltersBodies, "block_contradicts_certificate"),
        (ServesAnotherChain, "block_contradicts_certificate"),
        (ForgesCertificates, "bad_certificate"),
    ],
)
async def test_liar_is_found_dropped_and_wastes_little(
    autojump_clock: MockClock, liar: type[Serves], offence: str
) -> None:
    async with joiner(CHAIN, [liar(), CHAIN, CHAIN]) as world:
        assert await world.catch_up.run_once() == 330
        assert set(world.offenders()) == {world.servers[0].peer}
        assert set(world.offenders()[world.servers[0].peer]) == {offence}
        assert world.servers[0].peer not in dict(world.peers.claims())
        served = sum(server.server.counters["blocks/ok"] for server in world.servers)
        assert served <= 21 + 3  # 17 eras, of which four are cut once more at a multiple of 64


async def test_two_of_three_liars_do_not_stop_the_joiner(autojump_clock: MockClock) -> None:
    async with joiner(CHAIN, [AltersBodies(), ServesAnotherChain(), CHAIN]) as world:
        assert await world.catch_up.run_once() == 330
        assert set(world.offenders()) == {server.peer for server in world.servers[:2]}


@pytest.mark.parametrize("kind", [ShortensReplies, KeepsFewCertificates])
async def test_peer_with_short_replies_or_few_certificates_is_enough(
    autojump_clock: MockClock, kind: type[Serves]
) -> None:
    async with joiner(CHAIN, [kind()]) as world:
        assert await world.catch_up.run_once() == 330
        assert world.sink.height == 330


@pytest.mark.parametrize("kind", [HasNoBlocks, RaisesInside])
async def test_useless_peer_is_passed_over(autojump_clock: MockClock, kind: type[Serves]) -> None:
    async with joiner(CHAIN, [kind(), CHAIN]) as world:
        assert await world.catch_up.run_once() == 330


async def test_silent_peer_costs_a_timeout_and_the_rest_comes_from_others(autojump_clock: MockClock) -> None:
    async with joiner(CHAIN, [CHAIN, CHAIN]) as world:

        async def silence(stream: object) -> None:
            await trio.sleep_forever()

        world.servers[0].transport.set_stream_handler(f"/yumad/{CHAIN.genesis[:4].hex()}/blocks/1", silence)
        start = trio.current_time()
        assert await world.catch_up.run_once() == 330
        assert trio.current_time() - start < 30
        assert set(world.offenders()[world.servers[0].peer]) == {"slow"}


async def test_range_without_any_peer_fails_with_a_reason(autojump_clock: MockClock) -> None:
    async with joiner(CHAIN, [HasNoBlocks()]) as world:
        with pytest.raises(RangeFailed, match="could not be had in 5 tries"):
            await world.catch_up.run_once()


async def test_block_that_fails_once_is_fetched_again_and_one_that_always_fails_names_the_height(
    autojump_clock: MockClock,
) -> None:
    async with joiner(CHAIN, [CHAIN, CHAIN]) as world:
        world.sink.bad[70] = 1
        assert await world.catch_up.run_once() == 330
    async with joiner(CHAIN, [CHAIN, CHAIN]) as world:
        world.sink.bad[70] = PROCESSING_TRIES
        with pytest.raises(RangeFailed, match="block 70 cannot be applied: state root differs"):
            await world.catch_up.run_once()
        assert world.sink.height == 64


async def test_trusted_block_must_be_on_the_chain(autojump_clock: MockClock) -> None:
    right = {Height(100): CHAIN.hash_at(100)}
    async with joiner(CHAIN, [CHAIN], anchors=right) as world:
        assert await world.catch_up.run_once() == 330
    async with joiner(CHAIN, [CHAIN], anchors={Height(100): Hash32(bytes(32))}) as world:
        with pytest.raises(AnchorMismatch, match="trusted is 0000"):
            await world.catch_up.run_once()
        assert world.sink.height == 80


async def test_peer_of_another_genesis_is_banned(autojump_clock: MockClock) -> None:
    foreign = MadeChain().grow(10)
    async with joiner(CHAIN, [foreign, CHAIN], claims={0: {"genesis_hash": Hash32(bytes(32))}}) as world:
        assert world.offenders() == {world.servers[0].peer: ["wrong_genesis"]}


async def test_boasting_peer_does_not_keep_the_joiner_busy(autojump_clock: MockClock) -> None:
    boast = {"finalised_height": Height(10_000), "era": Era(500)}
    async with joiner(CHAIN, [CHAIN, CHAIN], claims={0: boast}) as world:
        assert await world.catch_up.run_once() == 330
        assert not world.catch_up.is_behind()


# --- long-range and proof attacks ------------------------------------------------------------------------------------


class AltersProof(Serves):
    """Serves era proofs that are wrong in one way."""

    attack = ""

    def boundary_proof(self, era: Era) -> object:  # type: ignore[override]
        if self.attack == "left_out" and era >= 3:
            return super().boundary_proof(Era(era + 1))
        proof = super().boundary_proof(era)
        if proof is None or era != 3:
            return proof
        header, certificate, following = proof
        others = self.eras[7]
        if self.attack == "wrong_set":
            return header, certificate, others.set
        if self.attack == "wrong_seed":
            return header, certificate, type(following)(following.members, Hash32(bytes(32)))
        if self.attack == "other_era":
            return header, self.certificates[100], following
        if self.attack == "notarize":
            words = replace(certificate.statement, kind=type(certificate.kind)(1))
            return header, self.eras[3].certificate(words), following
        if self.attack == "own_keys":  # retired or made-up keys sign another boundary
            forged: Header = replace(header, next_authorities_hash=others.set.hash)
            words = replace(certificate.statement, block_hash=Block(forged, Body(None, (), ())).hash)
            return forged, others.certificate(words), others.set
        if self.attack == "quorum":
            return header, self.eras[3].certificate(certificate.statement, without=2), following
        if self.attack == "authorities_hash":
            forged = replace(header, authorities_hash=others.set.hash)
            words = replace(certificate.statement, block_hash=Block(forged, Body(None, (), ())).hash)
            return forged, self.eras[3].certificate(words), following
        raise AssertionError(self.attack)


@pytest.mark.parametrize(
    "attack",
    ["left_out", "wrong_set", "wrong_seed", "other_era", "notarize", "own_keys", "quorum", "authorities_hash"],
)
async def test_forged_era_proof_bans_its_sender_and_the_walk_goes_on_with_others(
    autojump_clock: MockClock, attack: str
) -> None:
    liar = type("Liar", (AltersProof,), {"attack": attack})()
    async with joiner(CHAIN, [liar], claims={0: {"finalised_height": Height(331)}}) as world:
        with pytest.raises(RangeFailed, match=r"no peer has blocks 1\.\.20"):
            await world.catch_up.run_once()
        assert world.offenders() == {world.servers[0].peer: ["bad_certificate"]}
        assert world.sink.height == 0
    async with joiner(CHAIN, [liar, CHAIN], claims={0: {"finalised_height": Height(331)}}) as world:
        assert await world.catch_up.run_once() == 330
        assert world.offenders() == {world.servers[0].peer: ["bad_certificate"]}


def test_restart_files_are_refused_on_a_chain_without_recovery_keys() -> None:
    from yumad.consensus.types import InvalidError
    from yumad.protocols.messages import EraProof
    from yumad.protocols.sync.proven_sets import ProvenSets, Span

    sets = ProvenSets(CHAIN.timing, Span(Height(1), Era(0), CHAIN.domain, CHAIN.eras[0].set))
    header, certificate, following = CHAIN.boundary_proof(Era(0)) or pytest.fail("no proof")
    files: Sequence[bytes] = (b"restart",)
    with pytest.raises(InvalidError, match="no recovery keys"):
        sets.extend(EraProof(header, certificate, following, tuple(files)))
    assert sets.era == 0
    sets.extend(EraProof(header, certificate, following))
    assert sets.era == 1
