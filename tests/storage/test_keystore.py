"""Wallets: the Substrate seed rule, encryption, folders, and other tools' files refused by name (DESIGN 5, 11)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.signature import KeyPair
from yumad.consensus.ss58 import encode_address
from yumad.consensus.types import MalformedError
from yumad.storage.database import StorageError
from yumad.storage.key_file import KeyFileError, WrongPasswordError, decode_key_file, encode_key_file
from yumad.storage.keystore import Keystore, sign_text, verify_text
from yumad.storage.mnemonic_seed import entropy_from_phrase, phrase_from_entropy, seed_from_phrase

DEV_PHRASE = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
DEV_SEED = bytes.fromhex("fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e")
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap_password_stretching(monkeypatch):
    """The tests are about the file, not about 0.2 s per password."""
    monkeypatch.setattr("yumad.storage.key_file.ARGON_PASSES", 1)
    monkeypatch.setattr("yumad.storage.key_file.ARGON_MEMORY_BYTES", 8192)


@pytest.fixture
def wallets(tmp_path):
    return Keystore(tmp_path / "wallets")


def test_seed_of_the_well_known_phrase_is_substrates():
    assert seed_from_phrase(DEV_PHRASE) == DEV_SEED
    assert seed_from_phrase("  Bottom DRIVE " + DEV_PHRASE.split(" ", 2)[2] + "\n") == DEV_SEED
    assert (
        KeyPair(DEV_SEED).public_key.hex() == "345071da55e5dccefaaa440339415ef9f2663338a38f7da0df21be5ab4e055ef"
    )  # what Substrate's tools print for this phrase under Ed25519


@pytest.mark.parametrize(
    ("entropy", "phrase", "seed"),
    [  # Substrate's own vectors: password "Substrate", first 32 bytes
        (
            "00000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
            "44e9d125f037ac1d51f0a7d3649689d422c2af8b1ec8e00d71db4d7bf6d127e3",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
            "4313249608fe8ac10fd5886c92c4579007272cb77c21551ee5b8d60b78041685",
        ),
        (
            "ffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
            "227d6256fd4f9ccaf06c45eaa4b2345969640462bbb00c5f51f43cb43418c7a7",
        ),
    ],
)
def test_entropy_phrase_and_seed_match_substrates_vectors(entropy, phrase, seed):
    assert phrase_from_entropy(bytes.fromhex(entropy)) == phrase
    assert entropy_from_phrase(phrase).hex() == entropy
    assert seed_from_phrase(phrase, "Substrate").hex() == seed


@given(st.sampled_from([16, 20, 24, 28, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_entropy_round_trips_through_words(entropy):
    assert entropy_from_phrase(phrase_from_entropy(entropy)) == entropy


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("bottom drive", "mnemonic of 2 words"),
        (DEV_PHRASE.replace("lake", "lakke"), "word 4, 'lakke'"),
        (DEV_PHRASE.replace("fit walk", "walk fit"), "checksum"),
        ("", "mnemonic of 0 words"),
    ],
)
def test_wrong_phrase_is_refused_with_the_reason(phrase, reason):
    with pytest.raises(MalformedError, match=reason) as caught:
        seed_from_phrase(phrase)
    assert caught.value.remedy


def test_wallet_round_trip_with_password_and_plain_hotkey(wallets):
    cold = wallets.new_coldkey("alice", DEV_SEED, PASSWORD)
    hot = wallets.new_hotkey("alice", "miner", bytes(32))
    locked = wallets.new_hotkey("alice", "careful", b"\x01" * 32, PASSWORD)
    assert wallets.coldkey_address("alice") == cold == KeyPair(DEV_SEED).public_key
    assert wallets.unlock_coldkey("alice", PASSWORD).seed == DEV_SEED
    assert wallets.unlock_hotkey("alice", "miner").seed == bytes(32)
    assert wallets.unlock_hotkey("alice", "careful", PASSWORD).public_key == locked
    assert wallets.hotkey_address("alice", "miner") == hot
    assert wallets.needs_password("alice")
    assert wallets.needs_password("alice", "careful")
    assert not wallets.needs_password("alice", "miner")
    (wallet,) = wallets.list()
    assert (wallet.coldkey.name, wallet.coldkey.address, wallet.coldkey.encrypted) == ("alice", cold, True)
    assert [(key.name, key.encrypted) for key in wallet.hotkeys] == [("careful", True), ("miner", False)]


def test_key_files_are_private_and_the_coldkey_seed_is_not_in_them(wallets):
    wallets.new_coldkey("alice", DEV_SEED, PASSWORD)
    wallets.new_hotkey("alice", "miner", bytes(32))
    cold = wallets.root / "alice" / "coldkey"
    assert cold.stat().st_mode & 0o777 == 0o600
    assert (wallets.root / "alice" / "hotkeys" / "miner").stat().st_mode & 0o777 == 0o600
    assert DEV_SEED.hex() not in cold.read_text()


def test_wrong_or_missing_password_has_its_own_code(wallets):
    wallets.new_coldkey("alice", DEV_SEED, PASSWORD)
    with pytest.raises(WrongPasswordError) as caught:
        wallets.unlock_coldkey("alice", "wrong wrong")
    assert caught.value.code == "wrong_password"
    wallets.new_hotkey("alice", "h", bytes(32), PASSWORD)
    with pytest.raises(WrongPasswordError, match="encrypted"):
        wallets.unlock_hotkey("alice", "h")


def test_short_password_bad_name_and_existing_key_are_refused(wallets):
    with pytest.raises(KeyFileError, match="7 characters"):
        wallets.new_coldkey("alice", DEV_SEED, "1234567")
    for name in ("", ".", "..", "../x", "a/b", ".hidden", "x" * 65, "a\n"):
        with pytest.raises(KeyFileError, match="name"):
            wallets.new_coldkey(name, DEV_SEED, PASSWORD)
        with pytest.raises(KeyFileError, match="name"):
            wallets.hotkey_address("alice", name)
    wallets.new_coldkey("alice", DEV_SEED, PASSWORD)
    with pytest.raises(StorageError, match="not overwritten"):
        wallets.new_coldkey("alice", bytes(32), PASSWORD)
    assert wallets.unlock_coldkey("alice", PASSWORD).seed == DEV_SEED


def test_missing_wallet_names_the_remedy(wallets):
    with pytest.raises(StorageError, match="'bob'") as caught:
        wallets.coldkey_address("bob")
    assert "yumad wallet" in caught.value.remedy
    assert wallets.list() == ()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"$NACLxyz", "encrypted sr25519 key file of bittensor-wallet"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n61", "ansible-vault"),
        (b"gAAAAABh", "fernet"),
        (
            json.dumps({"accountId": "0x00", "secretPhrase": DEV_PHRASE, "secretSeed": "0x00"}).encode(),
            "sr25519 key file of bittensor-wallet",
        ),
        (
            json.dumps({"encoded": "AA", "encoding": {"content": ["pkcs8", "sr25519"]}}).encode(),
            "account export of polkadot-js",
        ),
    ],
)
def test_key_files_of_other_tools_are_refused_by_name_with_the_remedy(wallets, content, kind):
    path = wallets.root / "old" / "coldkey"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=kind) as caught:
        wallets.unlock_coldkey("old", PASSWORD)
    assert "yumad wallet new" in caught.value.remedy
    assert kind in wallets.list()[0].coldkey.problem


def test_wallet_with_only_its_public_part_has_an_address(wallets):
    account = wallets.new_coldkey("alice", DEV_SEED, PASSWORD)
    (wallets.root / "alice" / "coldkey").unlink()
    assert wallets.coldkey_address("alice") == account
    assert wallets.list()[0].coldkey.problem == "public part only"
    (wallets.root / "alice" / "coldkeypub.txt").write_text("{}")
    with pytest.raises(KeyFileError, match="damaged"):
        wallets.coldkey_address("alice")


def test_key_file_whose_address_was_exchanged_is_refused(wallets):
    wallets.new_hotkey("alice", "miner", bytes(32))
    path = wallets.root / "alice" / "hotkeys" / "miner"
    old, new = encode_address(KeyPair(bytes(32)).public_key), encode_address(KeyPair(DEV_SEED).public_key)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(KeyFileError, match="its secret belongs to"):
        wallets.unlock_hotkey("alice", "miner")


@pytest.mark.parametrize(
    "change",
    [
        {"passes": 17},
        {"passes": True},
        {"memory_bytes": 1 << 40},
        {"memory_bytes": "8192"},
        {"salt": "00"},
        {"nonce": "zz"},
        {"kdf": "scrypt"},
        {"cipher": None},
    ],
)
def test_key_file_that_asks_for_too_much_or_nonsense_is_refused(tmp_path, change):
    fields = json.loads(encode_key_file(DEV_SEED, PASSWORD, bytes))
    fields["encryption"].update(change)
    with pytest.raises(KeyFileError, match="damaged"):
        decode_key_file(json.dumps(fields).encode(), tmp_path / "coldkey")


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_other_bytes_are_refused_as_a_key_file_error(tmp_path_factory, content):
    with pytest.raises(KeyFileError):
        decode_key_file(content, tmp_path_factory.getbasetemp() / "coldkey")


def test_signed_text_verifies_and_is_never_a_raw_signature():
    key = KeyPair(DEV_SEED)
    signature = sign_text(key, b"hello")
    assert verify_text(key.public_key, b"hello", signature)
    assert not verify_text(key.public_key, b"hello!", signature)
    assert signature != key.sign(b"hello")
