"""The form of one wallet key file: JSON with a public address and a seed, plain or encrypted (DESIGN section 5).

Encryption is Argon2id for the password and XSalsa20-Poly1305 for the seed, both from libsodium. Key files of other
tools hold sr25519 keys, which sign nothing here: they are recognised and refused by name, never guessed at.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nacl.bindings import (
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
    crypto_secretbox,
    crypto_secretbox_NONCEBYTES,
    crypto_secretbox_open,
)
from nacl.exceptions import CryptoError

from ..consensus.signature import KeyPair
from ..consensus.ss58 import decode_address, encode_address
from ..consensus.types import AccountId, YumadError
from .database import StorageError

FORMAT: Final = "yumad-key/1"

ARGON_PASSES: Final = 3
ARGON_MEMORY_BYTES: Final = 64 * 1024 * 1024
"""RFC 9106's second recommendation: about 0.3 s, and it fits machines on which 2 GiB for a wallet command does not."""

_MOST_PASSES: Final = 16
_MOST_MEMORY_BYTES: Final = 1024 * 1024 * 1024
"""What a file may ask for: its text must not decide how long or how large this process runs."""

_SALT_BYTES: Final = 16

RandomBytes = Callable[[int], bytes]
"""`os.urandom` or, in tests, something repeatable."""

_MAKE_ANEW: Final = (
    "keep it for that tool; make an Ed25519 key with `yumad wallet new` under another wallet name "
    "(the same words may be used, the address will differ)"
)


class KeyFileError(StorageError):
    """A wallet key file that cannot be used."""

    code = "key_file"


class WrongPasswordError(KeyFileError):
    """The password does not open the file."""

    code = "wrong_password"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A parsed file. The seed of an encrypted one comes out only with its password."""

    address: AccountId
    encryption: dict[str, Any] | None
    """Parameters of the encryption; None for a plain file."""
    secret: bytes
    """The seed, or the box around it."""

    @property
    def encrypted(self) -> bool:
        """Whether a password is needed."""
        return self.encryption is not None


def encode_key_file(seed: bytes, password: str | None, random_bytes: RandomBytes) -> bytes:
    """The bytes of a key file for a 32-byte seed, encrypted when a password is given."""
    encryption, secret = None, seed
    if password is not None:
        salt, nonce = random_bytes(_SALT_BYTES), random_bytes(crypto_secretbox_NONCEBYTES)
        stretched = _stretch(password, salt, ARGON_PASSES, ARGON_MEMORY_BYTES)
        secret = crypto_secretbox(seed, nonce, stretched)
        encryption = {
            "kdf": "argon2id13",
            "passes": ARGON_PASSES,
            "memory_bytes": ARGON_MEMORY_BYTES,
            "salt": salt.hex(),
            "cipher": "xsalsa20-poly1305",
            "nonce": nonce.hex(),
        }
    fields = {
        "format": FORMAT,
        "scheme": "ed25519",
        "address": encode_address(KeyPair(seed).public_key),
        "encryption": encryption,
        "secret": secret.hex(),
    }
    return json.dumps(fields, indent=1).encode() + b"\n"


def decode_key_file(content: bytes, path: Path) -> KeyFile:
    """Parse a file. Raises KeyFileError naming `path`: another tool's file, or a damaged one."""
    other = foreign_kind(content)
    if other is not None:
        raise KeyFileError(f"{path} is {other}; keys of this network are Ed25519", remedy=_MAKE_ANEW)
    try:
        fields = json.loads(content)
        if fields["format"] != FORMAT or fields["scheme"] != "ed25519":
            raise ValueError(
                f"format {fields['format']!r} with {fields['scheme']!r}, expected {FORMAT!r} with 'ed25519'"
            )
        encryption = fields["encryption"]
        if encryption is not None:
            _check_encryption(encryption)
        secret = bytes.fromhex(fields["secret"])
        if len(secret) != (32 if encryption is None else 48):
            raise ValueError(f"the secret has {len(secret)} bytes")
        return KeyFile(decode_address(fields["address"]), encryption, secret)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, YumadError) as error:
        reason = str(error) if isinstance(error, ValueError | YumadError) else "a field is missing or of a wrong type"
        raise KeyFileError(
            f"key file {path} is damaged: {reason}", remedy="restore it from a backup, or make it again from its words"
        ) from error


