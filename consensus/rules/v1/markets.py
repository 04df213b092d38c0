"""The pools of all subnets in the state, and what a trade does to the books (DTAO sections 2, 5.4).

Every subnet has an account (`subnets/account`) that physically holds its TAO: the reserve, locks, and what an order
could not use. It is a number of the subnet and not an account that anybody could hold a key to; `system_account` is the
address under which the original keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...fixed_point import U64F64
from ...types import U64_MAX, AccountId, Rao
from .dtao.pool import (
    MAX_PRICE,
    MIN_PRICE,
    Pool,
    Side,
    Swap,
    SwapError,
    SwapRefusal,
    initialised_pool,
    spot_price,
    swap,
)
from .dtao.units import U128_MAX, Alpha, Perquintill
from .errors import CallError, ErrorCode

if TYPE_CHECKING:
    from ...state.state import State

_SYSTEM_PREFIX: Final = b"modlsubtensr"
SWAP_ERRORS: Final = {
    SwapRefusal.InputTooLarge: ErrorCode.SwapInputTooLarge,
    SwapRefusal.ReservesTooLow: ErrorCode.ReservesTooLow,
    SwapRefusal.PriceLimitExceeded: ErrorCode.PriceLimitExceeded,
    SwapRefusal.InsufficientLiquidity: ErrorCode.InsufficientLiquidity,
    SwapRefusal.ReservesOutOfBalance: ErrorCode.ReservesOutOfBalance,
}
"""The call's error for a swap that the pool refuses."""


def system_account(netuid: int) -> AccountId:
    """Address of a subnet's account. No hotkey may equal it (`CannotUseSystemAccount`)."""
    return AccountId((_SYSTEM_PREFIX + netuid.to_bytes(2, "little")).ljust(32, b"\0"))


def is_system_account(account: bytes) -> bool:
    """Whether an account is the address of any subnet's account."""
    return account[:12] == _SYSTEM_PREFIX and not any(account[14:])


# --- pools ------------------------------------------------------------------------------------------------------------


def read_pool(state: State, netuid: int) -> Pool:
    """A subnet's pool; root and stable subnets have one that does not trade."""
    return Pool(
        mechanism=state.read("subnets/subnet_mechanism", netuid),
        tao=Rao(state.read("subnets/tao_reserve", netuid)),
        alpha=Alpha(state.read("subnets/alpha_reserve", netuid)),
        quote_weight=Perquintill(state.read("subnets/quote_weight", netuid)),
        initialised=bool(state.read("subnets/swap_initialised", netuid)),
        fee_rate=state.read("subnets/fee_rate", netuid),
    )


def write_pool(state: State, netuid: int, pool: Pool) -> None:
    """Store reserves, weight and the initialised flag; the rest of a pool never changes by a trade."""
    state.write("subnets/tao_reserve", netuid, pool.tao)
    state.write("subnets/alpha_reserve", netuid, pool.alpha)
    state.write("subnets/quote_weight", netuid, pool.quote_weight)
    state.write("subnets/swap_initialised", netuid, int(pool.initialised))


def spot(state: State, netuid: int) -> U64F64:
    """Spot price of a subnet's alpha in TAO (DTAO 5.2)."""
    return spot_price(read_pool(state, netuid))


def simulate(pool: Pool, side: Side, amount: int, limit: U64F64, *, drop_fees: bool = False) -> Swap:
    """What a trade would do, on stable subnets and root one to one. Raises SwapError."""
    if not pool.dynamic:
        return Swap(amount, amount, 0, pool)
    return swap(pool, side, amount, limit, drop_fees=drop_fees)


# --- trades -----------------------------------------------------------------------------------------------------------


def buy(state: State, netuid: int, tao: int, limit: U64F64 = MAX_PRICE, *, drop_fees: bool = False) -> Swap:
    """Buy alpha with `tao` that lies in the subnet's account already, and book it (DTAO 5.4).

    The alpha goes to nobody yet; the fee is still in the subnet's account. Raises CallError named as the refusal.
    """
    done = _traded(state, netuid, Side.BUY, tao, limit, drop_fees)
    pool = done.pool
    _book(state, netuid, pool, pool.tao + done.paid_in, max(pool.alpha - done.paid_out, 0))
    state.write("subnets/alpha_out", netuid, min(state.read("subnets/alpha_out", netuid) + done.paid_out, U64_MAX))
    add_total_stake(state, tao)
    add_volume(state, netuid, tao)
    return done


def sell(state: State, netuid: int, alpha: int, limit: U64F64 = MIN_PRICE, *, drop_fees: bool = False) -> Swap:
    """Sell alpha that was taken from its holder already, and book it (DTAO 5.4).

    The proceeds are still in the subnet's account, the fee is alpha that nobody holds. Raises CallError named as the
    refusal.
    """
    done = _traded(state, netuid, Side.SELL, alpha, limit, drop_fees)
    pool = done.pool
    _book(state, netuid, pool, max(pool.tao - done.paid_out, 0), pool.alpha + done.paid_in)
    state.write("subnets/alpha_out", netuid, max(state.read("subnets/alpha_out", netuid) - done.paid_in, 0))
    add_total_stake(state, -done.paid_out)
    add_volume(state, netuid, done.paid_out)
    return done


def _traded(state: State, netuid: int, side: Side, amount: int, limit: U64F64, drop_fees: bool) -> Swap:
    pool = read_pool(state, netuid)
    try:
        return simulate(pool, side, amount, limit, drop_fees=drop_fees)
    except SwapError as refused:
        if refused.reason is SwapRefusal.InsufficientLiquidity:
            write_pool(state, netuid, initialised_pool(pool))  # the one refusal that keeps the initialisation
        raise CallError(SWAP_ERRORS[refused.reason]) from refused


def _book(state: State, netuid: int, pool: Pool, tao: int, alpha: int) -> None:
    state.write("subnets/tao_reserve", netuid, min(tao, U64_MAX))
    state.write("subnets/alpha_reserve", netuid, min(alpha, U64_MAX))
    state.write("subnets/quote_weight", netuid, pool.quote_weight)
    state.write("subnets/swap_initialised", netuid, int(pool.initialised))


def add_total_stake(state: State, amount: int) -> None:
    """TotalStake, informational (DTAO 13.16); saturating both ways."""
    state.write("chain/total_stake", 0, min(max(state.read("chain/total_stake", 0) + amount, 0), U64_MAX))


def add_volume(state: State, netuid: int, tao: int) -> None:
    """SubnetVolume, a saturating u128."""
    volume = state.read_wide("subnets/volume", netuid)
    state.write_wide("subnets/volume", netuid, min(volume + tao, U128_MAX))
