"""What the block pipeline reads and writes, as plain values (DTAO section 2).

`Subnet` holds the scalars of one subnet that coinbase touches, `Economy` all subnets and the chain's own. The
transition builds them from the columns and writes back what changed.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from ....fixed_point import I96F32, U64F64, U96F32, UQ64, u64_to_proportion
from ....types import U16_MAX, Height, InvalidError, Netuid, Rao
from ..schedule import SubnetSchedule
from .pool import Pool
from .units import ROOT_NETUID, Alpha

DEFAULT_MOVING_ALPHA: Final = I96F32(12885)
"""SubnetMovingAlpha: the literal 0.000003 in 32 fraction bits, not 3 / 10^6 (DTAO 13.6)."""

MAX_GATE_EXPONENT: Final = 8
"""Bounds the integers of the gate to a few hundred bits."""

DEFAULT_EMA_HALVING_BLOCKS: Final = 201_600
"""EMAPriceHalvingBlocks: 28 days of 12 s blocks."""


class Pending(NamedTuple):
    """Alpha accrued since the last epoch, by purpose; drained by the epoch."""

    server: Alpha = Alpha(0)
    """For miners."""

    validator: Alpha = Alpha(0)
    """For validators, as local dividends."""

    root: Alpha = Alpha(0)
    """For root stakers, claimable."""

    owner_cut: Alpha = Alpha(0)
    """For the subnet's owner."""


class Subnet(NamedTuple):
    """The scalars of one subnet that the block pipeline reads or writes."""

    pool: Pool
    schedule: SubnetSchedule
    """The epoch clock; it carries the netuid."""

    alpha_out: Alpha
    """SubnetAlphaOut: alpha outside the pool, owned or lost."""

    moving_price: I96F32
    """SubnetMovingPrice: EMA of the spot price as stored."""

    miner_burned: U96F32 = U96F32(0)
    """Share of the last epoch's incentive that was withheld."""

    first_emission_block: Height | None = None
    """Set when the owner starts the subnet."""

    subtoken_enabled: bool = True
    registration_allowed: bool = True
    emission_enabled: bool = True
    """SubnetEmissionEnabled: without it no TAO flows, while alpha is still minted."""

    owner_cut_enabled: bool = True
    ema_halving_blocks: int = DEFAULT_EMA_HALVING_BLOCKS
    pending: Pending = Pending()
    protocol_alpha: Alpha = Alpha(0)
    """Alpha the chain bought; it belongs to nobody."""

    protocol_flow: int = 0
    """i64 rao: TAO the chain brought in, less what root claims took out."""

    volume: int = 0
    """u128 rao: all TAO traded."""

    @property
    def netuid(self) -> Netuid:
        """Subnet number."""
        return Netuid(self.schedule.netuid)

    @property
    def price(self) -> U64F64:
        """The EMA price as emission reads it: exactly 1 for a stable subnet, whatever is stored (DTAO 3.2)."""
        if not self.pool.dynamic:
            return UQ64.one
        return UQ64.from_fraction_bits(self.moving_price, 32)

    @property
    def emits(self) -> bool:
        """Whether the subnet belongs to the emitting set (DTAO 3.1)."""
        return (
            self.netuid != ROOT_NETUID
            and self.first_emission_block is not None
            and self.subtoken_enabled
            and self.registration_allowed
        )


@dataclass(frozen=True, slots=True)
class EmissionGate:
    """The live network's damping of small demand shares (DESIGN decision 5); a chain without it has None."""

    exponent: int
    """Power to which share and bar are raised, 1..8."""

    bar: U64F64
    """Share at which half of it is kept; above 0 and at most 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.exponent <= MAX_GATE_EXPONENT:
            message = f"an emission gate of exponent {self.exponent}; expected 1..{MAX_GATE_EXPONENT}"
            raise InvalidError(message, remedy="the live network's is 3")
        if not 0 < self.bar <= UQ64.one:
            raise InvalidError(f"an emission gate at {self.bar} / 2^64; expected above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Economy:
    """All that the pipeline of DTAO section 3 needs at the start of a block."""

    total_issuance: Rao
    total_stake: Rao
    root_tao: Rao
    """SubnetTAO[0]: TAO staked on root."""

    tao_weight: U96F32
    """What one TAO on root counts in alpha; see `tao_weight`."""

    owner_cut: U96F32
    """Share of an owner in the alpha emission; see `u16_share`."""

    subnets: tuple[Subnet, ...]
    """Every subnet but root, ascending."""

    moving_alpha: I96F32 = DEFAULT_MOVING_ALPHA
    max_epochs_per_block: int = 2
    gate: EmissionGate | None = None


def tao_weight(stored: int) -> U96F32:
    """The stored TaoWeight, a u64, as a share of 2^64-1 (DTAO 2)."""
    return u64_to_proportion(stored)


def u16_share(stored: int) -> U96F32:
    """A stored u16 as a share of 65535: the owner cut, and takes (DTAO 2)."""
    return U96F32((stored << 32) // U16_MAX)
