"""`yumad stake add|remove|move|swap|transfer|list`: orders with the quote shown first, and what one holds.

A quote is the finalised state's; the chain may move before the order is in a block. `--tolerance` turns the order into
one with a price limit, `--limit-price` names it. Moves and transfers have no form with a limit on the chain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .calls import send_by_text
from .grid import print_grid, short_amount
from .options import DEFAULT_HOME, HomeOption, JsonOption
from .output import CommandError, print_json, reporting, usage_error
from .shown_values import open_client
from .signed import Signing, signed

if TYPE_CHECKING:
    from pathlib import Path

ALPHA: Final = "α"
TAO: Final = "τ"

_REMEDIES: Final = {
    "AmountTooLow": "it is worth too little: try a larger amount",
    "ReservesTooLow": "the pool is almost empty: wait until the subnet has emission, or choose another",
}
"""What to do about an order that a pool refuses; else a smaller one may pass."""

HotkeySs58Option = Annotated[str, typer.Option("--hotkey-ss58", help="Hotkey the stake stands behind.")]
NetuidOption = Annotated[int, typer.Option("--netuid", help="Subnet, 0 for root.", min=0, max=65535)]
FromOption = Annotated[int, typer.Option("--origin-netuid", help="Subnet it leaves, 0 for root.", min=0, max=65535)]
ToOption = Annotated[int, typer.Option("--destination-netuid", help="Subnet it goes to, 0 for root.", min=0, max=65535)]
AmountOption = Annotated[str, typer.Option("--amount", help="Amount, such as 1.5 or 1500rao.")]
LimitOption = Annotated[str, typer.Option("--limit-price", help="Worst price in TAO for one alpha.")]
ToleranceOption = Annotated[
    str, typer.Option("--tolerance", help="How far the price may be from the quote, such as 0.5 %: 0.005.")
]
RatioOption = Annotated[
    str, typer.Option("--limit-price", help="Least stake of the destination for one of the origin, such as 0.9.")
]
PartialOption = Annotated[bool, typer.Option("--partial", help="Take what the limit lets through.")]

_TOLERANCE: Final = re.compile(r"[0-9]{0,3}(\.[0-9]{1,20})?")
"""No exponents: `1e999999999` would be a number of a billion digits."""


def register(app: typer.Typer) -> None:
    """Add the commands of this family; those that are one call each are in `calls`."""
    group = typer.Typer(help="Buy, sell and move stake.", no_args_is_help=True, rich_markup_mode=None)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("move")(move)
    group.command("swap")(swap)
    group.command("transfer")(transfer)
    group.command("list")(list_stakes)
    app.add_typer(group, name="stake")


@signed
def add(
    hotkey_ss58: HotkeySs58Option,
    netuid: NetuidOption,
    amount: AmountOption,
    limit_price: LimitOption = "",
    tolerance: ToleranceOption = "",
    allow_partial: PartialOption = False,
    *,
    signing: Signing,
) -> None:
    """Buy stake behind a hotkey with TAO."""
    with reporting(signing.as_json):
        quote = _quote(signing.home, "quote_buy", netuid, amount, signing.as_json)
        limit = _limit(quote, limit_price, tolerance, up=True)
    texts = {"hotkey": hotkey_ss58, "netuid": str(netuid), "amount": amount}
    _send("stake.add_stake", texts, limit, allow_partial, signing)


@signed
def remove(
    hotkey_ss58: HotkeySs58Option,
    netuid: NetuidOption,
    amount: AmountOption,
    limit_price: LimitOption = "",
    tolerance: ToleranceOption = "",
    allow_partial: PartialOption = False,
    *,
    signing: Signing,
) -> None:
    """Sell stake for TAO."""
    with reporting(signing.as_json):
        quote = _quote(signing.home, "quote_sell", netuid, amount, signing.as_json)
        limit = _limit(quote, limit_price, tolerance, up=False)
    texts = {"hotkey": hotkey_ss58, "netuid": str(netuid), "amount": amount}
    _send("stake.remove_stake", texts, limit, allow_partial, signing)


@signed
def move(
    origin_hotkey: Annotated[str, typer.Option("--origin-hotkey", help="Hotkey it leaves.")],
    destination_hotkey: Annotated[str, typer.Option("--destination-hotkey", help="Hotkey it goes to.")],
    origin_netuid: FromOption,
    destination_netuid: ToOption,
    amount: AmountOption,
    *,
    signing: Signing,
) -> None:
    """Move stake to another hotkey, on the same or another subnet."""
    with reporting(signing.as_json):
        _swap_quote(signing.home, origin_netuid, destination_netuid, amount, signing.as_json)
    texts = {"origin_hotkey": origin_hotkey, "destination_hotkey": destination_hotkey}
    texts |= _way(origin_netuid, destination_netuid, amount)
    _send("stake.move_stake", texts, None, False, signing)


@signed
def swap(
    hotkey_ss58: HotkeySs58Option,
    origin_netuid: FromOption,
    destination_netuid: ToOption,
    amount: AmountOption,
    limit_price: RatioOption = "",
    tolerance: ToleranceOption = "",
    allow_partial: PartialOption = False,
    *,
    signing: Signing,
) -> None:
    """Exchange stake of one subnet for stake of another behind the same hotkey."""
    with reporting(signing.as_json):
        quote = _swap_quote(signing.home, origin_netuid, destination_netuid, amount, signing.as_json)
        limit = _limit(quote, limit_price, tolerance, up=False)
    texts = {"hotkey": hotkey_ss58} | _way(origin_netuid, destination_netuid, amount)
    _send("stake.swap_stake", texts, limit, allow_partial, signing)


@signed
def transfer(
    destination_coldkey: Annotated[str, typer.Option("--destination-coldkey", help="Who gets it.")],
    hotkey_ss58: HotkeySs58Option,
    origin_netuid: FromOption,
    destination_netuid: ToOption,
    amount: AmountOption,
    *,
    signing: Signing,
) -> None:
    """Give stake to another coldkey, on the same or another subnet."""
    with reporting(signing.as_json):
        _swap_quote(signing.home, origin_netuid, destination_netuid, amount, signing.as_json)
    texts = {"destination_coldkey": destination_coldkey, "hotkey": hotkey_ss58}
    texts |= _way(origin_netuid, destination_netuid, amount)
    _send("stake.transfer_stake", texts, None, False, signing)


def _way(origin_netuid: int, destination_netuid: int, amount: str) -> dict[str, str]:
    return {
        "origin_netuid": str(origin_netuid),
        "destination_netuid": str(destination_netuid),
        "amount": amount,
    }


def _send(name: str, texts: dict[str, str], limit: int | None, allow_partial: bool, signing: Signing) -> None:
    """The plain call, or the one with a price limit."""
    if limit is None:
        send_by_text(name, texts, signing)
    else:
        more = {"limit_price": f"{limit}rao", "allow_partial": str(allow_partial).lower()}
        send_by_text(f"{name}_limit", {**texts, **more}, signing)


def _quote(home: Path, read: str, netuid: int, amount: str, quiet: bool) -> dict[str, Any]:
    """The quote of a purchase or sale, shown to whoever watches. Raises CommandError when the pool refuses it."""
    quote = _asked(home, read, f"the pool of subnet {netuid}", amount, netuid=netuid)
    if not quiet:
        alpha = ALPHA if netuid else TAO
        paid, bought = (TAO, alpha) if read == "quote_buy" else (alpha, TAO)
        _show(quote, f"{short_amount(int(quote['price_rao']))} for one {alpha}", paid, bought)
    return quote


def _swap_quote(home: Path, origin: int, destination: int, amount: str, quiet: bool) -> dict[str, Any]:
    """The same for stake that goes from one subnet to another, or stays on one."""
    pools = f"the pools of subnets {origin} and {destination}"
    quote = _asked(home, "quote_swap", pools, amount, origin_netuid=origin, destination_netuid=destination)
    if not quiet and origin != destination:
        paid, bought = (ALPHA if netuid else TAO for netuid in (origin, destination))
        price = f"{short_amount(int(quote['price_rao']), bought)} of subnet {destination} for one of {origin}"
        _show(quote, price, paid, bought)
    return quote


def _asked(home: Path, read: str, pools: str, amount: str, **where: int) -> dict[str, Any]:
    from ..arguments import parse_rao

    try:
        units = parse_rao(amount)
    except ValueError as error:
        raise usage_error(f"--amount is {amount!r}: {error}", remedy="write an amount such as 1.5 or 1500rao") from None
    with open_client(home) as client:
        quote: dict[str, Any] = client.call(read, **where, amount=str(units))["answer"]
    if quote["refused"]:
        raise CommandError(
            quote["refused"],
            f"{pools} would not take {amount}: {quote['refused']}",
            remedy=_REMEDIES.get(quote["refused"], "try a smaller amount"),
        )
    return quote


def _show(quote: dict[str, Any], price: str, paid: str, bought: str) -> None:
    out, fee = short_amount(int(quote["out"]), bought), short_amount(int(quote["fee"]), paid)
    print(f"price {price}; expected {out}, fee {fee}, slippage {quote['slippage_ppm'] / 10_000:.3f} %")


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
        if not _TOLERANCE.fullmatch(tolerance):
            raise ValueError(tolerance)
        share = Fraction(tolerance)
    except ValueError:
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
