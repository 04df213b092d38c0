"""Every parameter of YUMA 8 and DTAO 11: its column, default bounds and the administrative call that sets it.

One table drives the columns, genesis, `sudo_set_…` calls, reads and the reference docs. Bounds that involve another
parameter are functions in `calls/order_effects.py`; the plain ones stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...types import U16_MAX, U64_MAX

I16_MAX: Final = (1 << 15) - 1

MAX_CK_BURN: Final = U64_MAX * (U16_MAX - 11_796) // U16_MAX
"""Highest child-key burn: with the largest child-key take it is all that a child passes on. Above, both together would
take more from a parent than it gets, and the child would be paid what nobody earned (DTAO 4.2)."""

MOST_SUBNETS: Final = 4_095
"""Beside root. Commits of mechanisms are kept by `mechanism * 4096 + netuid`, which must name one mechanism only."""

MAX_FEE_RATE: Final = 10_000
"""Highest swap fee, of 65535 (DTAO 5.4)."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One parameter. `name` is its column under `subnets/` (or `global/`), its setter is `sudo_set_<name>`."""

    name: str
    dtype: str
    minimum: int
    maximum: int
    doc: str
    any_time: bool = False
    """Marked † in YUMA section 8: may be set inside the freeze window before an epoch."""
    in_spec: bool = True
    """Whether a chain spec gives the value at genesis and at a subnet's creation; otherwise the rules do."""


SUBNET: Final[tuple[Hyperparameter, ...]] = (
    Hyperparameter("tempo", "<u2", 0, U16_MAX, "blocks between epochs; 0 switches epochs off"),
    Hyperparameter(
        "activity_cutoff_factor_milli", "<u4", 1_000, 50_000, "inactive after so many blocks, in 1/1000 tempo", True
    ),
    Hyperparameter("activity_cutoff", "<u2", 360, U16_MAX, "old cutoff in blocks, not used by the epoch"),
    Hyperparameter("kappa", "<u2", 0, U16_MAX, "share of stake that sets the consensus weight, of 65535", True),
    Hyperparameter("rho", "<u2", 0, U16_MAX, "not used by the epoch"),
    Hyperparameter("max_allowed_uids", "<u2", 1, 256, "most neurons"),
    Hyperparameter("min_allowed_uids", "<u2", 0, 255, "fewest neurons that trimming may leave"),
    Hyperparameter("max_allowed_validators", "<u2", 0, 256, "permits given at an epoch"),
    Hyperparameter("min_allowed_weights", "<u2", 0, U16_MAX, "fewest entries of a weight vector"),
    Hyperparameter("weights_version_key", "<u8", 0, U64_MAX, "lowest version key that may set weights; 0 for any"),
    Hyperparameter("weights_set_rate_limit", "<u8", 0, U64_MAX, "blocks between weight updates", True),
    Hyperparameter("immunity_period", "<u2", 0, U16_MAX, "blocks for which a new neuron is not replaced"),
    Hyperparameter("bonds_moving_average", "<u8", 0, 1_000_000, "parts per million of the old bond that are kept"),
    Hyperparameter("bonds_penalty", "<u2", 0, U16_MAX, "how far weights above consensus are cut for bonds, of 65535"),
    Hyperparameter("bonds_reset_on", "u1", 0, 1, "a commitment may reset a miner's bonds"),
    Hyperparameter("yuma3_on", "u1", 0, 1, "Yuma3 bonds"),
    Hyperparameter("liquid_alpha_on", "u1", 0, 1, "bond rate by agreement"),
    Hyperparameter("alpha_low", "<u2", 1_638, U16_MAX, "lower liquid rate, of 65535"),
    Hyperparameter("alpha_high", "<u2", 1_638, U16_MAX, "upper liquid rate, of 65535"),
    Hyperparameter("alpha_sigmoid_steepness", "<i2", -I16_MAX - 1, I16_MAX, "steepness of the liquid rate, in 1/-100"),
    Hyperparameter("commit_reveal_weights_enabled", "u1", 0, 1, "weights by commit and reveal only"),
    Hyperparameter("reveal_period_epochs", "<u8", 1, 100, "epochs between commit and reveal"),
    Hyperparameter("min_burn", "<u8", 0, 999_999_999, "lowest registration price, rao"),
    Hyperparameter("max_burn", "<u8", 100_000_001, U64_MAX, "highest registration price, rao"),
    Hyperparameter("burn_half_life", "<u2", 1, 36_100, "blocks in which the registration price halves"),
    Hyperparameter("immune_owner_uids_limit", "<u2", 1, 10, "neurons of the owner that are never replaced"),
    Hyperparameter("min_non_immune_uids", "<u2", 0, U16_MAX, "below this many an immune neuron is replaced", True),
    Hyperparameter("network_registration_allowed", "u1", 0, 1, "new neurons may register", True),
    Hyperparameter("mechanism_count", "u1", 1, 16, "mechanisms"),
    Hyperparameter("fee_rate", "<u2", 0, MAX_FEE_RATE, "swap fee for the block's author, of 65535", True),
    Hyperparameter("owner_cut_enabled", "u1", 0, 1, "the owner gets a cut of the emission", True),
    Hyperparameter("owner_cut_auto_lock_enabled", "u1", 0, 1, "the owner's cut is locked when paid", True),
    Hyperparameter("ema_price_halving_blocks", "<u8", 0, U64_MAX, "damps a young subnet's moving price, blocks", True),
    Hyperparameter("recycle_or_burn", "u1", 0, 1, "the owner's incentive is 0 burned or 1 recycled"),
    Hyperparameter("transfer_toggle", "u1", 0, 1, "stake may be transferred between coldkeys"),
    Hyperparameter("serving_rate_limit", "<u8", 0, U64_MAX, "blocks between two serve calls of a hotkey"),
    Hyperparameter("adjustment_alpha", "<u8", 0, U64_MAX, "not used any more"),
    Hyperparameter("root_claim_threshold", "<u8", 0, 10_000_000, "owed alpha below this is not claimed", True),
    Hyperparameter("min_childkey_take", "<u2", 0, 11_796, "lowest child-key take, of 65535"),
    Hyperparameter("emission_enabled", "u1", 0, 1, "TAO emission flows", True),
    Hyperparameter("subtoken_enabled", "u1", 0, 1, "stake may be bought and sold", True, in_spec=False),
)
"""Per subnet: one row per netuid of column `subnets/<name>`."""

