"""Wallets in the field's folder shape: `<wallets>/<coldkey>/coldkey` and `<coldkey>/hotkeys/<hotkey>` (DESIGN 5).

Coldkeys are always encrypted. Hotkeys sign unattended and are plain by default, as in the field, readable by their
owner only. Public addresses can be read without a password.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.signature import KeyPair, verify
from ..consensus.ss58 import decode_address, encode_address
from ..consensus.types import AccountId, Signature, YumadError
from .database import StorageError, storage_error
from .key_file import (
    KeyFile,
    KeyFileError,
    RandomBytes,
    decode_key_file,
    encode_key_file,
    open_key_file,
)
from .secret_file import read_secret, write_secret

DEFAULT_WALLETS: Final = Path("~/.bittensor/wallets")
"""Where the field's tools keep theirs; the files tell themselves apart."""

SHORTEST_PASSWORD: Final = 8
"""Characters. Argon2id makes guesses slow, not a four-letter password good."""

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""Names become folder names, so they hold nothing a path could be made of."""

_REMEDY: Final = "see `yumad wallet list`, or make it with `yumad wallet new`"


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key file in a listing."""

    name: str
    address: AccountId | None
    """None when the file cannot be used."""
    encrypted: bool
    problem: str = ""
    """Why it cannot be used."""


@dataclass(frozen=True, slots=True)
class ListedWallet:
    """One wallet in a listing."""

    coldkey: ListedKey
    hotkeys: tuple[ListedKey, ...]


