"""Which key signs a command's transaction, and how its password is asked for (DESIGN sections 5 and 7)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .options import DEFAULT_WALLETS
from .output import CommandError, Exit, usage_error

if TYPE_CHECKING:
    from ...consensus.rules.v1.calls.call import Signer
    from ...consensus.signature import KeyPair
    from ...consensus.types import AccountId

PASSWORD_VARIABLE: Final = "YUMAD_WALLET_PASSWORD"
DEFAULT_HOTKEY: Final = "default"
_LONGEST_PASSWORD_FILE: Final = 4096


@dataclass(frozen=True, slots=True)
class SignerOptions:
    """What the user said about the key."""

    wallet: str = ""
    hotkey: str = ""
    dev: str = ""
    wallets: Path = DEFAULT_WALLETS
    password_file: Path | None = None

    def check(self) -> None:
        """Raise a usage error unless exactly one of wallet and dev is named."""
        if bool(self.wallet) == bool(self.dev):
            problem = "both --wallet and --dev are given" if self.wallet else "no key to sign with"
            raise usage_error(problem, remedy="name one: --wallet NAME, or on a development chain --dev NAME")
        if self.dev and self.hotkey:
            raise usage_error("--hotkey belongs to --wallet", remedy="a development account is a single key")


def signing_key(options: SignerOptions, role: Signer, context: Mapping[str, Any]) -> KeyPair:
    """The key for a call that `role` signs. `context` is the peer's `tx.context`.

    Raises CommandError for a dev account on a chain without any, KeyFileError for a wallet that cannot be used.
    """
    from ...consensus.dev_accounts import dev_keypair
    from ...consensus.rules.v1.calls.call import Signer
    from ...storage.keystore import Keystore

    options.check()
    if options.dev:
        if context["profile"] != "dev" and not context["dev_names"]:
            raise CommandError(
                "not_a_dev_chain",
                f"--dev {options.dev}: {context['network']} is no development chain, and anybody knows that key",
                remedy="sign with --wallet NAME",
                exit_code=Exit.USAGE,
            )
        return dev_keypair(options.dev)
    keystore = Keystore(options.wallets)
    if role is Signer.HOTKEY or (role is Signer.ANY and options.hotkey):
        hotkey = options.hotkey or DEFAULT_HOTKEY
        password = None
        if keystore.needs_password(options.wallet, hotkey):
            password = ask_password(options.password_file, f"password of hotkey {options.wallet}/{hotkey}")
        return keystore.unlock_hotkey(options.wallet, hotkey, password)
    keystore.coldkey_address(options.wallet)  # a missing wallet is named before a password is asked for
    return keystore.unlock_coldkey(
        options.wallet, ask_password(options.password_file, f"password of wallet {options.wallet}")
    )


def signing_hotkey(options: SignerOptions) -> AccountId:
    """The account whose key signs a hotkey's calls, without opening it. Raises as `signing_key` does."""
    from ...consensus.dev_accounts import dev_keypair
    from ...consensus.types import AccountId
    from ...storage.keystore import Keystore

    options.check()
    if options.dev:
        return AccountId(dev_keypair(options.dev).public_key)
    return Keystore(options.wallets).hotkey_address(options.wallet, options.hotkey or DEFAULT_HOTKEY)


def ask_password(password_file: Path | None, prompt: str, *, confirm: bool = False) -> str:
    """The password: from the file, else from YUMAD_WALLET_PASSWORD, else from a person at a terminal.

    Raises a usage error where none of the three is there: a command never waits for input that cannot come.
    """
    if password_file is not None:
        try:
            with password_file.open("rb") as file:
                return file.read(_LONGEST_PASSWORD_FILE).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise usage_error(
                f"password file {password_file} cannot be read: {error}", remedy="give a file with one line of UTF-8"
            ) from error
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise usage_error(
            f"the {prompt} is needed and there is no terminal to ask at",
            remedy=f"give --password-file FILE, or set {PASSWORD_VARIABLE}",
        )
    import getpass

    password = getpass.getpass(f"{prompt}: ", stream=sys.stderr)
    if confirm and getpass.getpass("once more: ", stream=sys.stderr) != password:
        raise CommandError("password_mismatch", "the two passwords differ", remedy="try again", exit_code=Exit.DECLINED)
    return password
