"""The parameters of a chain: network-wide ones and those of one subnet (YUMA section 8, CHAIN 1.3, DESIGN section 7).

Values come from a profile (`profiles.py`) and are overridden by the spec file; here are only names, widths and units.
"""

from __future__ import annotations

from dataclasses import dataclass

from .chain_spec_fields import BOOL, I16, U8, U16, U16_LIST, U32, U63, U64, U128, parameter
from .types import Micros, Rao


@dataclass(frozen=True, slots=True)
class ChainParameters:
    """Consensus and economy parameters of a chain, flat in the spec."""

    slot_length: Micros = parameter(U63)
    era_blocks: int = parameter(U32)
    min_authority_weight: Rao = parameter(U63)
    """Least root stake in rao of a hotkey that may vote."""
    min_set: int = parameter(U16)
    """Absent or idle members stay in the set rather than let it fall below this many."""
    unbond_eras: int = parameter(U32)
    """Eras after its last set in which an authority's stake stays bonded; 0 means no bond."""
    evidence_eras: int = parameter(U32)
    """Eras back for which evidence is accepted."""
    trust_window: Micros = parameter(U63)
    """How old a finalised point a joiner may start from; 0 means the window does not bind."""
    slash_ppm: int = parameter(U32)
    """Part of the bonded stake cut at a jailing, in millionths."""
    jail_eras: int = parameter(U32)
    existential_deposit: Rao = parameter(U63)
    faucet_amount: Rao = parameter(U63)
    """What one faucet call gives; 0 switches the call off."""
    emission_on_registration: bool = parameter(BOOL)
    """Whether a new subnet earns at once (DESIGN decision 6)."""


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Flat fees: what a call costs does not depend on how full blocks are (CHAIN 3)."""

    base: Rao
    """Rao of every paid call that has no amount of its own."""
    per_byte: Rao
    """Rao per byte of the whole transaction, on top."""
    calls: tuple[tuple[int, Rao], ...] = ()
    """(call id, rao) of calls with an amount of their own, ascending by id."""

    def of(self, call: int, size: int) -> Rao:
        """Fee in rao of call id `call` in a transaction of `size` bytes, tip not included."""
        return Rao(dict(self.calls).get(call, self.base) + self.per_byte * size)


@dataclass(frozen=True, slots=True)
class GlobalParameters:
    """Parameters of scope G in YUMA section 8, and the block counts that the original keeps as constants."""

    stake_threshold: int = parameter(U64)
    """Least stake in rao for setting weights and holding a permit."""
    tao_weight: int = parameter(U64)
    """Weight of root TAO in a neuron's stake, in parts of 2^64 - 1."""
    ck_burn: int = parameter(U64)
    """In parts of 2^64 - 1."""
    commit_reveal_weights_version: int = parameter(U16)
    max_mechanism_count: int = parameter(U8)
    subnet_owner_cut: int = parameter(U16)
    """In parts of 65535."""
    admin_freeze_window: int = parameter(U16)
    """Blocks before an epoch in which hyperparameters are closed."""
    owner_hyperparam_rate_limit: int = parameter(U16)
    """In tempos."""
    max_epochs_per_block: int = parameter(U8)
    min_tempo: int = parameter(U16)
    """Floor of an owner's `set_tempo`."""
    max_tempo: int = parameter(U16)
    tempo_rate_limit: int = parameter(U64)
    """Blocks between two changes of tempo by the owner."""
    mechanism_rate_limit: int = parameter(U64)
    """Blocks between two changes of mechanism count or split."""
    trim_rate_limit: int = parameter(U64)
    """Blocks between two trimmings of a subnet."""
    max_blocks_since_step: int = parameter(U64)
    """An epoch is due when the last one is longer ago than this, whatever the tempo (YUMA 7.2)."""
    subnet_moving_alpha: int = parameter(U64)
    """Rate of the moving price, raw I96F32 (DTAO 3.7)."""
    nominator_min_required_stake: int = parameter(U64)
    """Factor of the least nomination in millionths; 0 for none (DTAO 6.5)."""
    min_delegate_take: int = parameter(U16)
    max_delegate_take: int = parameter(U16)
    """In parts of 65535; the default take too."""
    min_childkey_take: int = parameter(U16)
    max_childkey_take: int = parameter(U16)
    tx_delegate_take_rate_limit: int = parameter(U64)
    """Blocks between two increases."""
    tx_childkey_take_rate_limit: int = parameter(U64)
    pending_childkey_cooldown: int = parameter(U64)
    """Blocks until a set of children takes effect."""
    set_children_rate_limit: int = parameter(U64)
    """Blocks between two sets of children of a hotkey on a subnet."""
    tx_rate_limit: int = parameter(U64)
    """Blocks between two hotkey swaps of a coldkey."""
    key_swap_cost: Rao = parameter(U63)
    """Of a hotkey swap everywhere, and of the first coldkey swap announcement; recycled."""
    key_swap_on_subnet_cost: Rao = parameter(U63)
    hotkey_swap_on_subnet_interval: int = parameter(U64)
    """Blocks between two hotkey swaps of a coldkey on one subnet."""
    coldkey_swap_announcement_delay: int = parameter(U64)
    coldkey_swap_reannouncement_delay: int = parameter(U64)
    num_root_claim: int = parameter(U8)
    """Coldkeys whose root dividends are claimed in a block."""
    unlock_rate: int = parameter(U64)
    """Time constant in blocks of a decaying lock's mass (DTAO 7.4)."""
    maturity_rate: int = parameter(U64)
    subnet_ownership_age: int = parameter(U64)
    """Blocks before conviction may decide who owns a subnet (DTAO 7.5)."""
    subnet_limit: int = parameter(U16)
    network_rate_limit: int = parameter(U64)
    network_min_lock_cost: Rao = parameter(U63)
    network_lock_reduction_interval: int = parameter(U64)
    network_immunity_period: int = parameter(U64)
    start_call_delay: int = parameter(U64)
    network_registration_start_block: int = parameter(U64)
    sn_owner_hotkey_rate_limit: int = parameter(U64)
    """Blocks between two changes of a subnet's owner hotkey."""
    root_max_registrations_per_block: int = parameter(U16)
    root_target_registrations_per_interval: int = parameter(U16)
    emission_gate_exponent: int = parameter(U8)
    """Damps small demand shares (DESIGN decision 5); 0 for no gate."""
    emission_gate_bar: int = parameter(U128)
    """Share that keeps half of itself, raw U64F64; 0 without a gate."""
    timelocked_weights_enabled: bool = parameter(BOOL)
    """Timelocked weight commits (DESIGN decision 10)."""


