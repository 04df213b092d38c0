"""The weighted two-asset pool of one subnet: prices, amounts, swaps, re-weighting (DTAO section 5).

Nothing here moves money: a swap says what goes in and out, and the caller books it (5.4, ledger effects).
"""

from enum import Enum
from typing import Final, NamedTuple

from ....fixed_point import U64F64, UQ64
from ....types import U16_MAX, U64_MAX, Rao, YumadError
from .rational_power import SCALE, pow_ratio_scaled_1e18
from .units import (
    DYNAMIC,
    PERQUINTILL_ONE,
    U128_MAX,
    Alpha,
    Perquintill,
    add_alpha,
    add_rao,
    perquintill_mul,
    perquintill_ratio,
    sub_alpha,
    sub_rao,
)

DEFAULT_QUOTE_WEIGHT: Final = Perquintill(PERQUINTILL_ONE // 2)
"""Both assets count the same: a constant-product pool."""

MIN_WEIGHT: Final = Perquintill(PERQUINTILL_ONE // 100)
"""Smallest weight of either asset; prose elsewhere says 10 %, the chain checks 1 % (DTAO 13.34)."""

MIN_OUTPUT_RESERVE: Final = 1_000_000
"""SwapMinimumReserve: a pool with less to give refuses to trade."""

MAX_INPUT_RATIO: Final = 1000
"""A swap brings at most this many times the reserve it is added to."""

MAX_PRICE: Final = U64F64(1_000_000 << 64)
"""Limit of a buy that names none: 10^15 rao, a million TAO for one alpha."""

MIN_PRICE: Final = U64F64((1000 << 64) // 10**9)
"""Limit of a sale that names none: 1000 rao for one alpha. Below this spot, normal sales fail."""

SWAP_PRECISION: Final = 256
"""Precision asked of the power for amounts (DTAO 5.3)."""

LIMIT_PRECISION: Final = 1024
"""Precision asked of the power for inputs up to a limit price (DTAO 5.4 step 6)."""

RAO_PER_TAO: Final = UQ64.from_int(10**9)


class Side(Enum):
    """What a swap brings."""

    BUY = "buy"
    """TAO comes in, alpha goes out."""

    SELL = "sell"
    """Alpha comes in, TAO goes out."""


class SwapRefusal(Enum):
    """Why a pool refuses a swap (DTAO 5.4), by the original's error names."""

    InputTooLarge = "SwapInputTooLarge"
    ReservesTooLow = "ReservesTooLow"
    PriceLimitExceeded = "PriceLimitExceeded"
    InsufficientLiquidity = "InsufficientLiquidity"
    ReservesOutOfBalance = "ReservesOutOfBalance"


class SwapError(YumadError):
    """A swap the pool refuses. A call answers with the error of the same name."""

    code = "swap_refused"

    def __init__(self, reason: SwapRefusal, message: str, remedy: str) -> None:
        super().__init__(f"{reason.value}: {message}", remedy=remedy)
        self.reason: Final = reason


class Pool(NamedTuple):
    """Reserves and weight of one subnet's TAO/alpha market (DTAO 5.1)."""

    mechanism: int
    """`SubnetMechanism`: 1 dynamic, anything else stable."""

    tao: Rao
    """SubnetTAO, the quote reserve y. Fees never enter it."""

    alpha: Alpha
    """SubnetAlphaIn, the base reserve x."""

    quote_weight: Perquintill = DEFAULT_QUOTE_WEIGHT
    """w_q, inside [1 %, 99 %]; the base weight is the rest."""

    initialised: bool = True
    """PalSwapInitialized: the first swap of a pool that is not sets the weight to one half, whatever it was."""

    fee_rate: int = 33
    """Parts of 65535 kept from the input of a swap, for the block's author."""

    @property
    def base_weight(self) -> Perquintill:
        """w_b."""
        return Perquintill(PERQUINTILL_ONE - self.quote_weight)

    @property
    def dynamic(self) -> bool:
        """Whether the pool sets the price."""
        return self.mechanism == DYNAMIC


class Swap(NamedTuple):
    """A swap that can be executed: amounts in the units of their side."""

    paid_in: int
    """d: enters the input reserve."""

    paid_out: int
    """Leaves the output reserve."""

    fee: int
    """Same currency as the input, for the block's author, outside the pool."""

    pool: Pool
    """The pool the amounts were computed with: initialised, reserves untouched."""


# --- prices -----------------------------------------------------------------------------------------------------------


def pool_price(tao: int, alpha: int, quote_weight: Perquintill) -> U64F64:
    """TAO per alpha by the pool's formula (DTAO 5.2): (w_b / w_q) * (y / x), each division truncated.

    Zero when the pool holds no alpha, so that injection falls back to TAO only.
    """
    if alpha == 0 or quote_weight == 0:
        return U64F64(0)
    weights = (PERQUINTILL_ONE - quote_weight << 64) // quote_weight
    reserves = (tao << 64) // alpha
    return U64F64(min(weights * reserves >> 64, UQ64.maximum))  # neither quotient of u64s can leave the container


def spot_price(pool: Pool) -> U64F64:
    """TAO per alpha (DTAO 5.2); exactly 1 for a stable subnet."""
    return pool_price(pool.tao, pool.alpha, pool.quote_weight) if pool.dynamic else UQ64.one


def limit_price(rao_per_alpha: int) -> U64F64:
    """A user's limit in rao for one alpha as a price."""
    return UQ64.div_or_zero(UQ64.from_int(rao_per_alpha), RAO_PER_TAO)


# --- fees and amounts -------------------------------------------------------------------------------------------------


def swap_fee(amount: int, fee_rate: int) -> int:
    """Fee contained in `amount`, which includes it (DTAO 5.4 step 4)."""
    rate = UQ64.div_or_zero(UQ64.from_int(fee_rate), UQ64.from_int(U16_MAX))
    return UQ64.to_u64(UQ64.mul(UQ64.from_int(amount), rate))


def fee_on_top(paid_in: int, fee_rate: int) -> int:
    """Fee that belongs to an input from which it was not yet taken (DTAO 5.4 step 6)."""
    rate = UQ64.div_or_zero(UQ64.from_int(fee_rate), UQ64.from_int(U16_MAX - fee_rate))
    return UQ64.to_u64(UQ64.mul(UQ64.from_int(paid_in), rate))


def remaining_share(reserve: int, paid_in: int, exponent: Perquintill, root: Perquintill) -> U64F64:
    """E(r, d, en, ed) of DTAO 5.3: the share of the other reserve that stays, (r / (r + d))^(en / ed), at most 1."""
    after = min(reserve + paid_in, U64_MAX)
    if after == 0:
        return U64F64(0)
    power = pow_ratio_scaled_1e18(reserve, after, exponent, root, SWAP_PRECISION)
    if power is None or power > U64_MAX:
        return U64F64(0)
    return min(U64F64((power << 64) // SCALE), UQ64.one)


def remaining_alpha(pool: Pool, tao_in: int) -> U64F64:
    """Share of the alpha reserve a buy of `tao_in` leaves."""
    return remaining_share(pool.tao, tao_in, pool.quote_weight, pool.base_weight)


def remaining_tao(pool: Pool, alpha_in: int) -> U64F64:
    """Share of the TAO reserve a sale of `alpha_in` leaves."""
    return remaining_share(pool.alpha, alpha_in, pool.base_weight, pool.quote_weight)


def amount_out(pool: Pool, side: Side, paid_in: int) -> int:
    """What `paid_in` buys, in units of the other side (DTAO 5.3). Rounded up in effect: do not mend it (DTAO 13.19)."""
    if side is Side.BUY:
        reserve, remaining = int(pool.alpha), remaining_alpha(pool, paid_in)
    else:
        reserve, remaining = int(pool.tao), remaining_tao(pool, paid_in)
    return UQ64.to_u64(UQ64.mul(UQ64.from_int(reserve), UQ64.sub(UQ64.one, remaining)))


def input_to_price(reserve: int, start: U64F64, target: U64F64, side: Side, quote_weight: Perquintill) -> int:
    """Largest input that moves the price from `start` to `target`, 0 when it lies the other way (DTAO 5.4 step 6).

    `reserve` is the input side's: TAO for a buy, alpha for a sale. The other weight than in 5.3 is the exponent.
    """
    if side is Side.BUY:
        weight = PERQUINTILL_ONE - quote_weight
        power = pow_ratio_scaled_1e18(target, start, weight, PERQUINTILL_ONE, LIMIT_PRECISION)
    else:
        power = pow_ratio_scaled_1e18(start, target, quote_weight, PERQUINTILL_ONE, LIMIT_PRECISION)
    growth = UQ64.div_or_zero(UQ64.from_int(min(power or 0, U64_MAX)), UQ64.from_int(SCALE))
    return UQ64.to_u64(UQ64.mul(UQ64.from_int(reserve), UQ64.sub(growth, UQ64.one)))


# --- swap -------------------------------------------------------------------------------------------------------------


def swap(pool: Pool, side: Side, amount: int, limit: U64F64, *, drop_fees: bool = False) -> Swap:
    """One swap of at most `amount`, fee included, down to the limit price (DTAO 5.4).

    What the limit leaves unused is `amount - paid_in - fee`. A stable subnet's caller books 1:1 without calling this.
    Raises SwapError; the pool stays as it was, except that InsufficientLiquidity keeps the initialisation, which such
    a caller takes from `initialised_pool`.
    """
    charged = pool.dynamic and not drop_fees
    fee = swap_fee(amount, pool.fee_rate) if charged else 0
    reserve_in, reserve_out = _reserves(pool, side)
    largest = min(MAX_INPUT_RATIO * reserve_in, U64_MAX)
    if amount - fee > largest:
        message = f"{amount - fee} after the fee; expected at most {largest}, 1000 times the reserve"
        raise SwapError(SwapRefusal.InputTooLarge, message, "split the order")
    if reserve_out < MIN_OUTPUT_RESERVE:
        message = f"the pool has {reserve_out} to give; expected at least {MIN_OUTPUT_RESERVE}"
        raise SwapError(SwapRefusal.ReservesTooLow, message, "wait until the pool has grown")

    pool = initialised_pool(pool)
    price = spot_price(pool)
    if not (price < limit if side is Side.BUY else price > limit):
        message = f"the price is {price} / 2^64 and the limit {limit} / 2^64; expected a limit beyond the price"
        raise SwapError(SwapRefusal.PriceLimitExceeded, message, "name a worse price, or wait for a better one")

    paid_in = amount - fee
    paid_out = amount_out(pool, side, paid_in)
    if _beyond(_price_after(pool, side, paid_in, paid_out), limit, side):
        paid_in = input_to_price(reserve_in, price, limit, side, pool.quote_weight)
        fee = 0 if drop_fees else fee_on_top(paid_in, pool.fee_rate)
        paid_out = amount_out(pool, side, paid_in)
    if paid_in > 0 and paid_out == 0:
        message = f"an input of {paid_in} buys nothing"
        raise SwapError(SwapRefusal.ReservesTooLow, message, "trade a larger amount")
    if paid_out > reserve_out:
        message = f"{paid_out} would leave a reserve of {reserve_out}"
        raise SwapError(SwapRefusal.InsufficientLiquidity, message, "trade a smaller amount")
    return Swap(paid_in, paid_out, fee, pool)


def initialised_pool(pool: Pool) -> Pool:
    """The pool as its first swap finds it: an uninitialised one forgets what injections made of its weight (5.1)."""
    return pool if pool.initialised else pool._replace(quote_weight=DEFAULT_QUOTE_WEIGHT, initialised=True)


def traded_pool(done: Swap, side: Side) -> Pool:
    """The pool after the caller booked the swap (DTAO 5.4, ledger effects)."""
    pool = done.pool
    if side is Side.BUY:
        return pool._replace(tao=add_rao(pool.tao, done.paid_in), alpha=sub_alpha(pool.alpha, done.paid_out))
    return pool._replace(tao=sub_rao(pool.tao, done.paid_out), alpha=add_alpha(pool.alpha, done.paid_in))


def _reserves(pool: Pool, side: Side) -> tuple[int, int]:
    """(input reserve, output reserve)."""
    return (pool.tao, pool.alpha) if side is Side.BUY else (pool.alpha, pool.tao)


def _price_after(pool: Pool, side: Side, paid_in: int, paid_out: int) -> U64F64:
    """Target price t of step 5: the pool's formula even for a stable subnet."""
    if side is Side.BUY:
        tao, alpha = min(pool.tao + paid_in, U64_MAX), max(pool.alpha - paid_out, 0)
    else:
        tao, alpha = max(pool.tao - paid_out, 0), min(pool.alpha + paid_in, U64_MAX)
    return pool_price(tao, alpha, pool.quote_weight)


def _beyond(price: U64F64, limit: U64F64, side: Side) -> bool:
    return price > limit if side is Side.BUY else price < limit


# --- re-weighting -----------------------------------------------------------------------------------------------------


def add_liquidity(pool: Pool, tao_in: int, alpha_in: int) -> Pool | None:
    """The pool re-weighted so that a planned injection keeps the price (DTAO 5.5); reserves are added by the caller.

    None when the new weight would leave [1 %, 99 %]: the injection must not happen.
    """
    weight = weight_after_injection(pool, tao_in, alpha_in)
    return None if weight is None else pool._replace(quote_weight=weight)


def weight_after_injection(pool: Pool, tao_in: int, alpha_in: int) -> Perquintill | None:
    """The quote weight that keeps the price when both amounts are added; None outside [1 %, 99 %] (DTAO 5.5)."""
    base_part = _weighted_product(pool.base_weight, pool.tao, pool.alpha + alpha_in)
    quote_part = _weighted_product(pool.quote_weight, pool.alpha, pool.tao + tao_in)
    total = min(base_part + quote_part, U128_MAX)
    weight = perquintill_ratio(quote_part, total) if total else DEFAULT_QUOTE_WEIGHT
    if not MIN_WEIGHT <= weight <= PERQUINTILL_ONE - MIN_WEIGHT:
        return None
    return weight


def _weighted_product(share: Perquintill, a: int, b: int) -> int:
    return min(perquintill_mul(share, min(a * b, U128_MAX)), U128_MAX)


def pool_at_price(mechanism: int, tao: Rao, alpha: Alpha, price: U64F64) -> Pool:
    """A pool whose weight is chosen so that it trades at `price` (DTAO section 5, migration and explicit start).

    w_q = ratio(y, price * x + y), where the integer and the fraction part of the price are multiplied apart. Raises
    SwapError when no weight inside the bounds gives the price.
    """
    whole, fraction = price >> 64, U64F64(price & ((1 << 64) - 1))
    value = whole * alpha + UQ64.to_u64(UQ64.mul(fraction, UQ64.from_int(alpha)))
    weight = perquintill_ratio(tao, value + tao)
    if not MIN_WEIGHT <= weight <= PERQUINTILL_ONE - MIN_WEIGHT:
        message = f"a price of {price} / 2^64 needs a TAO weight of {weight} in 10^18; expected 10^16..99*10^16"
        raise SwapError(SwapRefusal.ReservesOutOfBalance, message, "choose other reserves or another price")
    return Pool(mechanism, tao, alpha, weight)
