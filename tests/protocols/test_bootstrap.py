"""Bootstrap strings and trusted points (DESIGN decision 13, CHAIN 2.2 step 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_doubles import GENESIS, TIMING, key
from yumad.consensus.types import Hash32, Height, MalformedError, Micros, Slot
from yumad.protocols.bootstrap import Anchor, format_bootstrap, parse_anchor, parse_bootstrap
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.sync.trust import StaleAnchor, check_anchor_age

PEER = peer_id_of(key(1).public_key)
ADDRESS = f"/ip4/203.0.113.7/tcp/30333/p2p/{PEER}"
ANCHOR = Anchor(Height(18_000), Hash32(b"\x09" * 32))


@pytest.mark.parametrize("anchor", [None, ANCHOR])
def test_string_survives_a_round_trip(anchor: Anchor | None) -> None:
    bootstrap = parse_bootstrap(format_bootstrap(ADDRESS, GENESIS, anchor))
    assert (bootstrap.address, bootstrap.peer, bootstrap.anchor) == (ADDRESS, PEER, anchor)
    assert bootstrap.genesis_prefix == GENESIS
    assert bootstrap.matches(GENESIS)


@pytest.mark.parametrize("digits", [32, 33, 48, 64])
def test_every_digit_given_is_compared(digits: int) -> None:
    bootstrap = parse_bootstrap(f"  {ADDRESS}#{GENESIS.hex()[:digits].upper()}\n")
    assert bootstrap.matches(GENESIS)
    other = bytearray(GENESIS)
    other[(digits - 1) // 2] ^= 0xF0 if digits % 2 else 0x0F
    assert not bootstrap.matches(Hash32(bytes(other)))
    assert GENESIS.startswith(bootstrap.genesis_prefix)
    assert len(bootstrap.genesis_prefix) == digits // 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ADDRESS, "has no '#<genesis hash>'"),
        (f"{ADDRESS}#{GENESIS.hex()[:8]}", "has 8 digits, at least 32"),
        (f"{ADDRESS}#{GENESIS.hex()[:31]}", "has 31 digits, at least 32"),
        (f"{ADDRESS}#{GENESIS.hex()}0", "has 65 digits, at most 64"),
        (f"{ADDRESS}#{'g' * 64}", "not hexadecimal"),
        (f"/ip4/203.0.113.7/tcp/30333#{GENESIS.hex()}", "does not end in /p2p/"),
        (f"/ip4/203.0.113.7/tcp/30333/p2p/Qm0OIl#{GENESIS.hex()}", "not the id of a peer"),
        (f"/ip4/203.0.113.7/udp/30333/p2p/{PEER}#{GENESIS.hex()}", "expected /<kind>"),
        (f"{ADDRESS}#{GENESIS.hex()}@", "not HEIGHT:HASH"),
        (f"{ADDRESS}#{GENESIS.hex()}@0:{'00' * 32}", "not HEIGHT:HASH"),
        (f"{ADDRESS}#{GENESIS.hex()}@5:{'00' * 31}", "hash of 62 digits, expected 64"),
        ("x" * 600, "600 characters"),
    ],
)
def test_wrong_string_is_refused_with_the_reason_and_a_remedy(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason) as caught:
        parse_bootstrap(text)
    assert caught.value.remedy


@given(st.text(max_size=200))
def test_any_text_is_read_or_malformed(text: str) -> None:
    for parse in (parse_bootstrap, parse_anchor):
        with pytest.raises(MalformedError):
            parse(text)


DAY = 86_400_000_000


def test_genesis_past_the_trust_window_needs_an_explicit_word() -> None:
    now = Micros(TIMING.genesis_time + 15 * DAY)
    with pytest.raises(StaleAnchor, match="genesis is 15 days old, past the trust window of 14 days") as caught:
        check_anchor_age(TIMING, Micros(14 * DAY), Slot(0), now)
    assert "--trust-genesis" in caught.value.remedy
    check_anchor_age(TIMING, Micros(14 * DAY), Slot(0), now, trust_genesis=True)
    check_anchor_age(TIMING, None, Slot(0), now)
    recent = TIMING.slot_at(now - DAY)
    check_anchor_age(TIMING, Micros(14 * DAY), recent, now)
