"""Records of fixed-point primitives in vector files: one checker for each kind.

`PRIMITIVE_CHECKERS` maps the kind to a function that yields where this implementation differs. Lists in `out` are
aligned with the inputs; null stands for a result the original does not have (a checked operation that overflows, a
division by zero).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from ..consensus.fixed_point import (
    Q32,
    Q64,
    Q96,
    UQ64,
    UQ96,
    FixedFormat,
    alpha_sigmoid,
    exponential,
    parts_to_proportion,
    proportion_to_u16,
    round_to_u16,
    u16_to_proportion,
    upscale_fixed_to_u16,
    upscale_to_u16,
)
from ..consensus.rules.v1.yuma.activity import top_k
from ..consensus.rules.v1.yuma.mechanisms import accumulate_weighted, mechanism_weights, split_emission
from ..consensus.rules.v1.yuma.median import consensus_weights
from ..consensus.types import U16_MAX, U64_MAX
from .vector_record import Difference, Fields, Record, RecordError, compare

FORMATS: Final[dict[str, FixedFormat[Any]]] = {form.name: form for form in (Q32, Q64, Q96, UQ96, UQ64)}
"""The fixed-point formats by the name vectors use."""

Checker = Callable[[Record], Iterator[Difference]]
Unary = Callable[[Any], int | None]
Binary = Callable[[Any, Any], int | None]

ALPHA_STEP: Final = 1_000_003
"""`mechanism_split` folds its u16 values times this as alpha amounts."""


def _unary(operation: Unary, minimum: int, maximum: int) -> Checker:
    """Checker of `out[i] == operation(a[i])` for raw inputs within the format's bounds."""

    def check(record: Record) -> Iterator[Difference]:
        values = record.inputs().integers("a", maximum, minimum)
        yield from compare(record, record.kind, record.expected(), [operation(value) for value in values])

    return check


def _binary(operation: Binary, form: FixedFormat[Any]) -> Checker:
    """Checker of `out[i] == operation(a[i], b[i])`."""

    def check(record: Record) -> Iterator[Difference]:
        fields = record.inputs()
        left = fields.integers("a", form.maximum, form.minimum)
        right = fields.integers("b", form.maximum, form.minimum)
        if len(left) != len(right):
            raise RecordError(f"'in.a' has {len(left)} elements and 'in.b' {len(right)}; expected as many")
        actual = [operation(a, b) for a, b in zip(left, right, strict=True)]
        yield from compare(record, record.kind, record.expected(), actual)

    return check


def _format_checkers(form: FixedFormat[Any]) -> dict[str, Checker]:
    """Checkers of `<TYPE>.<operation>` for one format."""
    low, high = form.minimum, form.maximum

    def divide(a: Any, b: Any) -> int | None:
        return None if b == 0 else form.div(a, b)

    def convert_to(target: FixedFormat[Any]) -> Unary:
        return lambda value: target.from_fraction_bits(value, form.fraction)

    checkers = {
        "saturating_add": _binary(form.add, form),
        "saturating_sub": _binary(form.sub, form),
        "saturating_mul": _binary(form.mul, form),
        "checked_mul": _binary(form.checked_mul, form),
        "safe_div": _binary(form.div_or_zero, form),
        "checked_div": _binary(form.checked_div, form),
        "saturating_div": _binary(divide, form),
        "saturating_to_u16": _unary(form.to_u16, low, high),
        "saturating_to_u64": _unary(form.to_u64, low, high),
        "floor": _unary(form.floor, low, high),
    }
    for name, target in FORMATS.items():
        checkers[f"saturating_to_{name}"] = _unary(convert_to(target), low, high)
    return {f"{form.name}.{operation}": checker for operation, checker in checkers.items()}


def _check_sigmoid(record: Record) -> Iterator[Difference]:
    name = "consensus_weight_bond_low_high_steepness"
    actual = []
    for row in record.inputs().groups(name, 6):
        values = Fields(f"in.{name}", dict(zip("cwblhs", row, strict=True)))
        consensus, weight, bond = (Q32.clamp(values.integer(key, Q32.maximum, Q32.minimum)) for key in "cwb")
        low, high = (u16_to_proportion(values.integer(key, U16_MAX)) for key in "lh")
        steepness = values.integer("s", 32767, minimum=-32768)
        actual.append(alpha_sigmoid(consensus, weight, bond, low, high, steepness))
    yield from compare(record, record.kind, record.expected(), actual)


def _check_upscale(record: Record) -> Iterator[Difference]:
    fields, expected = record.inputs(), Fields("out", _object(record))
    upscaled = upscale_to_u16(fields.integers("a", U16_MAX))
    yield from compare(record, "upscaled", expected.get("upscaled"), upscaled)
    yield from compare(record, "max_limited", expected.get("max_limited"), _max_limited(upscaled, fields))


