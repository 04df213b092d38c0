"""Defaults of the three profiles: `main`, `dev` and `finney` (CHAIN 1.3 tables, YUMA 8, DTAO 11, DESIGN section 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .chain_spec_parameters import ChainParameters, FeeSchedule, GlobalParameters, SubnetHyperparameters
from .types import InvalidError, Micros, Rao

TAO: Final = 10**9
"""Rao per TAO."""

_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND

_TENTH_I96F32: Final = 429_496_730
"""A tenth in 32 fraction bits: a moving price one sees move."""

BURN_INCREASE_MULT_DEFAULT: Final = 23242897532874035200
"""U64F64 of the double 1.26 (YUMA 6.2)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a spec file need not say."""

    name: str
    chain: ChainParameters
    fees: FeeSchedule
    parameters: GlobalParameters
    hyperparameters: SubnetHyperparameters
    reserve: Rao
    """TAO, and as much alpha, in the pool of a genesis subnet that does not say otherwise."""


_MAIN_CHAIN: Final = ChainParameters(
    slot_length=Micros(12 * _SECOND),
    era_blocks=1800,
    min_authority_weight=Rao(1000 * TAO),
    min_set=4,
    unbond_eras=60,
    evidence_eras=60,
    trust_window=Micros(14 * _DAY),
    slash_ppm=10_000,
    jail_eras=28,
    existential_deposit=Rao(500),
    faucet_amount=Rao(0),
    emission_on_registration=True,
)

_FEES: Final = FeeSchedule(base=Rao(100_000), per_byte=Rao(100))
"""A transfer of 190 bytes costs 119 000 rao, about the field's 0.0001 TAO."""

