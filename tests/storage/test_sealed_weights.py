"""Committed weights on disk: sealed for one hotkey, kept as long as they may be needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from nacl.bindings import crypto_secretbox
from yumad.consensus import cbor
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32
from yumad.storage.database import StorageError
from yumad.storage.sealed_weights import BOUND_BYTES, CommitTarget, CommittedWeights, SealedWeightsError, WeightsFolder

HOTKEY, OTHER = KeyPair(b"\x01" * 32), KeyPair(b"\x02" * 32)
TARGET = CommitTarget(AccountId(HOTKEY.public_key), 1, 0)
KEY = hashlib.blake2b(b"committed weights", digest_size=32, key=HOTKEY.seed, person=b"yumad/sealed").digest()
COMMITTED = Hash32(b"\xaa" * 32)
WEIGHTS = CommittedWeights((0, 2), (65_535, 1), (7, 8, 9), 2**63)


@pytest.fixture
def folder(tmp_path: Path) -> WeightsFolder:
    return WeightsFolder(tmp_path / "weights")


def keep(folder: WeightsFolder, committed: Hash32 = COMMITTED, target: CommitTarget = TARGET) -> Path:
    folder.keep(HOTKEY, target, committed, WEIGHTS, valid_until=100)
    return folder.path / f"{committed.hex()}.json"


def test_sealed_weights_open_for_the_hotkey_that_sealed_them(folder: WeightsFolder) -> None:
    keep(folder)
    assert folder.holds(COMMITTED)
    assert folder.open(HOTKEY, COMMITTED) == WEIGHTS


def test_r29_hotkeys_behind_the_uids_are_sealed_with_them(folder: WeightsFolder) -> None:
    bound = tuple(bytes([uid]) * BOUND_BYTES for uid in WEIGHTS.uids)
    folder.keep(HOTKEY, TARGET, COMMITTED, WEIGHTS._replace(bound=bound), valid_until=100)
    assert folder.open(HOTKEY, COMMITTED).bound == bound


def test_r29_weights_of_a_full_subnet_with_their_hotkeys_fit_a_file(folder: WeightsFolder) -> None:
    uids, bound = tuple(range(256)), (bytes(BOUND_BYTES),) * 256
    full = CommittedWeights(uids, (65_535,) * 256, (65_535,) * 8, 2**64 - 1, bound)
    folder.keep(HOTKEY, TARGET, COMMITTED, full, valid_until=100)
    assert folder.open(HOTKEY, COMMITTED) == full


def test_r29_file_of_the_format_before_hotkeys_were_kept_still_opens(folder: WeightsFolder) -> None:
    path = keep(folder)
    plain = cbor.encode([[0, 2], [65_535, 1], [7, 8, 9], 2**63])
    nonce = bytes(24)
    older = {"format": "yumad-weights/1", "nonce": nonce.hex(), "box": crypto_secretbox(plain, nonce, KEY).hex()}
    path.write_text(json.dumps({**json.loads(path.read_text()), **older}))
    assert folder.open(HOTKEY, COMMITTED) == WEIGHTS


def test_file_is_private_and_each_box_has_its_own_nonce(folder: WeightsFolder) -> None:
    path = keep(folder)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    again = keep(folder, Hash32(b"\xbb" * 32))
    boxes = [json.loads(file.read_text())["box"] for file in (path, again)]
    assert boxes[0] != boxes[1]


def test_another_hotkey_is_told_whose_they_are(folder: WeightsFolder) -> None:
    keep(folder)
    with pytest.raises(SealedWeightsError, match="was sealed by hotkey"):
        folder.open(OTHER, COMMITTED)


@pytest.mark.parametrize(
    ("field", "value"),
    [("box", "00" * 40), ("box", "zz"), ("nonce", "00"), ("format", "x"), ("hotkey", "nobody"), ("hotkey", 1)],
)
def test_damaged_file_is_named(folder: WeightsFolder, field: str, value: object) -> None:
    path = keep(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(SealedWeightsError, match="is damaged"):
        folder.open(HOTKEY, COMMITTED)


def test_weights_that_are_not_here_are_missing(folder: WeightsFolder) -> None:
    assert not folder.holds(COMMITTED)
    with pytest.raises(StorageError, match="is missing"):
        folder.open(HOTKEY, COMMITTED)


def test_more_weights_than_a_file_takes_are_refused(folder: WeightsFolder) -> None:
    many = tuple(range(4096))
    with pytest.raises(SealedWeightsError, match="too many"):
        folder.keep(HOTKEY, TARGET, COMMITTED, CommittedWeights(many, many, (), 0), valid_until=1)
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("waiting", "height", "stays"),
    [([COMMITTED], 101, True), ([], 100, True), ([], 101, False)],
    ids=["it waits on the chain", "it may be on its way", "it is gone"],
)
def test_file_goes_when_its_commit_can_never_be_revealed(
    folder: WeightsFolder, waiting: list[Hash32], height: int, stays: bool
) -> None:
    keep(folder)
    folder.forget_gone(TARGET, waiting, height)
    assert folder.holds(COMMITTED) is stays


@pytest.mark.parametrize(
    "target", [TARGET._replace(netuid=2), TARGET._replace(mechanism=1), TARGET._replace(hotkey=AccountId(bytes(32)))]
)
def test_files_of_other_queues_and_of_others_stay(folder: WeightsFolder, target: CommitTarget) -> None:
    keep(folder)
    (folder.path / "notes.json").write_text("[]")
    folder.forget_gone(target, [], 10**6)
    assert len(list(folder.path.iterdir())) == 2


def test_nothing_is_made_before_the_first_weights(folder: WeightsFolder) -> None:
    folder.forget_gone(TARGET, [], 10**6)
    folder.forget(COMMITTED)
    assert not folder.path.exists()
