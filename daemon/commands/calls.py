"""Commands that are one call each: `children`, `take`, `lock`, `root`, and most of `stake` and `subnet`.

A table names the command, the call and its options; everything else - forms, help of the values, errors - comes from
the call's own schema when the command runs. So `--help` needs neither the rules nor numpy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from .output import reporting, usage_error
from .shown_values import open_client
from .signed import Signing, signed_command

NO_DEFAULT: Final = None


@dataclass(frozen=True, slots=True)
class CallCommand:
    """One command: its name, the call, and (argument, help, default) of each option in the call's order."""

    name: str
    call: str
    doc: str
    options: tuple[tuple[str, str, str | None], ...]


_HOTKEY: Final = ("hotkey", "Hotkey, SS58 or dev:NAME.", NO_DEFAULT)
_NETUID: Final = ("netuid", "Number of the subnet.", NO_DEFAULT)
_AMOUNT: Final = ("amount", "Amount, such as 1.5 or 1500rao.", NO_DEFAULT)
_TAKE: Final = ("take", "Share of dividends in parts of 65535.", NO_DEFAULT)

COMMANDS: Final[dict[str, tuple[str, tuple[CallCommand, ...]]]] = {
    "stake": (
        "",
        (
            CallCommand("remove-all", "stake.unstake_all", "Sell every position behind a hotkey.", (_HOTKEY,)),
            CallCommand("burn", "stake.burn_alpha", "Give alpha up for good.", (_HOTKEY, _AMOUNT, _NETUID)),
            CallCommand("recycle", "stake.recycle_alpha", "Give alpha back.", (_HOTKEY, _AMOUNT, _NETUID)),
            CallCommand(
                "claim",
                "root.claim_root",
                "Claim root dividends of one to five subnets.",
                (("netuids", "Subnets, separated by commas.", NO_DEFAULT),),
            ),
            CallCommand(
                "claim-type",
                "root.set_root_claim_type",
                "Choose what becomes of root dividends: 0 swap, 1 keep, 2 keep those of --netuids.",
                (("claim_type", "0, 1 or 2.", NO_DEFAULT), ("netuids", "Subnets for type 2.", "")),
            ),
            CallCommand(
                "auto",
                "stake.set_coldkey_auto_stake_hotkey",
                "Choose the hotkey on which mining income of a subnet is staked.",
                (_NETUID, _HOTKEY),
            ),
        ),
    ),
    "children": (
        "Child keys: let other hotkeys work with stake.",
        (
            CallCommand(
                "set",
                "stake.set_children",
                "Set a hotkey's children on a subnet; none ends it.",
                (_HOTKEY, _NETUID, ("children", "PROPORTION:HOTKEY,… with proportions of 2^64-1.", "")),
            ),
            CallCommand("take", "stake.set_childkey_take", "Set what a child keeps.", (_HOTKEY, _NETUID, _TAKE)),
        ),
    ),
    "take": (
        "Delegate takes.",
        (
            CallCommand("increase", "stake.increase_take", "Raise a hotkey's take.", (_HOTKEY, _TAKE)),
            CallCommand("decrease", "stake.decrease_take", "Lower a hotkey's take.", (_HOTKEY, _TAKE)),
        ),
    ),
    "lock": (
        "Locks on stake and conviction.",
        (
            CallCommand("add", "locks.lock_stake", "Lock stake of a subnet.", (_HOTKEY, _NETUID, _AMOUNT)),
            CallCommand(
                "move",
                "locks.move_lock",
                "Bind a lock to another hotkey.",
                (("destination_hotkey", "Hotkey that gains conviction.", NO_DEFAULT), _NETUID),
            ),
            CallCommand(
                "perpetual",
                "locks.set_perpetual_lock",
                "Choose whether locks stay.",
                (_NETUID, ("enabled", "true or false.", "true")),
            ),
        ),
    ),
    "subnet": (
        "",
        (
            CallCommand("create", "subnet.register_network", "Create a subnet: its price is its pool.", (_HOTKEY,)),
            CallCommand("start", "subnet.start_call", "Start one's subnet.", (_NETUID,)),
            CallCommand("register", "neuron.burned_register", "Pay the present price for a uid.", (_NETUID, _HOTKEY)),
            CallCommand(
                "identity",
                "identity.set_subnet_identity",
                "Say what one's subnet is.",
                (_NETUID, ("identity", "Eight texts separated by |.", NO_DEFAULT)),
            ),
            CallCommand(
                "set",
                "subnet.owner_order",
                "Set a parameter of one's subnet.",
                (
                    ("call", "sudo_set_… that owners may give.", NO_DEFAULT),
                    ("args", "NETUID,VALUE…", NO_DEFAULT),
                ),
            ),
        ),
    ),
}
"""Family -> its help text and commands. `stake` and `subnet` have more commands in modules of their own."""


def register(app: typer.Typer) -> None:
    """Add every family; a family that another module registered gets its commands here."""
    known = {group.name: group.typer_instance for group in app.registered_groups}
    for family, (doc, commands) in COMMANDS.items():
        group = known.get(family)
        if group is None:
            group = typer.Typer(help=doc, no_args_is_help=True, rich_markup_mode=None)
            app.add_typer(group, name=family)
        for command in commands:
            group.command(command.name)(_command(command))


def option_name(argument: str) -> str:
    """`--netuid`; the hotkey of a call is `--hotkey-ss58`, since `--hotkey` names the wallet's key that signs."""
    return "--hotkey-ss58" if argument == "hotkey" else f"--{argument.replace('_', '-')}"


def _command(command: CallCommand) -> Callable[..., None]:
    """The function of one command: its options are the call's arguments and those of every signed command."""

    def run(*, signing: Signing, **given: str) -> None:
        texts = {argument: given[f"arg_{argument}"] for argument, _, _ in command.options}
        send_by_text(command.call, texts, signing)

    own = [
        inspect.Parameter(
            f"arg_{argument}",
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is None else default,
            annotation=Annotated[str, typer.Option(option_name(argument), help=doc)],
        )
        for argument, doc, default in command.options
    ]
    return signed_command(run, own, name=command.name.replace("-", "_"), doc=command.doc)


def send_by_text(name: str, texts: dict[str, str], signing: Signing) -> None:
    """Sign and send a call whose arguments people wrote."""
    with reporting(signing.as_json):
        from ...consensus.rules.v1.calls.table import call_named
        from ..arguments import parse_text
        from .sending import send_call

        call = call_named(name)
        if call is None or [argument.name for argument in call.arguments] != list(texts):
            raise usage_error(f"{name} does not take {', '.join(texts)}", remedy="this is a fault of yumad: report it")
        wire = [parse_text(argument, texts[argument.name]) for argument in call.arguments]
        signing.options.check()
        with open_client(signing.home) as client:
            send_call(client, call, wire, signing.options, wait=signing.wait, as_json=signing.as_json)
