"""Quotes: what an order would do on the pools as they are, without a price limit (DTAO 5.4, 6.4).

A quote says nothing about who orders: balances, locks and bonds are the call's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...fixed_point import UQ64
from .calls.call import Argument, ArgumentKind
from .dtao.pool import MAX_PRICE, MIN_PRICE, Side, SwapError
from .dtao.stake_limits import MIN_STAKE, PAR
from .errors import ErrorCode
from .markets import read_pool, simulate, spot
from .read import AMOUNT, NETUID, Read, price_in_rao, require_subnet
from .stakes import ROOT

if TYPE_CHECKING:
    from ...state.state import State

MILLION: Final = 10**6

_FROM: Final = Argument("origin_netuid", ArgumentKind.U16, "subnet it leaves, 0 for root")
_TO: Final = Argument("destination_netuid", ArgumentKind.U16, "subnet it goes to, 0 for root")


def quote_buy(state: State, netuid: int, amount: int) -> dict[str, Any]:
    """What buying stake for so much TAO would do; the fee is in rao."""
    return _quote(state, netuid, Side.BUY, amount)


def quote_sell(state: State, netuid: int, amount: int) -> dict[str, Any]:
    """What selling so much stake would do; the fee is in alpha."""
    return _quote(state, netuid, Side.SELL, amount)


def _quote(state: State, netuid: int, side: Side, amount: int) -> dict[str, Any]:
    require_subnet(state, netuid, root=True)
    price = spot(state, netuid)
    found: dict[str, Any] = {"netuid": netuid, "price_rao": price_in_rao(price), "refused": None}
    try:
        done = simulate(read_pool(state, netuid), side, amount, MAX_PRICE if side is Side.BUY else MIN_PRICE)
    except SwapError as refused:
        return found | {"out": 0, "fee": 0, "paid_in": 0, "slippage_ppm": 0, "refused": refused.reason.value}
    fair = (done.paid_in << 64) // price if side is Side.BUY and price else done.paid_in * price >> 64
    return found | {
        "out": done.paid_out,
        "fee": done.fee,
        "paid_in": done.paid_in,
        "slippage_ppm": _slippage(fair, done.paid_out),
    }


def _slippage(fair: int, out: int) -> int:
    """Millionths by which `out` falls short of what the spot price promises."""
    return max(fair - out, 0) * MILLION // fair if fair else 0


def quote_swap(state: State, origin_netuid: int, destination_netuid: int, amount: int) -> dict[str, Any]:
    """What exchanging stake of one subnet for stake of another would do.

    The price is in units of 1e-9 of the destination's stake for one of the origin's, as `swap_stake_limit` has it. The
    fee is in the origin's: it is taken on the sale, and out of root on the purchase.
    """
    require_subnet(state, origin_netuid, root=True)
    require_subnet(state, destination_netuid, root=True)
    ratio = UQ64.div_or_zero(spot(state, origin_netuid), spot(state, destination_netuid))
    found: dict[str, Any] = {
        "origin_netuid": origin_netuid,
        "destination_netuid": destination_netuid,
        "price_rao": ratio * PAR >> 64,
        "refused": None,
    }
    nothing = {"tao_value": 0, "out": 0, "fee": 0, "slippage_ppm": 0}
    if origin_netuid == destination_netuid:
        return found | nothing | {"tao_value": amount * spot(state, origin_netuid) >> 64, "out": amount}
    from_root = origin_netuid == ROOT
    try:
        sold = simulate(read_pool(state, origin_netuid), Side.SELL, amount, MIN_PRICE)
        if sold.paid_out <= MIN_STAKE:
            return found | nothing | {"refused": ErrorCode.AmountTooLow.name}
        target = read_pool(state, destination_netuid)
        bought = simulate(target, Side.BUY, sold.paid_out, MAX_PRICE, drop_fees=not from_root)
    except SwapError as refused:
        return found | nothing | {"refused": refused.reason.value}
    fee = bought.fee if from_root else sold.fee
    return found | {
        "tao_value": sold.paid_out,
        "out": bought.paid_out,
        "fee": fee,
        "slippage_ppm": _slippage((amount - fee) * ratio >> 64, bought.paid_out),
    }


QUOTE_READS: Final = (
    Read("quote_buy", (NETUID, AMOUNT), quote_buy, "what buying stake would give, in alpha"),
    Read("quote_sell", (NETUID, AMOUNT), quote_sell, "what selling stake would give, in TAO"),
    Read("quote_swap", (_FROM, _TO, AMOUNT), quote_swap, "what stake of one subnet would give on another"),
)