class Keystore:
    """The wallets under one folder."""

    def __init__(self, root: Path = DEFAULT_WALLETS, random_bytes: RandomBytes = os.urandom) -> None:
        self.root = root.expanduser().absolute()
        self._random_bytes = random_bytes

    def new_coldkey(self, name: str, seed: bytes, password: str) -> AccountId:
        """Write an encrypted coldkey of a 32-byte seed.

        Raises KeyFileError for a bad name or a short password, StorageError when it exists or the disk refuses.
        """
        _check_name(name, "wallet")
        if len(password) < SHORTEST_PASSWORD:
            raise KeyFileError(
                f"a coldkey password of {len(password)} characters",
                remedy=f"choose one of at least {SHORTEST_PASSWORD}: coldkeys are always encrypted",
            )
        path = self._coldkey_path(name)
        self._write(path, seed, password)
        account = AccountId(KeyPair(seed).public_key)
        self._write_public(path.with_name("coldkeypub.txt"), account)
        return account

    def new_hotkey(self, wallet: str, name: str, seed: bytes, password: str | None = None) -> AccountId:
        """Write a hotkey of a 32-byte seed, plain unless a password is given. Raises as `new_coldkey`."""
        _check_name(wallet, "wallet")
        _check_name(name, "hotkey")
        self._write(self._hotkey_path(wallet, name), seed, password or None)
        return AccountId(KeyPair(seed).public_key)

    def coldkey_address(self, name: str) -> AccountId:
        """Address of a coldkey, without its password; a wallet with only `coldkeypub.txt` has one too."""
        _check_name(name, "wallet")
        path = self._coldkey_path(name)
        public = path.with_name("coldkeypub.txt")
        if not path.exists() and public.exists():
            return _read_public(public)
        return self._read(path, f"coldkey of wallet {name!r}").address

    def hotkey_address(self, wallet: str, name: str) -> AccountId:
        """Address of a hotkey, without its password."""
        return self._read_hotkey(wallet, name).address

    def unlock_coldkey(self, name: str, password: str) -> KeyPair:
        """The coldkey. Raises WrongPasswordError or KeyFileError."""
        _check_name(name, "wallet")
        path = self._coldkey_path(name)
        return open_key_file(self._read(path, f"coldkey of wallet {name!r}"), password, path)

    def unlock_hotkey(self, wallet: str, name: str, password: str | None = None) -> KeyPair:
        """The hotkey. Raises WrongPasswordError, also when it is encrypted and no password is given."""
        return open_key_file(self._read_hotkey(wallet, name), password, self._hotkey_path(wallet, name))

    def needs_password(self, wallet: str, hotkey: str | None = None) -> bool:
        """Whether the coldkey, or the named hotkey, is encrypted."""
        if hotkey is not None:
            return self._read_hotkey(wallet, hotkey).encrypted
        _check_name(wallet, "wallet")
        return self._read(self._coldkey_path(wallet), f"coldkey of wallet {wallet!r}").encrypted

    def list(self) -> tuple[ListedWallet, ...]:
        """All wallets by name; files that cannot be used are listed with the reason."""
        if not self.root.is_dir():
            return ()
        return tuple(
            ListedWallet(
                self._listed(folder.name, self._coldkey_path(folder.name)),
                tuple(self._listed(path.name, path) for path in _plain_names(folder / "hotkeys", folders=False)),
            )
            for folder in _plain_names(self.root, folders=True)
        )

    def _listed(self, name: str, path: Path) -> ListedKey:
        public = path.with_name("coldkeypub.txt")
        try:
            if path.name == "coldkey" and not path.exists() and public.exists():
                return ListedKey(name, _read_public(public), encrypted=False, problem="public part only")
            file = self._read(path, "key file")
        except StorageError as error:
            return ListedKey(name, None, encrypted=False, problem=error.message)
        return ListedKey(name, file.address, file.encrypted)

    def _coldkey_path(self, wallet: str) -> Path:
        return self.root / wallet / "coldkey"

    def _hotkey_path(self, wallet: str, name: str) -> Path:
        return self.root / wallet / "hotkeys" / name

    def _read_hotkey(self, wallet: str, name: str) -> KeyFile:
        _check_name(wallet, "wallet")
        _check_name(name, "hotkey")
        return self._read(self._hotkey_path(wallet, name), f"hotkey {name!r} of wallet {wallet!r}")

    @staticmethod
    def _read(path: Path, what: str) -> KeyFile:
        return decode_key_file(read_secret(path, what=what, remedy=_REMEDY), path)

    def _write(self, path: Path, seed: bytes, password: str | None) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise storage_error(error, path.parent, "make the wallet folder") from error
        write_secret(path, encode_key_file(seed, password, self._random_bytes))

    @staticmethod
    def _write_public(path: Path, account: AccountId) -> None:
        """The public part in the field's form, so that other tools can show balances of this wallet."""
        fields = {"accountId": f"0x{account.hex()}", "publicKey": f"0x{account.hex()}"}
        fields["ss58Address"] = encode_address(account)
        try:
            path.write_bytes(json.dumps(fields).encode() + b"\n")
        except OSError as error:
            raise storage_error(error, path, "write the public part") from error


def sign_text(key: KeyPair, text: bytes) -> Signature:
    """Signature over free text for `yumad wallet sign`."""
    return key.sign(_wrapped(text))


def verify_text(account: AccountId, text: bytes, signature: bytes) -> bool:
    """Whether `sign_text` made this signature."""
    return verify(account, _wrapped(text), signature)


def _wrapped(text: bytes) -> bytes:
    """The field's wrapping: no transaction, vote or proof starts like this, so signed text can never stand for one."""
    return b"<Bytes>" + text + b"</Bytes>"


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise KeyFileError(
            f"{what} name {name[:80]!r}", remedy="use 1 to 64 letters, digits, '_', '-' or '.', not starting with '.'"
        )


def _plain_names(folder: Path, *, folders: bool) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(item for item in folder.iterdir() if _NAME.fullmatch(item.name) and item.is_dir() == folders)


def _read_public(path: Path) -> AccountId:
    content = read_secret(path, what="public key file", remedy=_REMEDY)
    try:
        return decode_address(json.loads(content)["ss58Address"])
    except (ValueError, KeyError, TypeError, RecursionError, YumadError) as error:
        raise KeyFileError(f"{path} is damaged", remedy="write it again from the wallet's words") from error
