"""The batch state machine of range sync under any order of events (CHAIN 2.2 step 4, 6.2 layer 1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from peer_doubles import Authorities, MadeChain
from yumad.consensus.block import Block, Body
from yumad.consensus.statement import VoteDomain
from yumad.consensus.types import Era, Hash32, Height, InvalidError
from yumad.protocols.messages import EraProof, HeadersReply
from yumad.protocols.sync.proven_sets import ProvenSets, RestartPoint, Span
from yumad.protocols.sync.range import (
    BATCH_BLOCKS,
    DOWNLOAD_TRIES,
    MAX_IN_FLIGHT,
    PROCESSING_TRIES,
    Batch,
    BatchState,
    RangeFailed,
    RangePlan,
    certified_in,
    check_blocks,
    check_header_page,
)
from yumad.protocols.transport import PeerId

PEER = PeerId("a")
CHAIN = MadeChain().grow(45)


class PlanMachine(RuleBasedStateMachine):
    @initialize(first=st.integers(1, 200), length=st.integers(1, 2000), era_blocks=st.sampled_from((1, 20, 90, 1800)))
    def begin(self, first: int, length: int, era_blocks: int) -> None:
        self.era_blocks = era_blocks
        self.plan = RangePlan(Height(first), Height(first + length - 1), era_blocks)
        self.expected_next = first
        self.downloading: list[Batch] = []
        self.failed = False

    @rule()
    def start_download(self) -> None:
        batch = None if self.failed else self.plan.to_download()
        if batch is not None:
            assert 1 <= batch.last - batch.first + 1 <= BATCH_BLOCKS
            assert (batch.first - 1) // self.era_blocks == (batch.last - 1) // self.era_blocks
            self.plan.start_download(batch, PEER)
            self.downloading.append(batch)

    @precondition(lambda self: self.downloading and not self.failed)
    @rule(pick=st.integers(0, 99), success=st.integers(0, 9))
    def end_download(self, pick: int, success: int) -> None:
        batch = self.downloading.pop(pick % len(self.downloading))
        if success:
            self.plan.downloaded(batch, CHAIN.blocks[:1])
            return
        try:
            self.plan.download_failed(batch, PEER, "slow")
        except RangeFailed:
            assert batch.download_tries == DOWNLOAD_TRIES
            self.failed = True

    @rule(success=st.integers(0, 9))
    def process(self, success: int) -> None:
        batch = None if self.failed else self.plan.to_process()
        if batch is None:
            return
        assert batch.first == self.expected_next
        self.plan.start_processing(batch)
        if success:
            self.plan.processed(batch)
            self.expected_next = batch.last + 1
            assert batch.state is BatchState.DONE
            assert batch.blocks == ()
            return
        try:
            self.plan.processing_failed(batch, "root")
        except RangeFailed:
            assert batch.processing_tries == PROCESSING_TRIES
            self.failed = True

    @invariant()
    def bounded_and_in_order(self) -> None:
        if hasattr(self, "plan"):
            assert len(self.plan._batches) <= MAX_IN_FLIGHT
            assert self.plan.applied == self.expected_next - 1
            assert self.plan.is_done == (self.plan.applied == self.plan.last)


TestPlan = PlanMachine.TestCase
TestPlan.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_wrong_transition_is_a_programming_error() -> None:
    plan = RangePlan(Height(1), Height(10), 1_000_000)
    batch = plan.to_download()
    assert batch is not None
    with pytest.raises(AssertionError, match=r"batch 1\.\.10 is to download, expected downloading"):
        plan.downloaded(batch, ())


# --- checks of what peers send ---------------------------------------------------------------------------------------


def test_blocks_are_checked_from_the_proven_end_and_the_first_wrong_one_is_named() -> None:
    blocks = CHAIN.blocks[4:12]
    check_blocks(Height(5), Height(12), CHAIN.hash_at(12), blocks)
    foreign = MadeChain(salt=3).grow(12).blocks
    with pytest.raises(InvalidError, match="block 8 is not the final one"):
        check_blocks(Height(5), Height(12), CHAIN.hash_at(12), [*foreign[4:8], *CHAIN.blocks[8:12]])
    with pytest.raises(InvalidError, match="block 12 is not the final one"):
        check_blocks(Height(5), Height(12), CHAIN.hash_at(11), blocks)
    altered = Block(CHAIN.blocks[6].header, Body(None, (), (b"x",)))
    with pytest.raises(InvalidError, match="do not match the header's tx_root"):
        check_blocks(Height(5), Height(12), CHAIN.hash_at(12), [*blocks[:2], altered, *blocks[3:]])
    for wrong in (blocks[1:], blocks[:-1], [*blocks, CHAIN.blocks[12]], blocks[::-1], []):
        with pytest.raises(InvalidError, match=r"expected blocks 5\.\.12"):
            check_blocks(Height(5), Height(12), CHAIN.hash_at(12), wrong)


def sets() -> ProvenSets:
    proven = ProvenSets(CHAIN.timing, Span(Height(1), Era(0), CHAIN.domain, CHAIN.eras[0].set))
    for era in range(2):
        proof = CHAIN.boundary_proof(Era(era))
        assert proof is not None
        proven.extend(EraProof(*proof))
    return proven


def test_header_page_proves_its_first_header_by_the_next_certificate() -> None:
    headers = tuple(block.header for block in CHAIN.blocks[9:20])
    reply = HeadersReply(headers, (CHAIN.certificates[20], CHAIN.certificates[15]))
    check_header_page(reply, Height(10), CHAIN.hash_at(9))
    proof = certified_in(headers, reply, sets())
    assert proof is not None
    assert (proof.hash, proof.certified) == (CHAIN.hash_at(10), 15)
    assert certified_in(headers, HeadersReply(headers, ()), sets()) is None
    unrelated = HeadersReply(headers, (CHAIN.certificates[30],))
    assert certified_in(headers, unrelated, sets()) is None


def test_header_page_with_a_gap_or_another_start_is_refused() -> None:
    headers = [block.header for block in CHAIN.blocks]
    for wrong in ((), (headers[4], headers[6]), (headers[5], headers[4]), (headers[3], headers[4])):
        with pytest.raises(InvalidError):
            check_header_page(HeadersReply(tuple(wrong), ()), Height(5), None)
    with pytest.raises(InvalidError, match="does not follow the header before it"):
        check_header_page(HeadersReply((headers[4],), ()), Height(5), CHAIN.hash_at(3))


def test_proven_sets_answer_only_inside_the_proven_range() -> None:
    proven = sets()
    assert proven.era == 2
    assert proven.last_provable == 60
    assert [proven.at(Height(height)).era for height in (1, 20, 21, 40, 41, 60)] == [0, 0, 1, 1, 2, 2]
    for height in (0, 61):
        with pytest.raises(InvalidError, match="no proven authority set"):
            proven.at(Height(height))
    with pytest.raises(InvalidError, match="another block"):
        proven.prove(CHAIN.blocks[10].header, CHAIN.certificates[12])


def test_certificates_of_the_old_domain_count_only_up_to_the_restart_height() -> None:
    """Era 2 restarts at height 43: blocks above need the file's set and domain."""
    restart = Hash32(b"\x55" * 32)
    fresh = Authorities(range(50, 54), restart)
    proven = ProvenSets(
        CHAIN.timing,
        Span(Height(41), Era(2), CHAIN.domain, CHAIN.eras[2].set),
        lambda data, before: RestartPoint(Height(43), fresh.set, restart),
    )
    following = CHAIN.eras[2].set
    header = replace(
        CHAIN.blocks[44].header,
        height=Height(60),
        authorities_hash=fresh.set.hash,
        next_authorities_hash=following.hash,
    )
    words = replace(CHAIN.certificates[45].statement, block_hash=Block(header, Body(None, (), ())).hash)
    right = fresh.certificate(words, domain=VoteDomain(CHAIN.genesis, restart))
    old_domain = fresh.certificate(words)
    with pytest.raises(InvalidError, match="wrong signature"):
        proven.extend(EraProof(header, old_domain, following, (b"file",)))
    assert proven.era == 2
    proven.extend(EraProof(header, right, following, (b"file",)))
    assert proven.at(Height(43)).domain == CHAIN.domain
    assert proven.at(Height(44)).domain == VoteDomain(CHAIN.genesis, restart)
    assert proven.prove(CHAIN.blocks[42].header, CHAIN.certificates[43]).height == 43
    with pytest.raises(InvalidError, match="another authority set"):
        proven.prove(CHAIN.blocks[43].header, CHAIN.certificates[44])


def test_batches_end_on_era_boundaries_and_on_multiples_of_the_batch_size() -> None:
    plan = RangePlan(Height(15), Height(205), 100)
    ends = []
    while (batch := plan.to_download()) is not None:
        ends.append((batch.first, batch.last))
        plan.start_download(batch, PeerId("p"))
    assert ends == [(15, 64), (65, 100), (101, 128), (129, 192), (193, 200), (201, 205)]