@dataclass(frozen=True, slots=True)
class SubnetHyperparameters:
    """Parameters of scope S in YUMA section 8."""

    tempo: int = parameter(U16)
    """Blocks between epochs; 0 switches epochs off."""
    activity_cutoff_factor_milli: int = parameter(U32)
    activity_cutoff: int = parameter(U16)
    """Old cutoff, unused by the epoch."""
    kappa: int = parameter(U16)
    rho: int = parameter(U16)
    """Unused by the epoch."""
    max_allowed_uids: int = parameter(U16)
    min_allowed_uids: int = parameter(U16)
    max_allowed_validators: int = parameter(U16)
    min_allowed_weights: int = parameter(U16)
    weights_version_key: int = parameter(U64)
    weights_set_rate_limit: int = parameter(U64)
    """Blocks."""
    immunity_period: int = parameter(U16)
    """Blocks."""
    bonds_moving_average: int = parameter(U64)
    """Parts of 1 000 000."""
    bonds_penalty: int = parameter(U16)
    bonds_reset_on: bool = parameter(BOOL)
    yuma3_on: bool = parameter(BOOL)
    liquid_alpha_on: bool = parameter(BOOL)
    alpha_low: int = parameter(U16)
    alpha_high: int = parameter(U16)
    alpha_sigmoid_steepness: int = parameter(I16)
    commit_reveal_weights_enabled: bool = parameter(BOOL)
    reveal_period_epochs: int = parameter(U64)
    mechanism_count: int = parameter(U8)
    mechanism_emission_split: tuple[int, ...] = parameter(U16_LIST)
    """One share per mechanism that sum to 65535; empty means even."""
    min_burn: Rao = parameter(U63)
    max_burn: Rao = parameter(U63)
    burn: Rao = parameter(U63)
    """Registration price at genesis."""
    burn_half_life: int = parameter(U16)
    """Blocks in which the price halves."""
    burn_increase_mult: int = parameter(U128)
    """U64F64 raw: the price is multiplied by it at each registration."""
    immune_owner_uids_limit: int = parameter(U16)
    min_non_immune_uids: int = parameter(U16)
    network_registration_allowed: bool = parameter(BOOL)
    fee_rate: int = parameter(U16)
    """Swap fee in parts of 65535."""
    owner_cut_enabled: bool = parameter(BOOL)
    owner_cut_auto_lock_enabled: bool = parameter(BOOL)
    ema_price_halving_blocks: int = parameter(U64)
    """Blocks that damp a young subnet's moving price."""
    recycle_or_burn: bool = parameter(BOOL)
    """Whether the owner's incentive is recycled instead of burned."""
    transfer_toggle: bool = parameter(BOOL)
    serving_rate_limit: int = parameter(U64)
    adjustment_alpha: int = parameter(U64)
    """Unused."""
    root_claim_threshold: int = parameter(U64)
    min_childkey_take: int = parameter(U16)
    emission_enabled: bool = parameter(BOOL)
    """Of subnets in the genesis; those created later follow `emission_on_registration`."""
