"""Records of pools in vector files: swaps, limits, re-weighting, and the power and ratio below them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from ..consensus.fixed_point import UQ64
from ..consensus.rules.v1.dtao.pool import (
    Pool,
    Side,
    SwapError,
    add_liquidity,
    input_to_price,
    limit_price,
    pool_price,
    remaining_alpha,
    remaining_tao,
    swap,
    swap_fee,
)
from ..consensus.rules.v1.dtao.rational_power import pow_ratio_scaled_1e18
from ..consensus.rules.v1.dtao.units import PERQUINTILL_ONE, U128_MAX, Alpha, Perquintill, perquintill_ratio
from ..consensus.types import U16_MAX, Rao
from .vector_record import Difference, Fields, Record, RecordError, compare, compare_fields

Checker = Callable[[Record], Iterator[Difference]]

MAX_PRECISION: Final = 4096
"""Most fraction bits a record may ask of the power; the rules ask 256 and 1024."""


def _quote_weight(fields: Fields) -> Perquintill:
    return Perquintill(fields.integer("quote_weight", PERQUINTILL_ONE))


def _check_swap(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    pool = Pool(
        mechanism=fields.integer("mechanism", U16_MAX),
        tao=Rao(fields.integer("tao")),
        alpha=Alpha(fields.integer("alpha_in")),
        quote_weight=_quote_weight(fields),
        initialised=fields.boolean("palswap_initialized"),
        fee_rate=fields.integer("fee_rate", U16_MAX - 1),
    )
    side = fields.get("side")
    if side not in [known.value for known in Side]:
        raise RecordError(f"'in.side' is {str(side)[:40]!r}; expected 'buy' or 'sell'")
    amount, limit = fields.integer("amount"), limit_price(fields.integer("limit_price"))
    result: dict[str, Any]
    try:
        done = swap(pool, Side(side), amount, limit, drop_fees=fields.boolean("drop_fees"))
        fee, after = done.fee, done.pool
        result = {"paid_in": done.paid_in, "paid_out": done.paid_out, "fee_paid": fee, "fee_to_block_author": fee}
    except SwapError as refused:
        result, after = {"error": refused.reason.value}, pool
    primitives = {
        "price_bits": pool_price(pool.tao, pool.alpha, pool.quote_weight),
        "exp_base_quote_bits": remaining_tao(pool, amount),
        "exp_quote_base_bits": remaining_alpha(pool, amount),
        "fee": swap_fee(amount, pool.fee_rate) if pool.dynamic else 0,
    }
    actual = {"primitives": primitives, "result": result, "quote_weight_after": after.quote_weight}
    yield from compare_fields(record, actual)


def _check_limit(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    weight, reserve = _quote_weight(fields), fields.integer("reserve")
    start, up, down = (
        UQ64.clamp(fields.integer(f"{name}_price_bits", UQ64.maximum)) for name in ("current", "up", "down")
    )
    actual = {
        "quote_delta_in": input_to_price(reserve, start, up, Side.BUY, weight),
        "base_delta_in": input_to_price(reserve, start, down, Side.SELL, weight),
    }
    yield from compare_fields(record, actual)


def _check_liquidity(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    pool = Pool(1, Rao(fields.integer("tao")), Alpha(fields.integer("alpha_in")), _quote_weight(fields))
    after = add_liquidity(pool, fields.integer("tao_delta"), fields.integer("alpha_delta"))
    weight = pool.quote_weight if after is None else after.quote_weight
    yield from compare_fields(record, {"ok": after is not None, "quote_weight": weight})


def _check_power(record: Record) -> Iterator[Difference]:
    name = "num_den_expnum_expden_precision"
    fields = record.inputs()
    actual = []
    for numerator, denominator, power, root, precision in fields.integer_groups(name, fields.items(name), 5, U128_MAX):
        if precision > MAX_PRECISION:
            raise RecordError(f"'in.{name}': a precision of {precision}; expected at most {MAX_PRECISION}")
        result = pow_ratio_scaled_1e18(numerator, denominator, power, root, precision)
        actual.append(None if result is None else str(result))
    yield from compare(record, record.kind, record.expected(), actual)


def _check_ratio(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    pairs = fields.integer_groups("p_q", fields.items("p_q"), 2, U128_MAX)
    yield from compare(record, record.kind, record.expected(), [perquintill_ratio(p, q) for p, q in pairs])


POOL_CHECKERS: Final[dict[str, Checker]] = {
    "swap": _check_swap,
    "limit_delta": _check_limit,
    "add_liquidity": _check_liquidity,
    "pow_ratio_scaled_1e18": _check_power,
    "perquintill_from_rational_u128": _check_ratio,
}
"""Kind -> checker for pools."""
