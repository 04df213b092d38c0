"""Commands about transactions: `transfer`, and `tx send|show|calls|order` for every call of the rules.

Arguments are checked before the daemon is asked, and keys stay in this process. Heavy imports stand inside functions.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from .options import (
    DEFAULT_HOME,
    DEFAULT_WALLETS,
    DevOption,
    HomeOption,
    HotkeyOption,
    JsonOption,
    PasswordFileOption,
    TipOption,
    WaitOption,
    WalletOption,
    WalletsOption,
)
from .output import print_fields, print_json, reporting, usage_error
from .shown_values import event_line, open_client, plain

ValidOption = Annotated[
    int, typer.Option("--valid-for", help="Blocks within which it may be included.", min=1, max=2400)
]

_ORDER_BLOCKS: Final = 1000
"""Blocks for which an administrative order holds unless said otherwise: signatures are collected by people."""


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(transfer)
    transactions = typer.Typer(help="Send and follow transactions.", no_args_is_help=True, rich_markup_mode=None)
    transactions.command("show")(tx_show)
    transactions.command("send")(tx_send)
    transactions.command("calls")(tx_calls)
    transactions.command("order")(tx_order)
    app.add_typer(transactions, name="tx")


def tx_show(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Transaction id (64 hex digits).")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Where a transaction is: final, in a block, or waiting and why."""
    with reporting(as_json), open_client(home) as client:
        document = client.call("tx.show", id=identity)
        if as_json:
            print_json(document)
            return
        fields = {key: value for key, value in document.items() if key not in ("args", "events")}
        fields |= {f"arg {name}": plain(value) for name, value in (document.get("args") or {}).items()}
        print_fields(fields)
        for event in document.get("events", ()):
            print(f"event {event_line(event)}")


def tx_calls(as_json: JsonOption = False) -> None:
    """Every call that a transaction may carry, with its arguments."""
    with reporting(as_json):
        from ...consensus.rules.v1.calls.table import CALLS
        from ..arguments import usage

        if as_json:
            print_json({"calls": [{"name": c.name, "arguments": usage(c.arguments), "doc": c.doc} for c in CALLS]})
            return
        for call in CALLS:
            print(f"{call.name} {usage(call.arguments)}\n    {call.doc} Signed by: {call.signer.value}.")


