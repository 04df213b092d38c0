"""Which subnet gets how much of a block's TAO, and the prices and proportions that decide it (DTAO 3.2, 3.4, 3.7)."""

from collections.abc import Sequence

from ....fixed_point import I96F32, Q96, U64F64, U96F32, UQ64, UQ96
from ....types import Height, Rao
from .economy import EmissionGate, Subnet
from .pool import spot_price


def demand_shares(subnets: Sequence[Subnet], gate: EmissionGate | None) -> list[U64F64]:
    """Steps 1 and 2 of DTAO 3.2, and the gate: share of each emitting subnet before the enable switch.

    The price is the EMA, never the spot. The burned part of a subnet's incentive lowers its demand; when that leaves
    nothing at all, the plain price shares stand.
    """
    shares = _normalised([subnet.price for subnet in subnets])
    unburned = [UQ64.sub(UQ64.one, min(_widened(subnet.miner_burned), UQ64.one)) for subnet in subnets]
    weighted = [UQ64.mul(share, kept) for share, kept in zip(shares, unburned, strict=True)]
    if any(weighted):
        shares = _normalised(weighted)
    return shares if gate is None else gated_shares(shares, gate)


def gated_shares(shares: Sequence[U64F64], gate: EmissionGate) -> list[U64F64]:
    """Each share b times b^e / (b^e + bar^e), then normalised (DESIGN decision 5).

    The factor is one exact quotient of integers, floored to 64 fraction bits.
    """
    bar = gate.bar**gate.exponent
    kept = []
    for share in shares:
        power = share**gate.exponent
        kept.append(UQ64.mul(share, U64F64((power << 64) // (power + bar))))
    return _normalised(kept)


def enabled_shares(shares: Sequence[U64F64], subnets: Sequence[Subnet]) -> list[U64F64]:
    """Step 3 of DTAO 3.2: disabled subnets get nothing, the others share it. No rounding when none is disabled."""
    if all(subnet.emission_enabled for subnet in subnets):
        return list(shares)
    pairs = zip(shares, subnets, strict=True)
    return _normalised([share if subnet.emission_enabled else U64F64(0) for share, subnet in pairs])


def tao_emissions(emission: Rao, shares: Sequence[U64F64]) -> list[U96F32]:
    """Step 4 of DTAO 3.2: each subnet's TAO of this block, fractions of a rao included."""
    credit = UQ64.from_int(emission)
    return [UQ96.from_fraction_bits(UQ64.mul(credit, share), 64) for share in shares]


def root_sells(subnets: Sequence[Subnet]) -> bool:
    """The root-sell flag (DTAO 3.5): whether the EMA prices of the emitting subnets add up to more than 1."""
    return sum(subnet.price for subnet in subnets) > UQ64.one


def root_proportion(root_tao: Rao, tao_weight: U96F32, alpha_issuance: int) -> U96F32:
    """Weight of root's TAO beside a subnet's alpha (DTAO 3.4). Evaluate it anew at each use: the issuance moves."""
    root = UQ96.mul(UQ96.from_int(root_tao), tao_weight)
    return UQ96.div_or_zero(root, UQ96.add(root, UQ96.from_int(alpha_issuance)))


def moved_price(subnet: Subnet, moving_alpha: I96F32, block: Height) -> I96F32:
    """The EMA price after this block's trades (DTAO 3.7).

    Spot counts as at most 1. A young subnet's EMA moves slower, by b / (b + halving) at b blocks since its start.
    """
    since = max(block - max((subnet.first_emission_block or 0) - 1, 0), 0)
    age = UQ64.from_int(since)
    damping = UQ64.div_or_zero(age, UQ64.add(age, UQ64.from_int(subnet.ema_halving_blocks)))
    alpha = UQ64.mul(UQ64.from_fraction_bits(moving_alpha, 32), damping)
    new = UQ64.mul(alpha, min(spot_price(subnet.pool), UQ64.one))
    old = UQ64.mul(UQ64.sub(UQ64.one, alpha), subnet.price)
    return Q96.from_fraction_bits(UQ64.add(new, old), 64)


def _normalised(values: Sequence[U64F64]) -> list[U64F64]:
    """Each value over the sum; all 0 when the sum is."""
    total = UQ64.clamp(sum(values))
    return [UQ64.div_or_zero(value, total) for value in values]


def _widened(value: U96F32) -> U64F64:
    return UQ64.from_fraction_bits(value, 32)
