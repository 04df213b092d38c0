"""`yumad stake add|remove|list`: buying and selling stake with the quote shown first, and what one holds.

A quote is the finalised state's; the chain may move before the order is in a block. `--tolerance` turns the order into
one with a price limit, `--limit-price` names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .calls import send_by_text
from .grid import print_grid, short_amount
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
from .output import CommandError, print_json, reporting, usage_error
from .shown_values import open_client

if TYPE_CHECKING:
    from pathlib import Path

ALPHA: Final = "α"

HotkeySs58Option = Annotated[str, typer.Option("--hotkey-ss58", help="Hotkey the stake stands behind.")]
NetuidOption = Annotated[int, typer.Option("--netuid", help="Subnet, 0 for root.", min=0, max=65535)]
AmountOption = Annotated[str, typer.Option("--amount", help="Amount, such as 1.5 or 1500rao.")]
LimitOption = Annotated[str, typer.Option("--limit-price", help="Worst price in TAO for one alpha.")]
ToleranceOption = Annotated[
    str, typer.Option("--tolerance", help="How far the price may be from the quote, such as 0.5 %: 0.005.")
]
PartialOption = Annotated[bool, typer.Option("--partial", help="Take what the limit lets through.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this family; those that are one call each are in `calls`."""
    group = typer.Typer(help="Buy, sell and move stake.", no_args_is_help=True, rich_markup_mode=None)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("list")(list_stakes)
    app.add_typer(group, name="stake")


def add(
    hotkey_ss58: HotkeySs58Option,
    netuid: NetuidOption,
    amount: AmountOption,
    limit_price: LimitOption = "",
    tolerance: ToleranceOption = "",
    allow_partial: PartialOption = False,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    wait: WaitOption = None,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Buy stake behind a hotkey with TAO."""
    with reporting(as_json):
        quote = _quote(home, "quote_buy", netuid, amount, as_json)
        limit = _limit(quote, limit_price, tolerance, up=True)
    texts = {"hotkey": hotkey_ss58, "netuid": str(netuid), "amount": amount}
    _send("stake.add_stake", texts, limit, allow_partial, wallet=wallet, hotkey=hotkey, dev=dev, wait=wait,
          wallets=wallets, password_file=password_file, home=home, as_json=as_json)  # fmt: skip


def remove(
    hotkey_ss58: HotkeySs58Option,
    netuid: NetuidOption,
    amount: AmountOption,
    limit_price: LimitOption = "",
    tolerance: ToleranceOption = "",
    allow_partial: PartialOption = False,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    wait: WaitOption = None,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Sell stake for TAO."""
    with reporting(as_json):
        quote = _quote(home, "quote_sell", netuid, amount, as_json)
        limit = _limit(quote, limit_price, tolerance, up=False)
    texts = {"hotkey": hotkey_ss58, "netuid": str(netuid), "amount": amount}
    _send("stake.remove_stake", texts, limit, allow_partial, wallet=wallet, hotkey=hotkey, dev=dev, wait=wait,
          wallets=wallets, password_file=password_file, home=home, as_json=as_json)  # fmt: skip


def _send(name: str, texts: dict[str, str], limit: int | None, allow_partial: bool, **signed: Any) -> None:
    """The plain call, or the one with a price limit."""
    if limit is None:
        send_by_text(name, texts, **signed)
    else:
        more = {"limit_price": f"{limit}rao", "allow_partial": str(allow_partial).lower()}
        send_by_text(f"{name}_limit", {**texts, **more}, **signed)


def _quote(home: Path, read: str, netuid: int, amount: str, quiet: bool) -> dict[str, Any]:
    """The quote, shown to whoever watches. Raises CommandError when the pool refuses the order."""
    from ..arguments import parse_rao

    try:
        units = parse_rao(amount)
    except ValueError as error:
        raise usage_error(f"--amount is {amount!r}: {error}", remedy="write an amount such as 1.5 or 1500rao") from None
    with open_client(home) as client:
        quote: dict[str, Any] = client.call(read, netuid=netuid, amount=str(units))["answer"]
    if quote["refused"]:
        raise CommandError(
            quote["refused"], f"the pool of subnet {netuid} refuses {amount}", remedy="try a smaller amount"
        )
    if not quiet:
        bought = ALPHA if read == "quote_buy" else "τ"
        paid = "τ" if read == "quote_buy" else ALPHA
        price, out = short_amount(int(quote["price_rao"])), short_amount(int(quote["out"]), bought)
        fee, slippage = short_amount(int(quote["fee"]), paid), quote["slippage_ppm"] / 10_000
        print(f"price {price} for one {ALPHA}; expected {out}, fee {fee}, slippage {slippage:.3f} %")
    return quote


def _limit(quote: dict[str, Any], limit_price: str, tolerance: str, *, up: bool) -> int | None:
    """The price limit in rao for one alpha, None for none."""
    from fractions import Fraction

    from ..arguments import parse_rao

    if limit_price and tolerance:
        raise usage_error("--limit-price and --tolerance are both given", remedy="give one of them")
    try:
        if limit_price:
            return parse_rao(limit_price)
        if not tolerance:
            return None
        share = Fraction(tolerance)
    except (ValueError, ZeroDivisionError):
        raise usage_error(
            f"{limit_price or tolerance!r} is no number", remedy="write a price such as 0.25, or a tolerance as 0.005"
        ) from None
    if not 0 <= share < 1:
        raise usage_error(f"--tolerance is {tolerance}", remedy="write a share from 0 to 1, such as 0.005")
    factor = 1 + share if up else 1 - share
    return int(int(quote["price_rao"]) * factor)


def list_stakes(
    account: Annotated[str, typer.Argument(help="Coldkey, SS58 or dev:NAME.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """What a coldkey has staked, and its claimable root dividends."""
    with reporting(as_json), open_client(home) as client:
        positions = client.call("positions", account=account)["answer"]
        claims = client.call("root_claims", coldkey=account)["answer"]
        if as_json:
            print_json({"positions": positions, "root_claims": claims})
            return
        print_grid(
            f"{len(positions)} positions",
            ("netuid", "hotkey", "stake", "worth", "at sale"),
            [
                (
                    row["netuid"],
                    row["hotkey"],
                    short_amount(int(row["amount"]), ALPHA if row["netuid"] else "τ"),
                    short_amount(int(row["tao_value"])),
                    "-" if row["at_sale"] is None else short_amount(int(row["at_sale"])),
                )
                for row in positions
            ],
        )
        if claims["claims"]:
            print_grid(
                f"\nroot dividends to claim ({claims['claim_type']})",
                ("netuid", "hotkey", "claimable", "worth"),
                [
                    (
                        row["netuid"],
                        row["hotkey"],
                        short_amount(int(row["claimable_alpha"]), ALPHA),
                        short_amount(int(row["tao_value"])),
                    )
                    for row in claims["claims"]
                ],
            )
