"""Commands that sign a transaction: the options that all of them take are declared here and arrive as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .options import (
    DEFAULT_HOME,
    DEFAULT_WALLETS,
    DevOption,
    HomeOption,
    HotkeyOption,
    JsonOption,
    PasswordFileOption,
    WaitOption,
    WalletOption,
    WalletsOption,
)
from .signer import SignerOptions

_OPTIONS: Final[dict[str, tuple[Any, Any]]] = {
    "wallet": (WalletOption, ""),
    "hotkey": (HotkeyOption, ""),
    "dev": (DevOption, ""),
    "wait": (WaitOption, None),
    "wallets": (WalletsOption, DEFAULT_WALLETS),
    "password_file": (PasswordFileOption, None),
    "home": (HomeOption, DEFAULT_HOME),
    "as_json": (JsonOption, False),
}
"""Options of every command that signs, with their defaults."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What they say."""

    options: SignerOptions
    """Which key."""
    wait: bool | None
    """Until the transaction is final; None for: when somebody watches."""
    home: Path
    as_json: bool


def signed(run: Callable[..., None]) -> Callable[..., None]:
    """A command of `run`'s own parameters and the options above, which it gets as its keyword argument `signing`."""
    parameters = inspect.signature(run, eval_str=True).parameters.values()
    own = [parameter for parameter in parameters if parameter.name != "signing"]
    return signed_command(run, own, name=run.__name__, doc=run.__doc__ or "")


def signed_command(
    run: Callable[..., None], own: Sequence[inspect.Parameter], *, name: str, doc: str
) -> Callable[..., None]:
    """The same with the command's own parameters given; they carry typer's annotations."""

    def command(**given: Any) -> None:
        keys = ("wallet", "hotkey", "dev", "wallets", "password_file")
        options = SignerOptions(**{key: given.pop(key) for key in keys})
        signing = Signing(options, **{key: given.pop(key) for key in ("wait", "home", "as_json")})
        run(**given, signing=signing)

    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(option, keyword, default=default, annotation=kind)
        for option, (kind, default) in _OPTIONS.items()
    ]
    parameters = [*(parameter.replace(kind=keyword) for parameter in own), *shared]
    command.__name__, command.__doc__ = name, doc
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command
