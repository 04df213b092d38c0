"""The ledger's numbers (CHAIN 2.3) and how they are applied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_doubles import FixedClock
from yumad.protocols.peer_ledger import (
    BAN_SECONDS,
    DISCONNECT_SECONDS,
    FATAL_BAN_SECONDS,
    FLOOR,
    HALF_LIFE,
    USEFUL_CAP,
    LedgerRow,
    Offence,
    PeerLedger,
    Standing,
)
from yumad.protocols.penalties import LedgerEnforcer
from yumad.protocols.transport import PeerId

A = PeerId("a")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def ledger(clock: FixedClock) -> PeerLedger:
    return PeerLedger(clock)


def test_score_halves_in_ten_minutes_and_never_by_a_clock_that_steps_back(
    ledger: PeerLedger, clock: FixedClock
) -> None:
    ledger.offend(A, Offence.BAD_REPLY)
    clock.time += int(HALF_LIFE * 1e6)
    assert ledger.score(A) == pytest.approx(-5)
    clock.time -= int(3 * HALF_LIFE * 1e6)
    assert ledger.score(A) == pytest.approx(-10)
    ledger.offend(A, Offence.SLOW)
    assert ledger.score(A) == pytest.approx(-11)


def test_standing_follows_the_thresholds(ledger: PeerLedger) -> None:
    standings = [ledger.offend(A, Offence.BAD_REPLY) for _ in range(6)]
    assert standings == [Standing.GOOD] * 2 + [Standing.DISCONNECT] * 3 + [Standing.BAN]
    assert ledger.banned_for(A) == BAN_SECONDS


def test_ban_ends_and_the_score_has_recovered_by_then(ledger: PeerLedger, clock: FixedClock) -> None:
    for _ in range(6):
        ledger.offend(A, Offence.BAD_REPLY)
    clock.time += int(BAN_SECONDS * 1e6)
    assert ledger.banned_for(A) == 0
    assert ledger.score(A) == pytest.approx(-7.5)


@pytest.mark.parametrize("offence", [offence for offence in Offence if offence.cost is None])
def test_fatal_offence_bans_for_twelve_hours_however_good_the_peer_was(ledger: PeerLedger, offence: Offence) -> None:
    for _ in range(100):
        ledger.useful(A)
    assert ledger.offend(A, offence) is Standing.BAN
    assert ledger.banned_for(A) == FATAL_BAN_SECONDS
    assert ledger.score(A) == FLOOR


def test_useful_deliveries_buy_little(ledger: PeerLedger) -> None:
    for _ in range(1000):
        ledger.useful(A)
    assert ledger.score(A) == USEFUL_CAP
    standings = [ledger.offend(A, Offence.BAD_PROPOSAL) for _ in range(5)]
    assert standings[-1] is Standing.DISCONNECT


def test_every_offence_has_the_cost_of_its_class() -> None:
    assert {offence.label for offence in Offence if offence.cost is None} == {
        "bad_certificate",
        "bad_vote_signature",
        "unknown_authority",
        "bad_snapshot_part",
        "block_contradicts_certificate",
        "wrong_genesis",
    }
    assert {offence.cost for offence in Offence} == {None, 10.0, 5.0, 1.0}


def test_entries_are_bounded_and_connected_or_banned_peers_stay(clock: FixedClock) -> None:
    ledger = PeerLedger(clock, most=10)
    ledger.connected(A)
    ledger.offend(PeerId("banned"), Offence.BAD_CERTIFICATE)
    for number in range(100):
        ledger.offend(PeerId(f"peer{number}"), Offence.SLOW)
    assert len(ledger) == 10
    assert ledger.banned_for(PeerId("banned")) > 0
    assert ledger.score(PeerId("peer99")) < 0
    ledger.disconnected(A)
    for number in range(100):
        ledger.offend(PeerId(f"bad{number}"), Offence.WRONG_GENESIS)
    assert len(ledger) == 10


def test_rows_survive_a_restart(ledger: PeerLedger, clock: FixedClock) -> None:
    ledger.offend(A, Offence.BAD_REPLY)
    ledger.offend(PeerId("b"), Offence.WRONG_GENESIS)
    ledger.connected(PeerId("clean"))
    rows = ledger.export()
    assert {row.peer for row in rows} == {"a", "b"}
    clock.time += int(HALF_LIFE * 1e6)
    again = PeerLedger(clock)
    again.restore(rows)
    assert again.score(A) == pytest.approx(-5)
    assert again.banned_for(PeerId("b")) == FATAL_BAN_SECONDS - HALF_LIFE


def test_damaged_rows_cannot_ban_for_ever_or_exceed_the_bounds(ledger: PeerLedger, clock: FixedClock) -> None:
    ledger.restore([LedgerRow(A, -(10**9), type(clock.now())(2**62), type(clock.now())(2**62))])
    assert ledger.score(A) == FLOOR
    assert ledger.banned_for(A) == FATAL_BAN_SECONDS


@given(st.lists(st.tuples(st.sampled_from([*Offence, None]), st.integers(0, 10**10)), max_size=60))
def test_score_stays_inside_its_bounds(steps: list[tuple[Offence | None, int]]) -> None:
    clock = FixedClock()
    ledger = PeerLedger(clock)
    for offence, pause in steps:
        clock.time += pause
        if offence is None:
            ledger.useful(A)
        else:
            ledger.offend(A, offence)
        assert FLOOR <= ledger.score(A) <= USEFUL_CAP


class RecordedTransport:
    def __init__(self) -> None:
        self.bans: list[tuple[PeerId, float]] = []

    def ban(self, peer: PeerId, seconds: float) -> None:
        self.bans.append((peer, seconds))


def test_enforcer_drops_and_bans_through_the_transport(ledger: PeerLedger) -> None:
    transport = RecordedTransport()
    enforcer = LedgerEnforcer(ledger, transport)  # type: ignore[arg-type]
    for _ in range(3):
        enforcer.offend(A, Offence.BAD_REPLY)
    enforcer.offend(PeerId("b"), Offence.BAD_CERTIFICATE)
    assert transport.bans == [(A, DISCONNECT_SECONDS), (PeerId("b"), FATAL_BAN_SECONDS)]
    assert enforcer.offences == {"bad_reply": 3, "bad_certificate": 1}
    transport.bans.clear()
    enforcer.reapply()
    assert transport.bans == [(PeerId("b"), FATAL_BAN_SECONDS)]


def test_what_the_transport_reports_is_booked_once_and_slowness_is_cheap(ledger: PeerLedger) -> None:
    enforcer = LedgerEnforcer(ledger, transport=None)  # type: ignore[arg-type]
    enforcer.misbehaved(A, "gossip rejected")
    assert enforcer.offences == {}
    enforcer.misbehaved(A, "too much unread data")
    enforcer.misbehaved(A, "answers pile up unread")
    enforcer.misbehaved(A, "malformed gossip")
    assert enforcer.offences == {"flood": 2, "malformed": 1}