def open_key_file(file: KeyFile, password: str | None, path: Path) -> KeyPair:
    """The key inside. Raises WrongPasswordError, or KeyFileError when the file contradicts itself."""
    seed = file.secret
    if file.encryption is not None:
        if password is None:
            raise WrongPasswordError(f"key file {path} is encrypted", remedy="give its password")
        stretched = _stretch(
            password,
            bytes.fromhex(file.encryption["salt"]),
            file.encryption["passes"],
            file.encryption["memory_bytes"],
        )
        try:
            seed = crypto_secretbox_open(file.secret, bytes.fromhex(file.encryption["nonce"]), stretched)
        except CryptoError as error:
            raise WrongPasswordError(
                f"the password does not open {path}", remedy="try again; without it, make the key again from its words"
            ) from error
    key = KeyPair(seed)
    if key.public_key != file.address:
        raise KeyFileError(
            f"key file {path} is damaged: its secret belongs to {encode_address(key.public_key)}, "
            f"it names {encode_address(file.address)}",
            remedy="restore it from a backup, or make it again from its words",
        )
    return key


def foreign_kind(content: bytes) -> str | None:
    """What kind of another tool's key file this is, in words for a message; None when it is none."""
    for prefix, kind in (
        (b"$NACL", "an encrypted sr25519 key file of bittensor-wallet"),
        (b"$ANSIBLE_VAULT", "an encrypted (ansible-vault) sr25519 key file of bittensor"),
        (b"gAAAAA", "an encrypted (fernet) sr25519 key file of bittensor"),
    ):
        if content.startswith(prefix):
            return kind
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or "format" in fields:
        return None
    if "encoding" in fields and "encoded" in fields:
        return "an account export of polkadot-js"
    if "secretPhrase" in fields or "secretSeed" in fields or "ss58Address" in fields:
        return "an sr25519 key file of bittensor-wallet"
    return None


def _check_encryption(encryption: Any) -> None:
    if encryption["kdf"] != "argon2id13" or encryption["cipher"] != "xsalsa20-poly1305":
        raise ValueError(f"unknown encryption {encryption['kdf']!r} with {encryption['cipher']!r}")
    passes, memory = encryption["passes"], encryption["memory_bytes"]
    if type(passes) is not int or not 1 <= passes <= _MOST_PASSES:
        raise ValueError(f"passes {passes!r} are not between 1 and {_MOST_PASSES}")
    if type(memory) is not int or not 8192 <= memory <= _MOST_MEMORY_BYTES:
        raise ValueError(f"memory of {memory!r} bytes is not between 8192 and {_MOST_MEMORY_BYTES}")
    if len(bytes.fromhex(encryption["salt"])) != _SALT_BYTES:
        raise ValueError("the salt has a wrong length")
    if len(bytes.fromhex(encryption["nonce"])) != crypto_secretbox_NONCEBYTES:
        raise ValueError("the nonce has a wrong length")


def _stretch(password: str, salt: bytes, passes: int, memory_bytes: int) -> bytes:
    try:
        return crypto_pwhash_alg(32, password.encode(), salt, passes, memory_bytes, crypto_pwhash_ALG_ARGON2ID13)
    except (CryptoError, RuntimeError, MemoryError) as error:
        raise KeyFileError(
            f"the password cannot be stretched: {memory_bytes >> 20} MiB of memory are needed",
            remedy="free memory, or open the wallet on another machine",
        ) from error