GLOBAL: Final[tuple[Hyperparameter, ...]] = (
    Hyperparameter("stake_threshold", "<u8", 0, U64_MAX, "stake weight needed to set weights, rao", True),
    Hyperparameter("tao_weight", "<u8", 0, U64_MAX, "what a TAO on root counts in alpha, of 2^64-1", True),
    Hyperparameter("ck_burn", "<u8", 0, MAX_CK_BURN, "share of child-key dividends burned, of 2^64-1", True),
    Hyperparameter("subnet_owner_cut", "<u2", 0, U16_MAX, "owner's share of emission, of 65535", True),
    Hyperparameter("admin_freeze_window", "<u2", 0, U16_MAX, "blocks before an epoch in which parameters rest", True),
    Hyperparameter("owner_hyperparam_rate_limit", "<u2", 0, U16_MAX, "tempos between an owner's changes", True),
    Hyperparameter("max_epochs_per_block", "u1", 1, 255, "epochs that one block may run", True),
    Hyperparameter("max_mechanism_count", "u1", 1, 16, "most mechanisms of a subnet", True),
    Hyperparameter("commit_reveal_weights_version", "<u2", 0, U16_MAX, "version of timelocked commits", True),
    Hyperparameter("subnet_moving_alpha", "<u8", 0, 1 << 32, "rate of the moving price, raw I96F32", True),
    Hyperparameter("nominator_min_required_stake", "<u8", 0, U64_MAX, "factor of the least nomination, ppm", True),
    Hyperparameter("min_delegate_take", "<u2", 0, 11_796, "lowest delegate take, of 65535", True),
    Hyperparameter("max_delegate_take", "<u2", 0, 11_796, "highest delegate take, of 65535", True),
    Hyperparameter("min_childkey_take", "<u2", 0, 11_796, "lowest child-key take anywhere, of 65535", True),
    Hyperparameter("max_childkey_take", "<u2", 0, 11_796, "highest child-key take, of 65535", True),
    Hyperparameter("tx_delegate_take_rate_limit", "<u8", 0, U64_MAX, "blocks between delegate take increases", True),
    Hyperparameter("tx_childkey_take_rate_limit", "<u8", 0, U64_MAX, "blocks between child-key take increases", True),
    Hyperparameter("pending_childkey_cooldown", "<u8", 0, U64_MAX, "blocks until a set of children takes effect", True),
    Hyperparameter("tx_rate_limit", "<u8", 0, U64_MAX, "blocks between two hotkey swaps of a coldkey", True),
    Hyperparameter("coldkey_swap_announcement_delay", "<u8", 0, U64_MAX, "blocks to wait for a coldkey swap", True),
    Hyperparameter("coldkey_swap_reannouncement_delay", "<u8", 0, U64_MAX, "blocks until another announcement", True),
    Hyperparameter("num_root_claim", "u1", 0, 50, "coldkeys whose root dividends are claimed in a block", True),
    Hyperparameter("unlock_rate", "<u8", 0, U64_MAX, "time constant of a decaying lock's mass, blocks", True),
    Hyperparameter("maturity_rate", "<u8", 0, U64_MAX, "time constant of a lock's conviction, blocks", True),
    Hyperparameter("subnet_limit", "<u2", 0, MOST_SUBNETS, "most subnets beside root", True),
    Hyperparameter("network_rate_limit", "<u8", 0, U64_MAX, "blocks between two new subnets", True),
    Hyperparameter("network_min_lock_cost", "<u8", 0, U64_MAX, "lowest cost of a new subnet, rao", True),
    Hyperparameter("network_lock_reduction_interval", "<u8", 1, U64_MAX, "blocks in which the cost falls back", True),
    Hyperparameter("network_immunity_period", "<u8", 0, U64_MAX, "blocks before a subnet may be pruned", True),
    Hyperparameter("start_call_delay", "<u8", 0, U64_MAX, "blocks before an owner may start a subnet", True),
    Hyperparameter("network_registration_start_block", "<u8", 0, U64_MAX, "no new subnets before this height", True),
)
"""Of the whole network: the only row of column `global/<name>`."""

ALPHA_BOUND_LOW: Final = 1_638
"""Liquid rates below 2.5 % are refused (`AlphaLowOutOfRange`, `AlphaHighTooLow`)."""

MAX_UIDS_TIMES_MECHANISMS: Final = 256
"""Bounds the weight matrices of a subnet whatever its mechanisms (YUMA 4.4)."""