def tx_order(
    name: Annotated[str, typer.Argument(help="Administrative call, such as sudo_set_tempo.")],
    given: Annotated[
        list[str], typer.Argument(metavar="VALUES...", help="NETUID VALUE…, or VALUE for the whole network.")
    ],
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    valid_until: Annotated[int, typer.Option("--valid-until", help="Last height; all keys sign the same.", min=0)] = 0,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Sign an administrative order with one admin key; enough signatures make an `admin.execute` transaction."""
    with reporting(as_json):
        from ...consensus.rules.v1.calls.admin import order_digest
        from ...consensus.rules.v1.calls.call import Signer
        from ...consensus.rules.v1.calls.orders import ORDERS, order_named
        from ...consensus.ss58 import encode_address
        from ...consensus.types import Hash32
        from ..registry import nearest
        from ..structured_arguments import parse_order_values
        from .signer import SignerOptions, signing_key

        values = parse_order_values(given)
        order = order_named(name)
        if order is None:
            near = nearest(name, [known.name for known in ORDERS])
            raise usage_error(f"there is no order {name!r}", remedy=f"did you mean {near}?" if near else "")
        if not order.accepts(tuple(values)):
            wanted = " and ".join(order.arguments)
            raise usage_error(f"{name}: {len(values)} values", remedy=f"give {wanted} ({order.doc})")
        options = SignerOptions(wallet, hotkey, dev, wallets, password_file)
        options.check()
        with open_client(home) as client:
            context = client.call("tx.context")
            nonce = client.call("query", name="chain")["answer"]["admin_nonce"]
            key = signing_key(options, Signer.ANY, context)
        last = valid_until or context["height"] + _ORDER_BLOCKS
        genesis_hash = Hash32(bytes.fromhex(context["genesis_hash"]))
        signature = key.sign(order_digest(genesis_hash, order.number, values, nonce, last))
        signed = f"{encode_address(key.public_key)}:{signature.hex()}"
        arguments = {
            "call": name,
            "args": ",".join(given),
            "admin_nonce": nonce,
            "valid_until": last,
            "signatures": signed,
        }
        if as_json:
            print_json(arguments)
        else:
            print("yumad tx send admin.execute", " ".join(f"{key}={value}" for key, value in arguments.items()))
            print("several signatures: join KEY:SIGNATURE of each with commas, keys in the order of their bytes")


def tx_send(
    call: Annotated[str, typer.Argument(help="Name of the call, such as stake.add_stake; see `yumad tx calls`.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="Its arguments.")] = None,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    tip: TipOption = "0",
    valid_for: ValidOption = 64,
    wait: WaitOption = None,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Sign and send any call; with --wait (the default on a terminal) tell what came of it."""
    with reporting(as_json):
        from ...consensus.rules.v1.calls.table import CALLS, call_named
        from ..arguments import named_arguments, parse_text
        from ..registry import nearest
        from .sending import send_call
        from .signer import SignerOptions

        chosen = call_named(call)
        if chosen is None:
            near = nearest(call, [known.name for known in CALLS])
            hint = f"did you mean {near}?" if near else "`yumad tx calls` lists them"
            raise usage_error(f"there is no call {call!r}", remedy=hint)
        texts = named_arguments(chosen.arguments, _pairs(arguments or []), chosen.name)
        wire = [parse_text(argument, text) for argument, text in zip(chosen.arguments, texts, strict=True)]
        options = SignerOptions(wallet, hotkey, dev, wallets, password_file)
        options.check()
        rao = parse_amount(tip, "tip")
        with open_client(home) as client:
            send_call(client, chosen, wire, options, tip=rao, valid_blocks=valid_for, wait=wait, as_json=as_json)


def _pairs(arguments: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in arguments:
        name, equals, value = item.partition("=")
        if not equals or name in pairs:
            problem = "is given twice" if equals else "is no NAME=VALUE"
            raise usage_error(f"argument {item!r} {problem}", remedy="write each argument once, as NAME=VALUE")
        pairs[name] = value
    return pairs


def parse_amount(text: str, what: str) -> int:
    """Rao of an amount a person wrote. Raises a usage error."""
    from ..arguments import parse_rao

    try:
        rao = parse_rao(text)
    except ValueError as error:
        raise usage_error(f"{what} is {text!r}: {error}", remedy="write 1.5 for TAO, or 1500rao") from None
    if not 0 <= rao < 1 << 63:
        raise usage_error(f"{what} is {text!r}: out of range", remedy="no amount is negative or above 2^63 rao")
    return rao


def transfer(
    dest: Annotated[str, typer.Argument(help="SS58 address or dev:NAME that receives.")],
    amount: Annotated[str, typer.Argument(help="TAO (1.5) or rao (1500rao); left out with --all.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Move everything that is left after the fee.")] = False,
    allow_death: Annotated[
        bool, typer.Option("--allow-death", help="The sender may fall below the existential deposit.")
    ] = False,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    tip: TipOption = "0",
    wait: WaitOption = None,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Move TAO from a wallet to an address."""
    with reporting(as_json):
        from ...consensus.rules.v1.calls.table import call_named
        from ..arguments import parse_text
        from .sending import send_call
        from .signer import SignerOptions

        if bool(amount) == everything:
            raise usage_error(
                "both an amount and --all are given" if amount else "no amount", remedy="write an amount, or --all"
            )
        kind = "transfer_all" if everything else "transfer_allow_death" if allow_death else "transfer_keep_alive"
        call = call_named(f"balances.{kind}")
        assert call is not None
        target = parse_text(call.arguments[0], dest)
        value: Any = not allow_death if everything else parse_amount(amount, "amount")
        options = SignerOptions(wallet, hotkey, dev, wallets, password_file)
        options.check()
        rao = parse_amount(tip, "tip")
        with open_client(home) as client:
            send_call(client, call, [target, value], options, tip=rao, wait=wait, as_json=as_json)
