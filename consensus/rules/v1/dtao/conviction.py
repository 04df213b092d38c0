"""Locks on stake: how their mass decays and their conviction grows with time (DTAO 7.4), and the series exp (0.5)."""

from dataclasses import dataclass
from typing import Final

from ....fixed_point import I64F64, Q64, U64F64, UQ64
from ....types import Height
from .units import Alpha

LAST_SERIES_TERM: Final = 63
"""The series always runs to here; there is no convergence test."""

LOWEST_EXPONENT: Final = Q64.from_int(-40)
"""e^-40 is 78 / 2^64: what is older counts as this old."""

DEFAULT_RATE: Final = 934_866
"""UnlockRate and MaturityRate in blocks: half in 90 days of 12 s blocks."""

DUST: Final = 100
"""A lock with less mass and less conviction than this is gone."""


@dataclass(frozen=True, slots=True)
class LockRates:
    """Time constants of all locks, in blocks."""

    unlock: int = DEFAULT_RATE
    maturity: int = DEFAULT_RATE


@dataclass(frozen=True, slots=True)
class Lock:
    """A coldkey's lock on a subnet, or an aggregate of locks."""

    mass: Alpha
    """Locked alpha."""

    conviction: U64F64
    """Weight in the contest for the subnet's ownership."""

    last: Height
    """Block both numbers are of."""


def exponential(x: I64F64) -> I64F64:
    """e^x by 62 terms, each product and quotient truncated; negative x by the reciprocal (DTAO 0.5)."""
    if x == 0:
        return Q64.one
    if x < 0:
        return Q64.div_or_zero(Q64.one, exponential(I64F64(-x)))
    term, result = x, Q64.add(x, Q64.one)
    for number in range(2, LAST_SERIES_TERM + 1):
        term = Q64.div_or_zero(Q64.mul(term, x), Q64.from_int(number))
        result = Q64.add(result, term)
    return result


def decay(elapsed: int, rate: int) -> U64F64:
    """`decay(dt, tau)`: e^(-dt / tau) as a share; 1 at once, 0 for a rate of 0."""
    if elapsed == 0:
        return UQ64.one
    if rate == 0:
        return U64F64(0)
    exponent = Q64.div_or_zero(Q64.from_int(-elapsed), Q64.from_int(rate))
    return UQ64.clamp(exponential(max(exponent, LOWEST_EXPONENT)))


def rolled(lock: Lock, now: Height, rates: LockRates, *, perpetual: bool, owner: bool) -> Lock:
    """The lock at block `now` (DTAO 7.4).

    A decaying lock bleeds mass while its conviction first grows; a perpetual one keeps the mass and matures. The
    owner's conviction is the mass itself.
    """
    elapsed = now - lock.last
    if elapsed <= 0:
        return lock
    kept, immature = decay(elapsed, rates.unlock), decay(elapsed, rates.maturity)
    whole = UQ64.from_int(lock.mass)
    mass = lock.mass if perpetual else Alpha(UQ64.to_u64(UQ64.mul(kept, whole)))
    if perpetual:
        gained = UQ64.mul(whole, UQ64.sub(UQ64.one, immature))
    else:
        gained = UQ64.mul(whole, _matured_share(elapsed, kept, immature, rates))
    conviction = UQ64.add(UQ64.mul(immature, lock.conviction), gained)
    if owner:
        conviction = UQ64.from_int(mass)
    if mass < DUST and conviction < UQ64.from_int(DUST):
        mass, conviction = Alpha(0), U64F64(0)
    return Lock(mass, conviction, now)


def _matured_share(elapsed: int, kept: U64F64, immature: U64F64, rates: LockRates) -> U64F64:
    """What a decaying lock's mass adds to its conviction, as a share of the mass."""
    if rates.unlock == 0 or rates.maturity == 0:
        return U64F64(0)
    if rates.unlock == rates.maturity:
        return UQ64.mul(UQ64.div_or_zero(UQ64.from_int(elapsed), UQ64.from_int(rates.maturity)), immature)
    spread = Q64.mul(Q64.from_int(rates.unlock), Q64.sub(Q64.clamp(kept), Q64.clamp(immature)))
    return UQ64.clamp(Q64.div_or_zero(spread, Q64.from_int(rates.unlock - rates.maturity)))
