"""What a staking call checks before it trades, in the order of DTAO 6.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...types import AccountId
from ..interface import BlockContext
from .authorities import check_bond
from .balances import free_balance
from .dtao.pool import MAX_INPUT_RATIO, MAX_PRICE, MIN_PRICE, Side, Swap, SwapError
from .dtao.stake_limits import least_stake
from .errors import CallError, ErrorCode
from .locks import may_take_out
from .markets import SWAP_ERRORS, read_pool, simulate
from .stakes import enough_precision, hotkey_owner, position
from .subnets import parameter, subnet_exists
from .trading import MIN_STAKE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...state.state import State

NO_LIMIT: Final = (1 << 64) - 1
"""Largest order where no price limit was named."""


def require_subnet(state: State, netuid: int) -> None:
    """Raise SubnetNotExists unless there is such a subnet; root counts."""
    if not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)


def require_hotkey(state: State, hotkey: bytes) -> None:
    """Raise HotKeyAccountNotExists unless somebody owns the hotkey."""
    if hotkey_owner(state, hotkey) is None:
        raise CallError(ErrorCode.HotKeyAccountNotExists)


def trades(state: State, netuid: int) -> bool:
    """Whether stake of the subnet may be bought and sold; false for one that does not exist."""
    return subnet_exists(state, netuid) and bool(parameter(state, netuid, "subtoken_enabled"))


def check_order_size(state: State, netuid: int, side: Side, amount: int) -> None:
    """A pool takes at most a thousand times its reserve. Raises InsufficientLiquidity.

    A subnet that does not exist has no pool, and is refused by the checks behind this one.
    """
    if not subnet_exists(state, netuid):
        return
    pool = read_pool(state, netuid)
    if pool.dynamic and amount > MAX_INPUT_RATIO * (pool.tao if side is Side.BUY else pool.alpha):
        raise CallError(ErrorCode.InsufficientLiquidity)


def order_limit(most: Callable[[], int]) -> int:
    """What a price limit lets through. Raises CallError named as the pool's refusal."""
    try:
        return most()
    except SwapError as refused:
        raise CallError(SWAP_ERRORS[refused.reason]) from refused


def check_add(
    state: State,
    ctx: BlockContext,
    coldkey: AccountId,
    hotkey: AccountId,
    netuid: int,
    tao: int,
    most: int = NO_LIMIT,
    *,
    allow_partial: bool = False,
) -> None:
    """The checks of add_stake and add_stake_limit; `most` is what the price limit lets through. Raises CallError.

    With `allow_partial` they are about the part that the limit lets through.
    """
    check_order_size(state, netuid, Side.BUY, tao)
    require_subnet(state, netuid)
    if not trades(state, netuid):
        raise CallError(ErrorCode.SubtokenDisabled)
    pool = read_pool(state, netuid)
    if allow_partial:
        tao = min(tao, most)
    if tao < least_stake(pool):
        raise CallError(ErrorCode.AmountTooLow)
    if tao > most:
        raise CallError(ErrorCode.SlippageTooHigh)
    if free_balance(state, coldkey) < tao + ctx.spec.existential_deposit:
        raise CallError(ErrorCode.NotEnoughBalanceToStake)
    require_hotkey(state, hotkey)
    try:
        done = simulate(pool, Side.BUY, tao, MAX_PRICE)
    except SwapError as refused:
        raise CallError(ErrorCode.InsufficientLiquidity) from refused
    if done.paid_in < MIN_STAKE:
        raise CallError(ErrorCode.AmountTooLow)
    if done.paid_out == 0 or not enough_precision(state, netuid, hotkey, done.paid_out):
        raise CallError(ErrorCode.InsufficientLiquidity)


def check_remove(
    state: State,
    ctx: BlockContext,
    coldkey: AccountId,
    hotkey: AccountId,
    netuid: int,
    alpha: int,
    most: int = NO_LIMIT,
    *,
    allow_partial: bool = False,
) -> None:
    """The checks of remove_stake and remove_stake_limit behind the subtoken's. Raises CallError."""
    check_order_size(state, netuid, Side.SELL, alpha)
    require_subnet(state, netuid)
    if alpha == 0:
        raise CallError(ErrorCode.AmountTooLow)
    held = position(state, netuid, hotkey, coldkey)
    if alpha > held:
        raise CallError(ErrorCode.NotEnoughStakeToWithdraw)
    done = simulated_sale(state, netuid, alpha)
    if done.paid_out < MIN_STAKE and alpha < held:
        raise CallError(ErrorCode.AmountTooLow)
    if not allow_partial and alpha > most:
        raise CallError(ErrorCode.SlippageTooHigh)
    require_hotkey(state, hotkey)
    if not may_take_out(state, netuid, coldkey, alpha, ctx.height):
        raise CallError(ErrorCode.StakeUnavailable)
    check_bond(state, ctx, hotkey, netuid, alpha)


def simulated_sale(state: State, netuid: int, alpha: int) -> Swap:
    """What a sale without a limit would do. Raises InsufficientLiquidity when the pool refuses."""
    try:
        return simulate(read_pool(state, netuid), Side.SELL, alpha, MIN_PRICE)
    except SwapError as refused:
        raise CallError(ErrorCode.InsufficientLiquidity) from refused
