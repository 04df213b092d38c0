"""From the name of a hotkey to its key: `dev:NAME`, or `WALLET/HOTKEY` in a folder of wallets.

Keys are opened in the peer's process and stay there. An encrypted hotkey needs the password in the environment of the
process, because a peer has nobody to ask.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..consensus.dev_accounts import dev_keypair
from ..consensus.signature import KeyPair
from ..consensus.types import YumadError
from ..storage.keystore import Keystore

PASSWORD_VARIABLE: Final = "YUMAD_PASSWORD"

DEV_PREFIX: Final = "dev:"


class HotkeyError(YumadError):
    """The key cannot be opened; says what to change."""

    code = "hotkey"


def open_hotkey(reference: str, wallets: str | Path, environment: Mapping[str, str] | None = None) -> KeyPair:
    """The key of a reference. Raises HotkeyError for what is no reference or lacks a password, and what the keystore
    raises for a file that is missing or damaged, or a wrong password."""
    if reference.startswith(DEV_PREFIX):
        return dev_keypair(reference.removeprefix(DEV_PREFIX))
    wallet, slash, name = reference.partition("/")
    if not slash or not wallet or not name:
        raise HotkeyError(f"hotkey {reference!r} is not a key", remedy="write dev:NAME or WALLET/HOTKEY")
    password = (os.environ if environment is None else environment).get(PASSWORD_VARIABLE)
    store = Keystore(Path(wallets).expanduser())
    if password is None and store.needs_password(wallet, name):
        raise HotkeyError(
            f"hotkey {reference} is encrypted, and the peer was started without its password",
            remedy=f"start the peer with {PASSWORD_VARIABLE} in its environment, or use a hotkey without a password",
        )
    return store.unlock_hotkey(wallet, name, password)
