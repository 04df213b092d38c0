"""The exchange's bookkeeping without streams (CHAIN 1.5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_doubles import GENESIS, Authorities, FakeView, statement
from yumad.consensus.authority import era_seed
from yumad.consensus.certificate import Certificate
from yumad.consensus.leader import leader_index
from yumad.consensus.statement import Kind, VoteDomain
from yumad.consensus.timing import VIEW_WINDOW
from yumad.consensus.types import Era, Hash32, MalformedError, Signature, View
from yumad.protocols.exchange_frames import (
    ExchangeFrame,
    Position,
    decode_exchange_frame,
    encode_exchange_frame,
)
from yumad.protocols.exchange_state import REPAIR_TICKS, ExchangeState
from yumad.protocols.limits import MAX_FRAME_BYTES, MAX_FRAME_ITEMS
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import PeerId

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")
FOUR = Authorities(range(4), era_seed(GENESIS, Era(0), None))


def world(**fields: object) -> tuple[FakeView, ExchangeState]:
    view = FakeView({0: FOUR.set, 1: FOUR.set}, **fields)  # type: ignore[arg-type]
    return view, ExchangeState(view)


def hello(state: ExchangeState, peer: PeerId, era: int = 0, finalised: int = 0, view: int = 1) -> None:
    """`peer` joins and says where it stands; our own position is said back."""
    state.join(peer)
    state.receive(peer, ExchangeFrame(Position(Era(era), View(finalised), View(view))))
    frame = state.next_frame(peer)
    assert frame is not None
    assert frame.statements == ()


def vote(index: int, view: int = 1, kind: Kind = Kind.NOTARIZE, **fields: object) -> object:
    return FOUR.sign(index, statement(kind, view, **fields))  # type: ignore[arg-type]


def frame_of(*items: object, finalised: int = 0, view: int = 1, era: int = 0) -> ExchangeFrame:
    certificates = tuple(item for item in items if hasattr(item, "signers"))
    statements = tuple(item for item in items if not hasattr(item, "signers"))
    return ExchangeFrame(Position(Era(era), View(finalised), View(view)), certificates, statements)  # type: ignore[arg-type]


def test_own_vote_is_sent_once_and_not_back_to_where_it_came_from() -> None:
    _, state = world()
    hello(state, A)
    hello(state, B)
    state.offer(vote(0))
    received = state.receive(A, frame_of(vote(1)))
    assert received.items == [vote(1)]
    to_a, to_b = state.next_frame(A), state.next_frame(B)
    assert to_a is not None and to_a.statements == (vote(0),)
    assert to_b is not None and to_b.statements == (vote(0), vote(1))
    assert state.next_frame(A) is None
    assert state.next_frame(B) is None


def test_nothing_is_sent_before_the_neighbour_has_said_where_it_stands() -> None:
    _, state = world()
    state.join(A)
    state.offer(vote(0))
    frame = state.next_frame(A)
    assert frame is not None and frame.statements == ()
    state.receive(A, frame_of())
    frame = state.next_frame(A)
    assert frame is not None and frame.statements == (vote(0),)


def test_certificate_covers_its_votes_but_not_late_finalize_votes() -> None:
    _, state = world()
    hello(state, A)
    for index in range(4):
        state.offer(vote(index))
        state.offer(vote(index, kind=Kind.FINALIZE))
    state.offer(FOUR.certificate(statement(Kind.NOTARIZE, 1), without=1))
    state.offer(FOUR.certificate(statement(Kind.FINALIZE, 1), without=1))
    frame = state.next_frame(A)
    assert frame is not None
    assert len(frame.certificates) == 2
    assert frame.statements == (vote(3, kind=Kind.FINALIZE),)


def test_certificates_come_first_then_the_current_view_then_older_then_later() -> None:
    _, state = world(view=View(5))
    hello(state, A, view=5)
    for number in (3, 7, 5, 4, 6):
        state.offer(vote(0, view=number, kind=Kind.NULLIFY))
    state.offer(FOUR.certificate(statement(Kind.NULLIFY, 2)))
    frame = state.next_frame(A)
    assert frame is not None
    assert [c.statement.view for c in frame.certificates] == [2]
    assert [s.statement.view for s in frame.statements] == [5, 4, 3, 6, 7]


def test_item_outside_the_receivers_window_is_sent_once_the_window_moves() -> None:
    _, state = world(view=View(100))
    hello(state, A, view=2)
    far = vote(0, view=100)
    state.offer(far)
    assert not state.has_news(A)
    state.receive(A, frame_of(view=100 - VIEW_WINDOW))
    frame = state.next_frame(A)
    assert frame is not None and frame.statements == (far,)


def test_item_of_another_era_is_neither_sent_nor_held() -> None:
    _, state = world(era=Era(1))
    hello(state, A, era=0)
    own = FOUR.sign(0, statement(Kind.NOTARIZE, 1, era=1))
    state.offer(own)
    assert not state.has_news(A)
    received = state.receive(A, frame_of(vote(0), era=0))
    assert received.items == [] and received.dropped == {"era": 1}
    state.receive(A, frame_of(era=1))
    frame = state.next_frame(A)
    assert frame is not None and frame.statements == (own,)


def test_older_f_gets_the_finality_certificate_after_a_grace_of_ticks() -> None:
    view, state = world(view=View(2))
    hello(state, A, view=2)
    final = FOUR.certificate(statement(Kind.FINALIZE, 1), without=1)
    view.finalised_view, view.certificates[0] = View(1), final
    frame = state.next_frame(A)
    assert frame is not None and frame.certificates == ()
    for _ in range(REPAIR_TICKS):
        state.tick()
    frame = state.next_frame(A)
    assert frame is not None and frame.certificates == (final,)
    assert state.tick() == []


def test_older_era_gets_the_certificate_of_its_boundary_at_once() -> None:
    view, state = world(era=Era(1))
    boundary = FOUR.certificate(statement(Kind.FINALIZE, 20, era=0), without=1)
    view.certificates[0] = boundary
    state.join(A)
    state.receive(A, frame_of(era=0, finalised=19, view=20))
    frame = state.next_frame(A)
    assert frame is not None and frame.certificates == (boundary,)
    _, behind = world(view=View(20), finalised_view=View(19))
    behind.join(B)
    assert behind.receive(B, frame).items == [boundary]


def test_laggard_of_the_previous_digest_gets_finality_only_and_is_not_believed() -> None:
    view, state = world(era=Era(1))
    boundary = FOUR.certificate(statement(Kind.FINALIZE, 20), without=1)
    view.certificates[0] = boundary
    state.join(A, repair_only=True)
    state.offer(FOUR.sign(0, statement(Kind.NOTARIZE, 1, era=1)))
    forged = replace(vote(1), signature=Signature(bytes(64)))  # type: ignore[type-var]
    received = state.receive(A, frame_of(forged, era=0, finalised=19, view=20))
    assert received.items == [] and received.offence is None
    frame = state.next_frame(A)
    assert frame is not None and frame.certificates == (boundary,) and frame.statements == ()


@pytest.mark.parametrize(
    ("item", "offence"),
    [
        (replace(vote(1), signature=Signature(bytes(64))), Offence.BAD_VOTE_SIGNATURE),  # type: ignore[type-var]
        (replace(vote(1), index=2), Offence.BAD_VOTE_SIGNATURE),  # type: ignore[type-var]
        (replace(vote(1), index=4), Offence.UNKNOWN_AUTHORITY),  # type: ignore[type-var]
        (FOUR.sign(1, statement(Kind.NOTARIZE, 1), VoteDomain(Hash32(bytes(32)))), Offence.BAD_VOTE_SIGNATURE),
        (FOUR.certificate(statement(Kind.NOTARIZE, 1), without=2), Offence.BAD_CERTIFICATE),
        (
            replace(
                FOUR.certificate(statement(Kind.NOTARIZE, 1), without=1),
                statement=statement(Kind.NOTARIZE, 1, block=Hash32(b"\1" * 32)),
            ),
            Offence.BAD_CERTIFICATE,
        ),
    ],
)
def test_wrongly_signed_item_is_fatal_and_what_came_before_it_is_kept(item: object, offence: Offence) -> None:
    _, state = world()
    hello(state, A)
    hello(state, B)
    received = state.receive(A, frame_of(vote(0), item, vote(3)))
    assert received.offence is offence
    assert vote(3) not in received.items
    frame = state.next_frame(B)
    sent = () if frame is None else (*frame.certificates, *frame.statements)
    assert item not in sent


def test_proposal_statement_of_another_than_the_leader_is_fatal() -> None:
    _, state = world()
    hello(state, A)
    leader = leader_index(FOUR.set, 1)
    assert state.receive(A, frame_of(vote(leader, kind=Kind.PROPOSE))).items
    other = vote((leader + 1) % 4, kind=Kind.PROPOSE)
    assert state.receive(A, frame_of(other)).offence is Offence.UNKNOWN_AUTHORITY


def test_one_conflicting_vote_is_passed_on_and_further_ones_are_dropped() -> None:
    _, state = world()
    hello(state, A)
    hello(state, B)
    votes = [vote(0, block=Hash32(bytes([n]) * 32)) for n in range(1, 5)]
    received = state.receive(A, frame_of(*votes))
    assert received.items == votes[:2]
    assert received.dropped == {"conflict": 2}
    assert state.held() == (2, 0)


def test_contradictory_certificate_reaches_the_engine_once_and_is_not_held() -> None:
    _, state = world()
    hello(state, A)
    one = FOUR.certificate(statement(Kind.NOTARIZE, 1), without=1)
    other = FOUR.certificate(statement(Kind.NOTARIZE, 1, block=Hash32(b"\2" * 32)), without=1)
    assert state.receive(A, frame_of(one)).items == [one]
    assert state.receive(A, frame_of(other)).items == [other]
    assert state.receive(A, frame_of(other)).items == []
    assert state.held() == (0, 1)


def test_other_signature_bytes_over_the_same_words_are_a_duplicate() -> None:
    _, state = world()
    hello(state, A)
    state.offer(vote(0))
    again = replace(vote(0), signature=Signature(b"\5" * 64))  # type: ignore[type-var]
    received = state.receive(A, frame_of(again))
    assert received.dropped == {"duplicate": 1}
    assert received.offence is None


def test_far_future_votes_take_no_memory_and_cost_no_signature_check() -> None:
    _, state = world()
    hello(state, A)
    far = [replace(vote(0, view=2 + VIEW_WINDOW + n), signature=Signature(bytes(64))) for n in range(50)]  # type: ignore[type-var]
    received = state.receive(A, frame_of(*far))
    assert received.dropped == {"window": 50}
    assert received.offence is None
    assert state.held() == (0, 0)


def test_finality_drops_what_lies_below_but_late_finalize_votes_stay() -> None:
    view, state = world(view=View(3))
    for index in range(4):
        for number in (1, 2, 3):
            state.offer(vote(index, view=number))
            state.offer(vote(index, view=number, kind=Kind.FINALIZE))
    view.finalised_view, view.view = View(2), View(4)
    state.prune()
    assert state.held()[0] == 4 + 8
    hello_frame = frame_of(vote(0, view=1, kind=Kind.FINALIZE), finalised=2, view=4)
    state.join(A)
    assert state.receive(A, hello_frame).dropped == {"window": 1}


def test_era_change_forgets_everything() -> None:
    view, state = world()
    hello(state, A)
    state.offer(vote(0))
    view.era, view.view, view.finalised_view = Era(1), View(1), View(0)
    state.prune()
    assert state.held() == (0, 0)
    assert state.has_news(A)


def test_frames_keep_both_caps_and_everything_arrives_in_the_end() -> None:
    many = Authorities(range(100), era_seed(GENESIS, Era(0), None))
    views = [FakeView({0: many.set}), FakeView({0: many.set})]
    sender, receiver = ExchangeState(views[0]), ExchangeState(views[1])
    sender.join(B)
    receiver.join(A)
    for number in range(1, 12):
        sender.offer(many.certificate(statement(Kind.NULLIFY, number), without=30))
    for index in range(100):
        sender.offer(many.sign(index, statement(Kind.NOTARIZE, 12)))
        sender.offer(many.sign(index, statement(Kind.NOTARIZE, 13)))
    sender.receive(B, frame_of())
    arrived = 0
    while (frame := sender.next_frame(B)) is not None:
        data = encode_exchange_frame(frame)
        assert len(data) <= MAX_FRAME_BYTES
        assert len(frame.certificates) + len(frame.statements) <= MAX_FRAME_ITEMS
        arrived += len(receiver.receive(A, decode_exchange_frame(data)).items)
    assert arrived == 11 + 200


@given(st.binary(max_size=400))
def test_random_bytes_are_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_exchange_frame(data)


@given(st.data())
def test_mutated_frame_is_refused_or_read_and_never_raises_anything_else(data: st.DataObject) -> None:
    frame = frame_of(vote(0), FOUR.certificate(statement(Kind.NULLIFY, 1)), vote(1, kind=Kind.NULLIFY))
    raw = bytearray(encode_exchange_frame(frame))
    assert decode_exchange_frame(bytes(raw)) == frame
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _, state = world()
    hello(state, A)
    try:
        decoded = decode_exchange_frame(bytes(raw))
    except MalformedError:
        return
    state.receive(A, decoded)


def test_laggard_costs_one_look_into_the_database_however_long_it_stays() -> None:
    looked: list[int] = []

    class Counting(FakeView):
        def finality(self, era: Era) -> Certificate | None:
            looked.append(era)
            return super().finality(era)

    state = ExchangeState(Counting({0: FOUR.set, 9: FOUR.set}, era=Era(9)))
    for number in range(10):
        peer = PeerId(f"peer{number}")
        state.join(peer)
        state.receive(peer, frame_of(era=number % 5))
        state.next_frame(peer)
    looked.clear()
    for _ in range(100):
        assert state.tick() == []
    assert looked == []


def test_flood_by_a_bad_authority_stays_within_the_window() -> None:
    """It signs two of everything for every view it may: what is held is bounded by the window, not by its zeal."""
    _, state = world()
    hello(state, A)
    for view in range(1, 300):
        items = [
            vote(0, view=view, kind=kind, block=Hash32(bytes([n]) * 32))
            for kind in (Kind.NOTARIZE, Kind.FINALIZE)
            for n in (1, 2, 3)
        ]
        state.receive(A, frame_of(*items))
    assert state.held() == ((1 + VIEW_WINDOW) * 4, 0)
