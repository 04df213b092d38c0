"""Committed weights that wait for their reveal: what the hash was made of, sealed for the hotkey that committed.

One file per commit under `<home>/weights/<genesis8>/`. Until the reveal nobody may read what was committed, so a file
is encrypted (XSalsa20-Poly1305) with a key that only the hotkey's seed gives; whoever can sign the reveal can open it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from nacl.bindings import crypto_secretbox, crypto_secretbox_NONCEBYTES, crypto_secretbox_open
from nacl.exceptions import CryptoError

from ..consensus import cbor
from ..consensus.signature import KeyPair
from ..consensus.ss58 import decode_address, encode_address
from ..consensus.types import AccountId, Hash32, YumadError
from .database import StorageError, storage_error
from .key_file import RandomBytes
from .secret_file import MAX_SECRET_BYTES, read_secret, write_secret

FORMAT: Final = "yumad-weights/2"

_OLDER: Final = "yumad-weights/1"
"""The same without the hotkeys that the uids had."""

BOUND_BYTES: Final = 16
"""Of each target's hotkey that are kept: nobody can make another key with the same 128 bits, and a file stays small."""

_KEY_PURPOSE: Final = b"yumad/sealed"
"""Keeps this use of a seed apart from every other, libsodium's signing keys included."""

_REMEDY: Final = "without it the commit cannot be revealed: commit again"


class SealedWeightsError(StorageError):
    """A file of committed weights that cannot be used."""

    code = "sealed_weights"


class CommittedWeights(NamedTuple):
    """What a commit's hash was made of, besides hotkey and mechanism."""

    uids: tuple[int, ...]
    values: tuple[int, ...]
    salt: tuple[int, ...]
    version_key: int
    bound: tuple[bytes, ...] = ()
    """The first BOUND_BYTES of the hotkey behind each uid when the weights were chosen; empty when nobody looked."""


class CommitTarget(NamedTuple):
    """Whose queue of the chain a commit waits in."""

    hotkey: AccountId
    netuid: int
    mechanism: int


class WeightsFolder:
    """The sealed weights of one chain. Nothing is made on disk before the first `keep`."""

    def __init__(self, path: Path, random_bytes: RandomBytes = os.urandom) -> None:
        self.path = path
        self._random_bytes = random_bytes

    def keep(
        self, hotkey: KeyPair, target: CommitTarget, committed: Hash32, weights: CommittedWeights, valid_until: int
    ) -> None:
        """Seal what was hashed to `committed`, durable before this returns. Raises StorageError.

        `valid_until` is the last height at which the commit can be included: until then its absence from the chain
        means nothing.
        """
        nonce = self._random_bytes(crypto_secretbox_NONCEBYTES)
        lists = (list(weights.uids), list(weights.values), list(weights.salt))
        plain = cbor.encode((*lists, weights.version_key, b"".join(weights.bound)))
        fields = {
            "format": FORMAT,
            "hotkey": encode_address(target.hotkey),
            "netuid": target.netuid,
            "mechanism": target.mechanism,
            "valid_until": valid_until,
            "nonce": nonce.hex(),
            "box": crypto_secretbox(plain, nonce, _key_of(hotkey)).hex(),
        }
        content = json.dumps(fields, indent=1).encode() + b"\n"
        if len(content) > MAX_SECRET_BYTES:
            raise SealedWeightsError(f"{len(weights.uids)} weights are too many to keep", remedy="commit to fewer")
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise storage_error(error, self.path, "make the folder of committed weights") from error
        write_secret(self._file(committed), content)

    def holds(self, committed: Hash32) -> bool:
        """Whether the weights behind a commit are kept here."""
        return self._file(committed).exists()

    def open(self, hotkey: KeyPair, committed: Hash32) -> CommittedWeights:
        """The weights behind a commit. Raises StorageError when they are not here, or not this hotkey's."""
        path = self._file(committed)
        content = read_secret(path, what="file of committed weights", remedy=_REMEDY)
        try:
            fields = json.loads(content)
            if fields["format"] not in (FORMAT, _OLDER):
                raise ValueError(f"format {fields['format']!r}, expected {FORMAT!r}")
            owner: AccountId = decode_address(fields["hotkey"])
            nonce, box = bytes.fromhex(fields["nonce"]), bytes.fromhex(fields["box"])
            if len(nonce) != crypto_secretbox_NONCEBYTES:
                raise ValueError(f"a nonce of {len(nonce)} bytes")
        except (ValueError, KeyError, TypeError, RecursionError, YumadError) as error:
            raise SealedWeightsError(f"{path} is damaged: {error}", remedy=_REMEDY) from error
        if owner != hotkey.public_key:
            raise SealedWeightsError(
                f"{path} was sealed by hotkey {fields['hotkey']}", remedy="reveal with the hotkey that committed"
            )
        try:
            plain = crypto_secretbox_open(box, nonce, _key_of(hotkey))
            uids, values, salt, version_key, *more = cbor.decode(plain, max_bytes=MAX_SECRET_BYTES)
        except (CryptoError, YumadError) as error:
            raise SealedWeightsError(f"{path} is damaged: its box does not open", remedy=_REMEDY) from error
        packed = more[0] if more else b""
        bound = tuple(packed[at : at + BOUND_BYTES] for at in range(0, len(packed), BOUND_BYTES))
        return CommittedWeights(tuple(uids), tuple(values), tuple(salt), version_key, bound)

    def forget(self, committed: Hash32) -> None:
        """Delete the weights behind a commit, if they are here. Raises StorageError when the disk refuses."""
        try:
            self._file(committed).unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self._file(committed), "delete committed weights") from error

    def forget_gone(self, target: CommitTarget, waiting: Sequence[Hash32], height: int) -> None:
        """Delete what no longer waits in a queue that is `waiting` at a final height. Raises StorageError."""
        if not self.path.is_dir():
            return
        kept = [self._file(committed) for committed in waiting]
        for path in sorted(self.path.glob("*.json")):
            sealed = _target_of(path)
            if path not in kept and sealed is not None and sealed[0] == target and sealed[1] < height:
                self.forget(Hash32(bytes.fromhex(path.stem)))

    def _file(self, committed: Hash32) -> Path:
        return self.path / f"{committed.hex()}.json"


def _target_of(path: Path) -> tuple[CommitTarget, int] | None:
    """What a file names in the clear: its queue and the commit's last height; None for a file that is not ours."""
    try:
        bytes.fromhex(path.stem)
        fields = json.loads(path.read_bytes())
        target = CommitTarget(decode_address(fields["hotkey"]), fields["netuid"], fields["mechanism"])
        return target, int(fields["valid_until"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, YumadError):
        return None


def _key_of(hotkey: KeyPair) -> bytes:
    return hashlib.blake2b(b"committed weights", digest_size=32, key=hotkey.seed, person=_KEY_PURPOSE).digest()
