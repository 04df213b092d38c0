"""Options that several commands share, so that they are spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_HOME: Final = Path("~/.yumad")
DEFAULT_WALLETS: Final = Path("~/.bittensor/wallets")

HomeOption = Annotated[Path, typer.Option("--home", help="Folder of the peer.", envvar="YUMAD_HOME")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
WalletOption = Annotated[str, typer.Option("--wallet", help="Wallet (coldkey name) that signs.")]
HotkeyOption = Annotated[str, typer.Option("--hotkey", help="Hotkey of that wallet.")]
DevOption = Annotated[str, typer.Option("--dev", help="Sign with the development account of this name instead.")]
WalletsOption = Annotated[
    Path, typer.Option("--wallets", help="Folder of the wallets.", envvar="YUMAD_WALLETS", show_default=True)
]
PasswordFileOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="File with the wallet's password (else YUMAD_WALLET_PASSWORD, or a prompt)."),
]
WaitOption = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Wait until the transaction is final (default: on a terminal)."),
]
TipOption = Annotated[str, typer.Option("--tip", help="Tip in TAO (0.001) or rao (1000rao).")]