def _max_limited(upscaled: list[int], fields: Fields) -> bool:
    """Whether the largest normalised weight stays within the u16 limit (YUMA 5.1, the historic max-weight rule)."""
    limit = fields.integer("limit", U16_MAX)
    if limit == U16_MAX:
        return True
    shares = Q32.normalize([Q32.from_int(value) for value in upscaled])
    return max(shares, default=0) <= u16_to_proportion(limit)


def _check_top_k(record: Record) -> Iterator[Difference]:
    fields, expected = record.inputs(), Fields("out", _object(record))
    values = np.array(fields.integers("a", Q32.maximum), dtype=np.int64)
    k = fields.integer("k", U16_MAX)
    yield from compare(record, "is_topk_nonzero", expected.get("is_topk_nonzero"), top_k(values, k).tolist())
    # Without the non-zero condition zeros rank below all others; shifting every value keeps the order and the ties.
    yield from compare(record, "is_topk", expected.get("is_topk"), top_k(values + 1, k).tolist())


def _check_normalize(record: Record) -> Iterator[Difference]:
    expected = Fields("out", _object(record))
    values = [Q32.clamp(value) for value in record.inputs().integers("a", Q32.maximum)]
    yield from compare(record, "normalized", expected.get("normalized"), Q32.normalize(values))
    yield from compare(record, "max_upscale_u16", expected.get("max_upscale_u16"), upscale_fixed_to_u16(values))


def _check_median(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    stake = fields.integers("stake", Q32.one)
    columns = fields.integer("columns", U16_MAX)
    rows = [fields.integer_groups("score", row, 2, Q32.one) for row in fields.items("score")]
    if len(rows) != len(stake):
        raise RecordError(f"'in.score' has {len(rows)} rows; expected one for each of {len(stake)} stakes")
    scores = np.zeros((columns, len(stake)), dtype=np.int64)
    for position, row in enumerate(rows):
        for uid, score in row:
            if uid >= columns:
                raise RecordError(f"'in.score': column {uid}; expected less than {columns}")
            scores[uid, position] = score
    actual = consensus_weights(scores, np.array(stake, dtype=np.int64), fields.integer("kappa_u16", U16_MAX))
    yield from compare(record, record.kind, record.expected(), actual.tolist())


def _check_split(record: Record) -> Iterator[Difference]:
    fields, expected = record.inputs(), Fields("out", _object(record))
    count = fields.integer("mechanism_count", 255, minimum=1)
    split = None if fields.get("split") is None else fields.integers("split", U16_MAX)
    shares = split_emission(fields.integer("emission"), count, split)
    weights = mechanism_weights(shares)
    parts, alpha = 0, 0
    for value, weight in zip(fields.integers("values", U16_MAX), weights, strict=False):
        parts = accumulate_weighted(parts, value, weight, U16_MAX)
        alpha = accumulate_weighted(alpha, value * ALPHA_STEP, weight, U64_MAX)
    actual: dict[str, Any] = {"split": shares, "sub_weight_bits": weights, "acc_u16": parts, "acc_alpha": alpha}
    for name, value in actual.items():
        yield from compare(record, name, expected.get(name), value)


def _object(record: Record) -> dict[str, Any]:
    expected = record.expected()
    if not isinstance(expected, dict):
        raise RecordError("'out' is not an object")
    return expected


PRIMITIVE_CHECKERS: Final[dict[str, Checker]] = {
    **{kind: checker for form in FORMATS.values() for kind, checker in _format_checkers(form).items()},
    **{f"u64.saturating_to_{name}": _unary(form.from_int, 0, U64_MAX) for name, form in FORMATS.items()},
    "exp_safe": _unary(exponential, Q32.minimum, Q32.maximum),
    "fixed_proportion_to_u16": _unary(proportion_to_u16, Q32.minimum, Q32.maximum),
    "fixed_to_fixed_u16_proportion": _unary(parts_to_proportion, Q32.minimum, Q32.maximum),
    "round_to_u16": _unary(round_to_u16, Q32.minimum, Q32.maximum),
    "u16_proportion_to_fixed": _unary(u16_to_proportion, 0, U16_MAX),
    "alpha_sigmoid": _check_sigmoid,
    "vec_u16_max_upscale": _check_upscale,
    "topk": _check_top_k,
    "normalize": _check_normalize,
    "weighted_median_col_sparse": _check_median,
    "mechanism_split": _check_split,
}
"""Kind -> checker for everything the epoch's arithmetic covers."""
