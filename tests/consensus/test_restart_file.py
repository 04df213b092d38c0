"""Restart files: signed by the recovery keys, chained, never of the future (CHAIN 1.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.authority import Authority
from yumad.consensus.restart_file import (
    RestartFile,
    decode_restart_file,
    encode_restart_file,
    sign_restart_file,
    verify_restart_file,
)
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import ZERO_HASH, AccountId, AuthorityKey, Hash32, Height, InvalidError, MalformedError, Slot

GENESIS = Hash32(b"\x11" * 32)
KEYS = tuple(KeyPair(bytes([number]) * 32) for number in range(3))
RECOVERY = tuple(AccountId(key.public_key) for key in KEYS)
MEMBERS = (Authority(AuthorityKey(b"\x01" * 32), 5), Authority(AuthorityKey(b"\x02" * 32), 7))


def _file(signers=KEYS[:2], **changes) -> RestartFile:
    fields = {
        "previous": ZERO_HASH,
        "slot": Slot(90),
        "height": Height(33),
        "block_hash": Hash32(b"\x09" * 32),
        "members": MEMBERS,
    }
    return sign_restart_file(GENESIS, RECOVERY, signers, **{**fields, **changes})


def _verify(file: RestartFile, **changes) -> None:
    arguments = {"previous": ZERO_HASH, "now": Slot(100), "threshold": 2, "recovery_keys": RECOVERY, **changes}
    verify_restart_file(
        file,
        GENESIS,
        arguments["recovery_keys"],
        arguments["threshold"],
        previous=arguments["previous"],
        now=arguments["now"],
    )


def test_file_signed_by_enough_recovery_keys_is_valid_and_seeds_the_era():
    file = _file()
    _verify(file)
    assert file.authorities(GENESIS).seed == file.hash(GENESIS)
    assert decode_restart_file(encode_restart_file(file)) == file
    assert _file(KEYS).hash(GENESIS) == file.hash(GENESIS)  # more signatures, the same decision


@pytest.mark.parametrize(
    ("file", "changes", "reason"),
    [
        (_file(KEYS[:1]), {}, "1 signatures, 2 are needed"),
        (_file(), {"previous": Hash32(b"\x01" * 32)}, "follows"),
        (_file(slot=Slot(101)), {}, "slot 101"),
        (replace(_file(), height=Height(34)), {}, "wrong signature"),
        (replace(_file(), members=MEMBERS[:1]), {}, "wrong signature"),
        (_file(), {"recovery_keys": RECOVERY[:1]}, "beyond the 1"),
        (_file(), {"recovery_keys": (), "threshold": 0}, "no recovery keys"),
    ],
)
def test_file_that_breaks_a_rule_is_refused_with_the_reason(file, changes, reason):
    with pytest.raises(InvalidError, match=reason):
        _verify(file, **changes)


def test_file_of_another_chain_is_refused():
    with pytest.raises(InvalidError, match="wrong signature"):
        verify_restart_file(_file(), Hash32(bytes(32)), RECOVERY, 2, previous=ZERO_HASH, now=Slot(100))


def test_one_key_counts_once():
    file = _file(KEYS[:1])
    doubled = replace(file, signatures=file.signatures * 2)
    with pytest.raises(MalformedError, match="occurs twice"):
        decode_restart_file(encode_restart_file(doubled))


@given(st.binary(max_size=400), st.integers(0, 3000))
def test_random_and_altered_bytes_never_raise_anything_else(data, position):
    good = bytearray(encode_restart_file(_file()))
    good[position % len(good)] ^= 1 + position % 255
    for attempt in (data, bytes(good)):
        try:
            assert encode_restart_file(decode_restart_file(attempt)) == attempt
        except MalformedError:
            pass
