"""Reach reports: several probers' measurements merged, and what a liar or a flood can do to them (AXON R31)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, InvalidError, MalformedError, Micros
from yumad.protocols.axon.reach_reports import (
    LEAST_SPACING,
    MAX_LATENCY_MS,
    MAX_PROBERS,
    MAX_REPORT_BYTES,
    MAX_TARGETS,
    RELAYED_REPORTS,
    REPORT_LIFETIME,
    Reach,
    ReachBook,
    ReachGossip,
    ReachReport,
    decode_report,
    encode_report,
    make_report,
)
from yumad.protocols.axon.records import MAX_AHEAD
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import GossipVerdict, PeerId

GENESIS = Hash32(bytes.fromhex("ab" * 32))
NOW = Micros(1_700_000_000_000_000)
PROBERS = [KeyPair(bytes([number]) * 32) for number in range(1, 90)]
ALICE, BOB = AccountId(b"\x0a" * 32), AccountId(b"\x0b" * 32)


def account(key: KeyPair) -> AccountId:
    return AccountId(key.public_key)


def report(prober: int, latencies: dict[AccountId, int | None], at: int = 0, *, netuid: int = 1) -> ReachReport:
    """A report taken `at` microseconds after NOW."""
    return make_report(GENESIS, PROBERS[prober], netuid, latencies, Micros(NOW + at))


def book(permitted: int = len(PROBERS)) -> ReachBook:
    """A book that listens to the first probers, in subnets 1 and 2."""
    known = {account(key) for key in PROBERS[:permitted]}
    return ReachBook(GENESIS, lambda netuid, hotkey: netuid in (1, 2) and hotkey in known)


def test_r31_report_survives_a_round_trip_and_stays_below_its_bound() -> None:
    latencies: dict[AccountId, int | None] = {
        AccountId(number.to_bytes(32, "big")): number for number in range(1, MAX_TARGETS + 10)
    }
    made = report(0, latencies)
    assert len(made.latencies) == MAX_TARGETS
    assert decode_report(encode_report(made)) == made
    slowest = report(0, dict.fromkeys(latencies, 10**9))
    assert set(slowest.latencies.values()) == {MAX_LATENCY_MS}
    assert len(encode_report(slowest)) <= MAX_REPORT_BYTES


def test_r31_reach_is_a_count_of_probers_and_their_median() -> None:
    held = book()
    for prober, ms in enumerate((10, 30, 500)):
        assert held.add(report(prober, {ALICE: ms, BOB: None}), NOW) == "accept"
    assert held.add(report(3, {ALICE: None}), NOW) == "accept"
    assert held.reach(1, ALICE, NOW) == Reach(reached_by=3, probers=4, latency_ms=30)
    assert held.reach(1, BOB, NOW) == Reach(reached_by=0, probers=3, latency_ms=None)
    assert held.reach(1, AccountId(bytes(32)), NOW) == Reach()
    assert held.reach(2, ALICE, NOW) == Reach()
    assert held.reach_of_all(1, (ALICE, BOB), NOW)[BOB].probers == 3


def test_r31_newer_report_replaces_and_an_older_one_cannot_be_replayed() -> None:
    held = book()
    held.add(report(0, {ALICE: 10}), NOW)
    later = Micros(NOW + LEAST_SPACING)
    assert held.add(report(0, {ALICE: None}, LEAST_SPACING), later) == "accept"
    assert held.add(report(0, {ALICE: 10}), later) == "older"
    assert held.reach(1, ALICE, later) == Reach(0, 1, None)
    assert len(held) == 1


def test_r31_report_expires() -> None:
    held = book()
    held.add(report(0, {ALICE: 10}), NOW)
    later = Micros(NOW + REPORT_LIFETIME)
    assert held.reach(1, ALICE, Micros(later - 1)).probers == 1
    assert held.reach(1, ALICE, later) == Reach()
    assert held.add(report(1, {ALICE: 10}), later) == "expired"
    assert held.add(report(1, {ALICE: 10}, MAX_AHEAD + 1), NOW) == "from_the_future"
    held.prune(later)
    assert len(held) == 0


def test_r31_prober_without_a_permit_has_no_voice_and_one_that_lost_it_is_forgotten() -> None:
    assert book(permitted=1).add(report(1, {ALICE: 10}), NOW) == "unregistered"
    known = {account(PROBERS[0])}
    changing = ReachBook(GENESIS, lambda netuid, hotkey: hotkey in known)
    changing.add(report(0, {ALICE: 10}), NOW)
    known.clear()
    changing.prune(NOW)
    assert changing.reach(1, ALICE, NOW) == Reach()


def test_r31_forged_report_is_refused() -> None:
    held = book()
    for forged in (
        replace(report(0, {ALICE: 10}), prober=account(PROBERS[1])),
        replace(report(0, {ALICE: 10}), latencies={ALICE: None}),
        replace(report(0, {ALICE: 10}), netuid=2),
        make_report(Hash32(bytes(32)), PROBERS[0], 1, {ALICE: 10}, NOW),
    ):
        with pytest.raises(InvalidError) as refused:
            held.add(forged, NOW)
        assert refused.value.code == "bad_signature"
    assert len(held) == 0


def test_r31_prober_that_reports_too_often_is_not_relayed_and_the_book_is_bounded() -> None:
    held = book()
    held.add(report(0, {ALICE: 10}), NOW)
    assert held.add(report(0, {ALICE: 11}, LEAST_SPACING - 1), NOW) == "too_often"
    for prober in range(1, MAX_PROBERS):
        held.add(report(prober, {ALICE: 10}, prober), NOW)
    assert held.add(report(MAX_PROBERS, {ALICE: 10}, 1000), NOW) == "accept"
    assert len(held) == MAX_PROBERS
    assert held.add(report(0, {ALICE: 10}), NOW) == "full"


@given(st.binary(max_size=300))
def test_r31_any_bytes_are_a_report_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_report(data)


class _Penalties:
    def __init__(self) -> None:
        self.offences: list[Offence] = []

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append(offence)

    def useful(self, peer: PeerId) -> None: ...


class _Clock:
    def now(self) -> Micros:
        return NOW


def test_r31_hostile_neighbour_pays_for_forgeries_and_is_cut_when_it_floods() -> None:
    penalties, sender = _Penalties(), PeerId("sender")
    transport = MemoryTransport(MemoryNetwork(random.Random(1)), PeerId("own"))
    gossip = ReachGossip(transport, NetworkNames.of(GENESIS), book(), _Clock(), penalties, seconds=lambda: 0.0)
    good = encode_report(report(0, {ALICE: 10}))
    assert gossip.validate(sender, good) is GossipVerdict.ACCEPT
    assert gossip.validate(sender, good) is GossipVerdict.IGNORE
    forged = encode_report(replace(report(1, {ALICE: 10}), netuid=2))
    for bad in (forged, b"", good[:-1], bytes(MAX_REPORT_BYTES + 1)):
        assert gossip.validate(sender, bad) is GossipVerdict.REJECT
    assert penalties.offences == [Offence.MALFORMED] * 4
    for _ in range(RELAYED_REPORTS.units):
        gossip.validate(sender, good)
    assert gossip.counters["flood"] == 3
    assert gossip.counters["bad_signature"] == 1
