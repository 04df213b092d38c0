"""Each validator's verdicts (CHAIN 7 relay bounds, CHAIN 1.3 R0, CHAIN 3 verdicts)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_doubles import (
    GENESIS,
    TIMING,
    TX_DOMAIN,
    Authorities,
    FakeView,
    FixedClock,
    MadeChain,
    RecordedPenalties,
    key,
    propose,
    statement,
)
from yumad.consensus.authority import era_seed
from yumad.consensus.block import Block, Body, Proposal, encode_proposal
from yumad.consensus.certificate import encode_certificate
from yumad.consensus.evidence import encode_evidence, make_evidence
from yumad.consensus.leader import leader_index
from yumad.consensus.statement import Kind
from yumad.consensus.transaction import (
    Transaction,
    TransactionDomain,
    encode_transaction,
    sign_transaction,
    transaction_bytes_hash,
)
from yumad.consensus.types import Era, Hash32, Signature, Slot, View
from yumad.protocols.gossip_messages import TransactionBatch, decode_batch, encode_batch
from yumad.protocols.gossip_validators import Validators
from yumad.protocols.limits import ANNOUNCEMENTS, HELD_PROPOSAL_BYTES, MAX_BATCH, MAX_EVIDENCE_GOSSIP
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import GossipVerdict, PeerId

ACCEPT, IGNORE, REJECT = GossipVerdict.ACCEPT, GossipVerdict.IGNORE, GossipVerdict.REJECT
A, B = PeerId("a"), PeerId("b")
FOUR = Authorities(range(4), era_seed(GENESIS, Era(0), None))
BLOCK = MadeChain().grow(1).blocks[0]


class Gate:
    """A pool whose answer a test sets."""

    def __init__(self) -> None:
        self.verdict = ACCEPT

    def judge(self, transaction: Transaction, bytes_hash: Hash32, size: int) -> GossipVerdict:
        return self.verdict


class Setting:
    def __init__(self) -> None:
        self.view = FakeView({0: FOUR.set})
        self.penalties = RecordedPenalties()
        self.gate = Gate()
        self.clock = FixedClock()
        self.time = 0.0
        self.validators = Validators(self.view, self.clock, self.penalties, gate=self.gate, seconds=lambda: self.time)

    @property
    def offences(self) -> list[Offence]:
        return [offence for _, offence in self.penalties.offences]


@pytest.fixture
def setting() -> Setting:
    return Setting()


def resealed(block: Block, **header: object) -> Block:
    return Block(replace(block.header, **header), block.body)  # type: ignore[arg-type]


# --- proposals -------------------------------------------------------------------------------------------------------


def test_proposal_of_the_leader_is_relayed_and_queued_once(setting: Setting) -> None:
    data = encode_proposal(propose(FOUR, BLOCK, 1))
    assert setting.validators.proposal(A, data) is ACCEPT
    assert setting.validators.proposal(B, data) is IGNORE
    assert len(setting.validators.proposals) == 1
    assert setting.offences == []
    assert setting.validators.counters == {"proposal/accept": 1, "proposal/duplicate": 1}


@pytest.mark.parametrize("view", [2])
def test_proposal_of_the_next_view_is_taken(setting: Setting, view: int) -> None:
    assert setting.validators.proposal(A, encode_proposal(propose(FOUR, BLOCK, view))) is ACCEPT


@pytest.mark.parametrize(("view", "era"), [(3, 0), (50, 0), (1, 1)])
def test_proposal_of_another_view_or_era_is_ignored(setting: Setting, view: int, era: int) -> None:
    assert setting.validators.proposal(A, encode_proposal(propose(FOUR, BLOCK, view, era=era))) is IGNORE
    assert setting.offences == []


def test_proposal_with_an_altered_body_costs_the_sender_and_does_not_block_the_right_one(setting: Setting) -> None:
    right = propose(FOUR, BLOCK, 1)
    altered = Proposal(right.signed, Block(BLOCK.header, Body(None, (), (b"other",))))
    assert setting.validators.proposal(A, encode_proposal(altered)) is REJECT
    assert setting.penalties.offences == [(A, Offence.BAD_PROPOSAL)]
    assert setting.validators.proposal(B, encode_proposal(right)) is ACCEPT


def test_proposal_wrongly_signed_or_by_another_than_the_leader_is_rejected(setting: Setting) -> None:
    right = propose(FOUR, BLOCK, 1)
    forged = Proposal(replace(right.signed, signature=Signature(bytes(64))), BLOCK)
    assert setting.validators.proposal(A, encode_proposal(forged)) is REJECT
    other = (leader_index(FOUR.set, 1) + 1) % 4
    usurped = Proposal(FOUR.sign(other, right.signed.statement), BLOCK)
    assert setting.validators.proposal(A, encode_proposal(usurped)) is REJECT
    assert setting.offences == [Offence.BAD_PROPOSAL] * 2


def test_proposal_from_the_future_is_ignored_until_its_slot(setting: Setting) -> None:
    slot = TIMING.slot_at(setting.clock.now()) + 2
    data = encode_proposal(propose(FOUR, resealed(BLOCK, slot=Slot(slot)), 1))
    assert setting.validators.proposal(A, data) is IGNORE
    setting.clock.time = TIMING.start_of(slot)
    assert setting.validators.proposal(A, data) is ACCEPT


def test_second_proposal_of_a_view_becomes_evidence_once_and_is_not_relayed(setting: Setting) -> None:
    proposals = [propose(FOUR, resealed(BLOCK, signal=n), 1) for n in range(4)]
    verdicts = [setting.validators.proposal(A, encode_proposal(item)) for item in proposals]
    assert verdicts == [ACCEPT, IGNORE, IGNORE, IGNORE]
    assert len(setting.validators.proposals) == 1
    assert len(setting.validators.evidence) == 1
    assert setting.offences == []


async def test_evidence_that_finds_its_queue_full_is_made_again_later(setting: Setting) -> None:
    proposals = [propose(FOUR, resealed(BLOCK, signal=n), 1) for n in range(3)]
    evidence = make_evidence(proposals[1].signed, proposals[2].signed)
    while setting.validators.evidence.put(evidence, MAX_EVIDENCE_GOSSIP):
        pass
    for proposal in proposals[:2]:
        setting.validators.proposal(A, encode_proposal(proposal))
    while len(setting.validators.evidence):
        await setting.validators.evidence.get()
    assert setting.validators.proposal(A, encode_proposal(proposals[2])) is IGNORE
    assert len(setting.validators.evidence) == 1


def test_forged_second_proposal_makes_no_evidence(setting: Setting) -> None:
    setting.validators.proposal(A, encode_proposal(propose(FOUR, BLOCK, 1)))
    second = propose(FOUR, resealed(BLOCK, signal=9), 1)
    forged = Proposal(replace(second.signed, signature=Signature(bytes(64))), second.block)
    assert setting.validators.proposal(A, encode_proposal(forged)) is REJECT
    assert len(setting.validators.evidence) == 0


def test_held_proposals_stay_within_their_bytes(setting: Setting) -> None:
    big = Body(None, (), tuple(bytes([n]) * 60_000 for n in range(8)))
    from yumad.consensus.block import tx_root

    block = Block(replace(BLOCK.header, tx_root=tx_root(big)), big)
    verdicts = []
    for view in range(1, 25):
        setting.view.view = View(view)
        verdicts.append(setting.validators.proposal(A, encode_proposal(propose(FOUR, block, view))))
    assert verdicts.count(ACCEPT) == 17
    assert verdicts[-1] is IGNORE
    assert setting.validators.proposals.bytes_held <= HELD_PROPOSAL_BYTES
    assert setting.validators.counters["proposal/queue_full"] == 7


# --- finality --------------------------------------------------------------------------------------------------------


def test_finality_certificate_is_relayed_once_per_view(setting: Setting) -> None:
    one = FOUR.certificate(statement(Kind.FINALIZE, 1), without=1)
    other_signers = FOUR.certificate(statement(Kind.FINALIZE, 1))
    assert setting.validators.finality(A, encode_certificate(one)) is ACCEPT
    assert setting.validators.finality(B, encode_certificate(other_signers)) is IGNORE
    assert len(setting.validators.certificates) == 1


def test_finality_below_f_or_of_another_era_is_ignored(setting: Setting) -> None:
    setting.view.finalised_view = View(3)
    assert setting.validators.finality(A, encode_certificate(FOUR.certificate(statement(Kind.FINALIZE, 3)))) is IGNORE
    later = FOUR.certificate(statement(Kind.FINALIZE, 4, era=1))
    assert setting.validators.finality(A, encode_certificate(later)) is IGNORE
    assert setting.offences == []


def test_bad_finality_certificate_is_fatal(setting: Setting) -> None:
    weak = FOUR.certificate(statement(Kind.FINALIZE, 1), without=2)
    assert setting.validators.finality(A, encode_certificate(weak)) is REJECT
    good = FOUR.certificate(statement(Kind.FINALIZE, 1))
    forged = replace(good, signatures=(Signature(bytes(64)), *good.signatures[1:]))
    assert setting.validators.finality(A, encode_certificate(forged)) is REJECT
    assert setting.offences == [Offence.BAD_CERTIFICATE] * 2


def test_other_certificates_do_not_belong_on_the_finality_topic(setting: Setting) -> None:
    data = encode_certificate(FOUR.certificate(statement(Kind.NULLIFY, 1)))
    assert setting.validators.finality(A, data) is REJECT
    assert setting.offences == [Offence.MALFORMED]


# --- evidence --------------------------------------------------------------------------------------------------------


def offence_of(index: int, view: int = 1, era: int = 0) -> bytes:
    votes = [FOUR.sign(index, statement(Kind.NOTARIZE, view, era=era, block=Hash32(bytes([n]) * 32))) for n in (1, 2)]
    return encode_evidence(make_evidence(*votes))


def test_evidence_is_relayed_once_per_key_and_era(setting: Setting) -> None:
    setting.view.sets[1] = FOUR.set
    assert setting.validators.evidence_item(A, offence_of(0)) is ACCEPT
    assert setting.validators.evidence_item(A, offence_of(0, view=2)) is IGNORE
    assert setting.validators.evidence_item(A, offence_of(1)) is ACCEPT
    assert setting.validators.evidence_item(A, offence_of(0, era=1)) is ACCEPT
    assert setting.validators.evidence_item(A, offence_of(0, era=9)) is IGNORE
    assert setting.offences == []


def test_legal_pair_or_forged_evidence_is_rejected(setting: Setting) -> None:
    legal = make_evidence(FOUR.sign(0, statement(Kind.NOTARIZE, 1)), FOUR.sign(0, statement(Kind.NULLIFY, 1)))
    assert setting.validators.evidence_item(A, encode_evidence(legal)) is REJECT
    forged = bytearray(offence_of(0))
    forged[-1] ^= 1
    assert setting.validators.evidence_item(A, bytes(forged)) is REJECT
    assert setting.offences == [Offence.BAD_EVIDENCE] * 2


# --- transactions ----------------------------------------------------------------------------------------------------


def transaction(nonce: int, domain: TransactionDomain = TX_DOMAIN, size: int = 0) -> bytes:
    return encode_transaction(
        sign_transaction(domain, key(1), nonce=nonce, valid_until=100, call=1, args=[bytes(size)])
    )


def batch(*items: bytes, announced: tuple[Hash32, ...] = ()) -> bytes:
    return encode_batch(TransactionBatch(items, announced))


def test_batch_is_relayed_when_it_brings_something_new(setting: Setting) -> None:
    assert setting.validators.batch(A, batch(transaction(0), transaction(1))) is ACCEPT
    assert setting.validators.batch(A, batch(transaction(1))) is IGNORE
    assert setting.validators.batch(A, batch(transaction(1), transaction(2))) is ACCEPT
    assert len(setting.validators.transactions) == 3


def test_batch_with_a_wrong_signature_is_rejected_and_the_right_bytes_are_still_accepted(setting: Setting) -> None:
    right = transaction(0)
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    assert setting.validators.batch(A, batch(wrong)) is REJECT
    assert setting.offences == [Offence.INVALID_TRANSACTION]
    assert setting.validators.batch(A, batch(right)) is ACCEPT


def test_transaction_of_the_former_rules_is_ignored_and_of_other_rules_rejected(setting: Setting) -> None:
    former = TransactionDomain(GENESIS, b"old!")
    assert setting.validators.batch(A, batch(transaction(0, former))) is REJECT
    setting.view.previous_transaction_domain = former
    assert setting.validators.batch(A, batch(transaction(1, former))) is IGNORE
    assert setting.validators.batch(A, batch(transaction(2, TransactionDomain(GENESIS, b"oth!")))) is REJECT


def test_pool_verdict_comes_before_the_signature(setting: Setting) -> None:
    wrong = transaction(0)[:-1] + b"\0"
    setting.gate.verdict = IGNORE
    assert setting.validators.batch(A, batch(wrong)) is IGNORE
    setting.gate.verdict = REJECT
    assert setting.validators.batch(A, batch(wrong)) is REJECT


def test_announcements_are_queued_once_and_have_a_quota(setting: Setting) -> None:
    def names(start: int) -> tuple[Hash32, ...]:
        return tuple(Hash32(n.to_bytes(32, "big")) for n in range(start, start + MAX_BATCH))

    assert setting.validators.batch(A, batch(announced=names(0))) is ACCEPT
    assert setting.validators.batch(B, batch(announced=names(0))) is IGNORE
    verdicts = [setting.validators.batch(A, batch(announced=names(n * 100))) for n in range(1, 20)]
    assert verdicts.count(ACCEPT) == ANNOUNCEMENTS.units // MAX_BATCH - 1
    setting.time = float(ANNOUNCEMENTS.seconds)
    assert setting.validators.batch(A, batch(announced=names(9000))) is ACCEPT
    assert setting.offences == []


def test_known_transaction_is_not_pulled_when_announced(setting: Setting) -> None:
    setting.validators.batch(A, batch(transaction(0)))
    assert setting.validators.batch(A, batch(announced=(transaction_bytes_hash(transaction(0)),))) is IGNORE


# --- bytes from strangers --------------------------------------------------------------------------------------------

TOPICS = ("proposal", "finality", "evidence_item", "batch")


@pytest.mark.parametrize("topic", TOPICS)
def test_oversized_bytes_are_rejected_by_size(setting: Setting, topic: str) -> None:
    assert getattr(setting.validators, topic)(A, bytes(999_999)) is REJECT
    assert setting.offences == [Offence.MALFORMED]


@given(st.sampled_from(TOPICS), st.binary(max_size=300))
def test_random_bytes_are_rejected_and_nothing_raises(topic: str, data: bytes) -> None:
    setting = Setting()
    assert getattr(setting.validators, topic)(A, data) is REJECT


@given(st.data())
def test_mutated_messages_never_raise_and_never_pass_unnoticed(data: st.DataObject) -> None:
    setting = Setting()
    originals = {
        "proposal": encode_proposal(propose(FOUR, BLOCK, 1)),
        "finality": encode_certificate(FOUR.certificate(statement(Kind.FINALIZE, 1), without=1)),
        "evidence_item": offence_of(0),
        "batch": batch(transaction(0)),
    }
    topic = data.draw(st.sampled_from(TOPICS))
    raw = bytearray(originals[topic])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert getattr(setting.validators, topic)(A, bytes(raw)) is not ACCEPT


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10, unique=True), st.integers(0, 20))
def test_batch_survives_a_round_trip(items: list[bytes], announced: int) -> None:
    names = tuple(Hash32(n.to_bytes(32, "big")) for n in range(announced))
    if items or names:
        whole = TransactionBatch(tuple(items), names)
        assert decode_batch(encode_batch(whole)) == whole
