"""What a scenario is: the experiment of a subnet designer, read from a file and checked (docs/simulate.md).

Two modes. `EpochScenario`: one subnet's epochs with given stakes and weights and no market. `EconomyScenario`: a whole
chain in memory, block by block, with calls. Either is run once for each variant of the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from ...consensus.chain_spec_parameters import SubnetHyperparameters
from ...consensus.types import InvalidError

UNITS: Final = 10**9
"""Units of one TAO or alpha."""


class ScenarioError(InvalidError):
    """A scenario that cannot be run; names the place in the file."""

    code = "scenario"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of rules to run the epochs under."""

    name: str
    hyperparameters: SubnetHyperparameters
    changes: Mapping[int, SubnetHyperparameters] = field(default_factory=dict)
    """Hyperparameters from an epoch on, in place of those before."""
    exact: bool = False
    """Weights and Yuma3 bonds not rounded to the chain's u16: to compare with simulators in floating point."""
    keep_permits: bool = False
    """The first epoch's validators keep permit and bonds even without stake: likewise."""
    liquid_rates: tuple[int, int] | None = None
    """Bounds of the liquid rate as raw Q32, finer than `alpha_low` and `alpha_high`: likewise."""


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One validator's weights from an epoch on; explicit zeros stay in the row."""

    epoch: int
    validator: int
    targets: tuple[int, ...]
    shares: tuple[Fraction, ...]
    """In any scale."""
    once: bool = False
    """Submitted at that epoch and not again: it ages, and is masked for targets registered later."""


@dataclass(frozen=True, slots=True)
class EpochScenario:
    """Epochs of one subnet without a market."""

    name: str
    neurons: tuple[str, ...]
    """By uid."""
    stakes: Mapping[int, tuple[int, ...]]
    """Stake of each uid in units of 1e-9, from an epoch on; epoch 0 is there."""
    weights: tuple[WeightRow, ...]
    epochs: int
    emission: int
    """Units each epoch distributes."""
    owner_uid: int | None
    registrations: Mapping[int, tuple[int, ...]]
    """Uids that register anew before an epoch: their bonds and old weights on them are gone."""
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class ScenarioCall:
    """A call in a block of an economy."""

    block: int
    signer: str
    """Development name."""
    call: str
    args: Mapping[str, str]
    """As people write them."""
    place: str
    """Where it stands in the file."""


@dataclass(frozen=True, slots=True)
class EconomyScenario:
    """A chain in memory: its spec as a document, the calls of its blocks."""

    name: str
    spec: Mapping[str, Any]
    blocks: int
    calls: tuple[ScenarioCall, ...]
    """In the order of their blocks; those of one block as they stand in the file."""
    variants: tuple[tuple[str, Mapping[str, Any]], ...]
    """(name, hyperparameters that replace those of every subnet)."""


Scenario = EpochScenario | EconomyScenario
