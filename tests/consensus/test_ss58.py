"""SS58 addresses with prefix 42."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.ss58 import decode_address, encode_address
from yumad.consensus.types import MalformedError

ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
ALICE_KEY = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")


def test_well_known_address_and_key_belong_together():
    assert encode_address(ALICE_KEY) == ALICE
    assert decode_address(ALICE) == ALICE_KEY


@given(st.binary(min_size=32, max_size=32))
def test_decode_of_an_encoded_account_gives_the_account(account):
    text = encode_address(account)
    assert len(text) == 48
    assert decode_address(text) == account


@given(st.integers(0, 47), st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"))
def test_address_with_one_wrong_letter_is_refused(position, letter):
    typed = ALICE[:position] + letter + ALICE[position + 1 :]
    if typed != ALICE:
        with pytest.raises(MalformedError):
            decode_address(typed)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bytes"),
        ("0OIl", "not base58"),
        ("5" * 61, "too long"),
        (ALICE[:-1], "bytes|checksum"),
        ("111111111111111111111111111111111HC1", "prefix|bytes"),
        ("ä" * 10, "not base58"),
    ],
)
def test_text_that_is_no_address_is_refused_with_the_reason(text, reason):
    with pytest.raises(MalformedError, match=reason):
        decode_address(text)