_GLOBAL: Final = GlobalParameters(
    stake_threshold=0,
    tao_weight=971718665099567868,
    ck_burn=0,
    commit_reveal_weights_version=4,
    max_mechanism_count=2,
    subnet_owner_cut=11796,
    admin_freeze_window=10,
    owner_hyperparam_rate_limit=2,
    max_epochs_per_block=2,
    min_tempo=360,
    max_tempo=50_400,
    tempo_rate_limit=360,
    mechanism_rate_limit=7200,
    trim_rate_limit=216_000,
    max_blocks_since_step=50_400,
    subnet_moving_alpha=12_885,
    nominator_min_required_stake=0,
    min_delegate_take=0,
    max_delegate_take=11_796,
    min_childkey_take=0,
    max_childkey_take=11_796,
    tx_delegate_take_rate_limit=216_000,
    tx_childkey_take_rate_limit=216_000,
    pending_childkey_cooldown=7200,
    set_children_rate_limit=150,
    tx_rate_limit=1000,
    key_swap_cost=Rao(TAO // 10),
    key_swap_on_subnet_cost=Rao(TAO // 1000),
    hotkey_swap_on_subnet_interval=7200,
    coldkey_swap_announcement_delay=36_000,
    coldkey_swap_reannouncement_delay=7200,
    num_root_claim=5,
    unlock_rate=934_866,
    maturity_rate=934_866,
    subnet_ownership_age=2_629_800,
    subnet_limit=128,
    network_rate_limit=7200,
    network_min_lock_cost=Rao(1000 * TAO),
    network_lock_reduction_interval=100_800,
    network_immunity_period=1_296_000,
    start_call_delay=0,
    network_registration_start_block=0,
    sn_owner_hotkey_rate_limit=50_400,
    root_max_registrations_per_block=1,
    root_target_registrations_per_interval=1,
    emission_gate_exponent=0,
    emission_gate_bar=0,
    timelocked_weights_enabled=False,
)

_SUBNET: Final = SubnetHyperparameters(
    tempo=360,
    activity_cutoff_factor_milli=13_889,
    activity_cutoff=5000,
    kappa=32_767,
    rho=10,
    max_allowed_uids=256,
    min_allowed_uids=64,
    max_allowed_validators=64,
    min_allowed_weights=1,
    weights_version_key=0,
    weights_set_rate_limit=100,
    immunity_period=5000,
    bonds_moving_average=900_000,
    bonds_penalty=65_535,
    bonds_reset_on=False,
    yuma3_on=True,
    liquid_alpha_on=False,
    alpha_low=45_875,
    alpha_high=58_982,
    alpha_sigmoid_steepness=1000,
    commit_reveal_weights_enabled=True,
    reveal_period_epochs=1,
    mechanism_count=1,
    mechanism_emission_split=(),
    min_burn=Rao(500_000),
    max_burn=Rao(100 * TAO),
    burn=Rao(TAO),
    burn_half_life=360,
    burn_increase_mult=BURN_INCREASE_MULT_DEFAULT,
    immune_owner_uids_limit=1,
    min_non_immune_uids=10,
    network_registration_allowed=True,
    fee_rate=33,
    owner_cut_enabled=True,
    owner_cut_auto_lock_enabled=False,
    ema_price_halving_blocks=201_600,
    recycle_or_burn=False,
    transfer_toggle=True,
    serving_rate_limit=50,
    adjustment_alpha=0,
    root_claim_threshold=500_000,
    min_childkey_take=0,
    emission_enabled=True,
)
"""The "init" column of YUMA section 8: what a subnet is created with."""

MAIN: Final = Profile("main", _MAIN_CHAIN, _FEES, _GLOBAL, _SUBNET, reserve=Rao(1000 * TAO))

FINNEY: Final = replace(
    MAIN,
    name="finney",
    chain=replace(
        _MAIN_CHAIN,
        unbond_eras=0,
        evidence_eras=2,
        trust_window=Micros(0),
        slash_ppm=0,
        emission_on_registration=False,
    ),
)

DEV: Final = replace(
    MAIN,
    name="dev",
    chain=replace(
        _MAIN_CHAIN,
        slot_length=Micros(2 * _SECOND),
        era_blocks=20,
        min_authority_weight=Rao(TAO),
        unbond_eras=2,
        evidence_eras=2,
        trust_window=Micros(0),
        slash_ppm=0,
        faucet_amount=Rao(100 * TAO),
    ),
    parameters=replace(
        _GLOBAL,
        admin_freeze_window=2,
        min_tempo=10,
        tempo_rate_limit=20,
        mechanism_rate_limit=20,
        trim_rate_limit=20,
        subnet_moving_alpha=_TENTH_I96F32,
        tx_delegate_take_rate_limit=20,
        tx_childkey_take_rate_limit=20,
        pending_childkey_cooldown=20,
        set_children_rate_limit=5,
        tx_rate_limit=5,
        hotkey_swap_on_subnet_interval=20,
        coldkey_swap_announcement_delay=20,
        coldkey_swap_reannouncement_delay=10,
        unlock_rate=20,
        maturity_rate=20,
        subnet_ownership_age=20,
        network_rate_limit=5,
        network_min_lock_cost=Rao(100 * TAO),
        network_lock_reduction_interval=20,
        network_immunity_period=20,
        sn_owner_hotkey_rate_limit=20,
    ),
    hyperparameters=replace(
        _SUBNET,
        tempo=10,
        weights_set_rate_limit=5,
        immunity_period=50,
        min_allowed_uids=4,
        min_non_immune_uids=2,
        commit_reveal_weights_enabled=False,
        burn_half_life=20,
        burn=Rao(TAO // 10),
        ema_price_halving_blocks=20,
        serving_rate_limit=5,
    ),
)
"""Every period short enough to watch. Commit-reveal is off, so that weights set by hand show at the next epoch."""

PROFILES: Final = {profile.name: profile for profile in (MAIN, DEV, FINNEY)}


def profile_named(name: str) -> Profile:
    """The profile `name`. Raises InvalidError for an unknown one."""
    profile = PROFILES.get(name)
    if profile is None:
        raise InvalidError(f"profile {name!r} is unknown", remedy=f"use one of {', '.join(PROFILES)}")
    return profile
