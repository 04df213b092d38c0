"""Which subnet gets how much of a block's TAO, and the prices and proportions that decide it (DTAO 3.2, 3.4, 3.7)."""

from collections.abc import Sequence

from ....fixed_point import I96F32, Q96, U64F64, U96F32, UQ64, UQ96
from ....types import Height, Rao
from .economy import EmissionGate, Subnet


def demand_shares(subnets: Sequence[Subnet], gate: EmissionGate | None) -> list[U64F64]:
    """Steps 1 and 2 of DTAO 3.2, and the gate: share of each emitting subnet before the enable switch.

    All in U64F64, whose bounds no share can reach. The price is the EMA, never the spot. The burned part of a subnet's
    incentive lowers its demand; when that leaves nothing at all, the plain price shares stand.
    """
    shares = _normalised([subnet.price for subnet in subnets])
    unburned = [UQ96.one - min(subnet.miner_burned, UQ96.one) for subnet in subnets]
    weighted = [U64F64(share * kept >> 32) for share, kept in zip(shares, unburned, strict=True)]
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
        kept.append(U64F64(share * ((power << 64) // (power + bar)) >> 64))
    return _normalised(kept)


def enabled_shares(shares: Sequence[U64F64], subnets: Sequence[Subnet]) -> list[U64F64]:
    """Step 3 of DTAO 3.2: disabled subnets get nothing, the others share it. No rounding when none is disabled."""
    if all(subnet.emission_enabled for subnet in subnets):
        return list(shares)
    pairs = zip(shares, subnets, strict=True)
    return _normalised([share if subnet.emission_enabled else U64F64(0) for share, subnet in pairs])


def tao_emissions(emission: Rao, shares: Sequence[U64F64]) -> list[U96F32]:
    """Step 4 of DTAO 3.2: each subnet's TAO of this block, fractions of a rao included."""
    return [U96F32(emission * share >> 32) for share in shares]


def root_sells(subnets: Sequence[Subnet]) -> bool:
    """The root-sell flag (DTAO 3.5): whether the EMA prices of the emitting subnets add up to more than 1."""
    return sum(subnet.price for subnet in subnets) > UQ64.one


def weighted_root(root_tao: Rao, tao_weight: U96F32) -> U96F32:
    """Root's TAO in alpha, at the TAO weight (DTAO 3.4)."""
    return UQ96.mul(UQ96.from_int(root_tao), tao_weight)


def root_proportion(root: U96F32, alpha_issuance: int) -> U96F32:
    """Part of root's weighted TAO in it and a subnet's alpha together; 0 when there is neither (DTAO 3.4).

    Evaluate it anew at each use: the issuance moves within a block.
    """
    total = root + (alpha_issuance << 32)
    return U96F32((root << 32) // total if total else 0)


def moved_price(subnet: Subnet, spot: U64F64, moving_alpha: I96F32, block: Height) -> I96F32:
    """The EMA price, moved towards the spot price after this block's trades (DTAO 3.7).

    Spot counts as at most 1. A young subnet's EMA moves slower, by b / (b + halving) at b blocks since its start.
    """
    age = max(block - max((subnet.first_emission_block or 0) - 1, 0), 0)
    total = age + subnet.ema_halving_blocks
    damping = (age << 64) // total if total else 0
    alpha = max(moving_alpha, 0) * damping >> 32
    new = alpha * min(spot, UQ64.one) >> 64
    old = max(UQ64.one - alpha, 0) * subnet.price >> 64
    return Q96.clamp(new + old >> 32)


def _normalised(values: Sequence[U64F64]) -> list[U64F64]:
    """Each value over the sum; all 0 when the sum is."""
    total = sum(values)
    return [U64F64((value << 64) // total) for value in values] if total else [U64F64(0)] * len(values)
