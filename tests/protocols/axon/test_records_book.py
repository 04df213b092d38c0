"""The book of service records against all that a stranger may send (AXON R33, R34; complaint C8)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, InvalidError, MalformedError, Micros
from yumad.protocols.axon.record_book import HOTKEY_RECORDS, MAX_PEERS_PER_HOTKEY, RecordBook
from yumad.protocols.axon.records import RECORD_LIFETIME, OfferedMethod, ServiceRecord, make_record
from yumad.protocols.axon.sealed_addresses import boxes_hash, seal_addresses
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.transport import PeerId

GENESIS = Hash32(bytes.fromhex("ab" * 32))
NOW = Micros(1_700_000_000_000_000)
SECOND = 1_000_000
HOTKEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 8)]
NAMES = [AccountId(key.public_key) for key in HOTKEYS]
PEERS = [peer_id_of(KeyPair(bytes([number]) * 32).public_key) for number in range(100, 120)]
DIRECT = "/ip4/203.0.113.7/tcp/30333"


def record(
    hotkey: int = 0, peer: PeerId = PEERS[0], at: int = 0, *, netuid: int = 1, withdrawn: bool = False
) -> ServiceRecord:
    """A record of a registered hotkey, made `at` seconds after NOW."""
    methods = () if withdrawn else (OfferedMethod("echo"),)
    made = Micros(NOW + at * SECOND)
    return make_record(GENESIS, HOTKEYS[hotkey], netuid, peer, methods, made, addresses=(DIRECT,))


def book(most: int = 100, most_bytes: int = 1 << 20, registered: int = 6) -> RecordBook:
    """A book in which the first hotkeys are registered in subnet 1 and 2."""
    known = set(NAMES[:registered])
    return RecordBook(
        GENESIS, lambda netuid, hotkey: netuid in (1, 2) and hotkey in known, most=most, most_bytes=most_bytes
    )


def test_r33_newest_record_of_a_peer_wins_and_an_older_one_cannot_be_replayed() -> None:
    held = book()
    assert held.add(record(at=0), b"", NOW) == "accept"
    assert held.add(record(at=30), b"", NOW) == "accept"
    assert held.add(record(at=0), b"", NOW) == "older"
    assert held.add(record(at=30), b"", NOW) == "older"
    (found,) = held.of(1, NAMES[0], NOW)
    assert found.record.sequence == NOW + 30 * SECOND
    assert len(held) == 1


def test_r33_withdrawn_service_is_gone_and_its_old_record_does_not_bring_it_back() -> None:
    held = book()
    held.add(record(at=0), b"", NOW)
    assert held.add(record(at=10, withdrawn=True), b"", NOW) == "accept"
    assert held.of(1, NAMES[0], NOW) == [] == held.hotkeys(1, NOW)
    assert held.add(record(at=0), b"", NOW) == "older"
    later = Micros(NOW + RECORD_LIFETIME + 9 * SECOND)
    assert held.add(record(at=0), b"", later) == "expired"


def test_r33_hotkey_that_is_not_registered_is_ignored_and_one_that_was_is_forgotten() -> None:
    held = book(registered=6)
    assert held.add(record(6), b"", NOW) == "unregistered"
    assert held.add(record(0, netuid=3), b"", NOW) == "unregistered"
    known = {NAMES[0]}
    changing = RecordBook(GENESIS, lambda netuid, hotkey: hotkey in known)
    assert changing.add(record(0), b"", NOW) == "accept"
    known.clear()
    assert changing.prune(NOW) == 1
    assert len(changing) == 0 == changing.bytes_held


def test_r33_forged_record_is_refused_and_does_not_use_up_the_hotkeys_allowance() -> None:
    held = book()
    forged = replace(record(at=1), addresses=("/ip4/198.51.100.66/tcp/1",))
    for _ in range(3 * HOTKEY_RECORDS.units):
        with pytest.raises(InvalidError) as refused:
            held.add(forged, b"", NOW)
        assert refused.value.code == "bad_signature"
    assert held.add(record(at=0), b"", NOW) == "accept"


def test_r33_expired_and_future_records_are_ignored_and_one_that_lives_too_long_is_a_lie() -> None:
    held = book()
    assert held.add(record(), b"", Micros(NOW + RECORD_LIFETIME)) == "expired"
    assert held.add(record(at=61), b"", NOW) == "from_the_future"
    with pytest.raises(InvalidError) as refused:
        held.add(replace(record(), expires=Micros(NOW + 3601 * SECOND)), b"", NOW)
    assert refused.value.code == "too_long"


def test_r34_hotkey_has_at_most_eight_peers_and_the_longest_silent_goes_first() -> None:
    held = book()
    for number in range(MAX_PEERS_PER_HOTKEY):
        assert held.add(record(peer=PEERS[number], at=number), b"", NOW) == "accept"
    assert held.add(record(peer=PEERS[8], at=20), b"", NOW) == "accept"
    peers = [found.record.peer for found in held.of(1, NAMES[0], NOW)]
    assert peers == [PEERS[8], *reversed(PEERS[1:8])]
    assert held.add(record(peer=PEERS[0], at=0), b"", NOW) == "older"
    assert len(held) == MAX_PEERS_PER_HOTKEY


def test_r34_one_peer_serves_many_hotkeys_in_several_subnets() -> None:
    held = book()
    for netuid in (1, 2):
        for hotkey in range(4):
            assert held.add(record(hotkey, netuid=netuid), b"", NOW) == "accept"
    assert held.hotkeys(1, NOW) == held.hotkeys(2, NOW) == sorted(NAMES[:4])


def test_r33_hotkey_that_floods_is_held_to_its_allowance() -> None:
    held = book()
    outcomes = [held.add(record(at=number), b"", NOW) for number in range(40)]
    assert outcomes.count("accept") == HOTKEY_RECORDS.units
    assert set(outcomes[HOTKEY_RECORDS.units :]) == {"too_often"}
    assert held.add(record(1), b"", NOW) == "accept"
    later = Micros(NOW + 16 * SECOND)
    assert held.add(record(at=60), b"", later) == "accept"


def test_r33_book_is_bounded_in_records_and_bytes_and_has_room_again_after_expiry() -> None:
    small = book(most=2)
    assert [small.add(record(hotkey), b"", NOW) for hotkey in range(3)] == ["accept", "accept", "full"]
    assert small.add(record(0, at=30), b"", NOW) == "accept"
    later = Micros(NOW + RECORD_LIFETIME)
    assert small.prune(later) == 1
    assert small.add(record(2, at=2000), b"", later) == "accept"
    size = book()
    size.add(record(), b"", NOW)
    narrow = book(most_bytes=size.bytes_held)
    assert [narrow.add(record(hotkey), b"", NOW) for hotkey in range(2)] == ["accept", "full"]


def test_r33_subnet_that_fills_the_book_leaves_room_for_the_records_of_another() -> None:
    flooded = book(most=8)
    flood = [record(hotkey, PEERS[peer], at=peer) for hotkey in range(4) for peer in range(4)]
    for one in flood:
        flooded.add(one, b"", NOW)
    assert [len(flooded.of(1, NAMES[hotkey], NOW)) for hotkey in range(4)] == [2, 2, 2, 2], "its hotkeys share evenly"
    for hotkey in range(4):
        assert flooded.add(record(hotkey, netuid=2), b"", NOW) == "accept"
    assert len(flooded.hotkeys(2, NOW)) == 4
    assert len(flooded) == 8
    assert [len(flooded.of(1, NAMES[hotkey], NOW)) for hotkey in range(4)] == [1, 1, 1, 1]
    assert flooded.add(record(0, PEERS[9], at=30), b"", NOW) == "full", "who has most pushes nobody out"
    assert flooded.add(record(4, netuid=1), b"", NOW) == "full"


def test_r33_forged_record_pushes_nobody_out_of_a_full_book() -> None:
    full = book(most=3)
    for peer in range(3):
        full.add(record(0, PEERS[peer]), b"", NOW)
    with pytest.raises(InvalidError):
        full.add(replace(record(1, netuid=2), addresses=()), b"", NOW)
    assert len(full.of(1, NAMES[0], NOW)) == 3
    assert full.add(record(1, netuid=2), b"", NOW) == "accept"
    assert len(full) == 3


def test_r33_book_that_is_short_of_bytes_takes_them_from_the_subnet_that_has_most() -> None:
    boxes = seal_addresses((DIRECT,), NAMES)
    methods = (OfferedMethod("echo"),)
    small = book(most_bytes=12_000)
    for peer in range(4):
        sealed = make_record(GENESIS, HOTKEYS[0], 1, PEERS[peer], methods, NOW, boxes_hash=boxes_hash(boxes))
        small.add(sealed, boxes, NOW)
    for hotkey in range(6):
        assert small.add(record(hotkey, netuid=2), b"", NOW) == "accept"
    assert small.bytes_held <= 12_000
    assert len(small.hotkeys(2, NOW)) == 6


def test_r33_sealed_record_needs_exactly_its_boxes() -> None:
    held = book()
    boxes = seal_addresses((DIRECT,), NAMES[:2])
    sealed = make_record(GENESIS, HOTKEYS[0], 1, PEERS[0], (OfferedMethod("echo"),), NOW, boxes_hash=boxes_hash(boxes))
    for wrong in (b"", seal_addresses((DIRECT,), NAMES[:2])):
        with pytest.raises(InvalidError, match="boxes"):
            held.add(sealed, wrong, NOW)
    with pytest.raises(InvalidError, match="open"):
        held.add(record(), boxes, NOW)
    rubbish = b"rubbish"
    named = make_record(GENESIS, HOTKEYS[0], 1, PEERS[0], (OfferedMethod("echo"),), NOW, boxes_hash=boxes_hash(rubbish))
    with pytest.raises(MalformedError):
        held.add(named, rubbish, NOW)
    assert held.add(sealed, boxes, NOW) == "accept"
    assert held.of(1, NAMES[0], NOW)[0].boxes == boxes


def test_r33_pages_are_in_order_of_hotkeys_and_never_split_one() -> None:
    held = book()
    for hotkey in range(5):
        for peer in range(2):
            held.add(record(hotkey, PEERS[peer], at=peer), b"", NOW)
    size = held.bytes_held // 10
    seen: list[bytes] = []
    after, more = b"", True
    while more:
        page, more = held.page(1, after, NOW, 4 * size)
        seen += [item.record.hotkey for item in page]
        after = seen[-1]
        assert len(page) in (2, 4)
    assert seen == sorted(seen)
    assert len(seen) == 10
    assert held.page(2, b"", NOW, 4 * size) == ([], False)
