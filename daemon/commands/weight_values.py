"""Weights as people write them: uids and numbers of which only the proportions count."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from .output import usage_error

LARGEST: Final = 65_535
"""The largest weight, and the largest uid, as the chain stores them."""

_WEIGHT: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
"""No exponents: `1e999999999` would be a number of a billion digits."""


def weight_pairs(uids: str, values: str) -> tuple[list[int], list[int]]:
    """Uids and their weights as the chain stores them. Raises a usage error."""
    chosen, scaled = _uids(uids), scale_weights(_weights(values))
    if len(chosen) != len(scaled):
        raise usage_error(f"{len(chosen)} uids and {len(scaled)} weights", remedy="give one weight for each uid")
    return chosen, scaled


def _uids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() and int(part) <= LARGEST for part in parts):
        raise usage_error(f"--uids is {text!r}", remedy="write whole numbers separated by commas, such as 0,3,17")
    return [int(part) for part in parts]


def _weights(text: str) -> list[Fraction]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(_WEIGHT.fullmatch(part) for part in parts):
        raise usage_error(f"--weights is {text!r}", remedy="write numbers that are not negative, such as 0.5,0.3,0.2")
    return [Fraction(part) for part in parts]


def scale_weights(weights: list[Fraction]) -> list[int]:
    """Weights as the chain stores them: the largest becomes 65535, the others in proportion, rounded to nearest.

    Exact: no float is involved. Raises a usage error when all are zero.
    """
    largest = max(weights)
    if largest == 0:
        raise usage_error("all weights are zero", remedy="give at least one weight above zero")
    return [round(weight * LARGEST / largest) for weight in weights]
