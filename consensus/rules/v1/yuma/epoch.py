"""The Yuma epoch of one mechanism of one subnet: YUMA section 3, step by step."""

import numpy as np
from numpy.typing import NDArray

from .activity import active_stake, active_uids, current_permits, next_permits
from .bonds import previous_bonds, previous_shares, stored_bonds, yuma2_bonds, yuma3_bonds
from .emission import COMBINED, SERVER, VALIDATOR, emission_shares, rao
from .inputs import EpochInput, check_epoch_input
from .median import consensus_weights
from .outputs import EpochOutput, EpochTrace, traced_rows
from .q32_arrays import Q32Array, multiply, normalize, proportion_to_u16
from .stake import normalized_stake, total_stake
from .weights import clipped_weights, masked_weights, needs_keys, voter_uids, weights_for_bonds


def run_epoch(case: EpochInput, *, trace: bool = False) -> EpochOutput:
    """Run one epoch on stored columns; pure.

    `trace` also returns the raw intermediates. Raises InvalidError for values no chain state can hold
    (`check_epoch_input`, and stakes of 2^63 rao in total).
    """
    check_epoch_input(case)
    parameters, count = case.parameters, case.count

    active = active_uids(case.last_update, case.cutoff_blocks, case.block)  # 3.1
    total = total_stake(case.alpha_stake, case.tao_stake, parameters.tao_weight)
    stake = normalized_stake(total, parameters.stake_threshold, case.owner_uid)  # 3.2
    permits = current_permits(case.permit, case.owner_uid)  # 3.3
    new_permits = next_permits(stake, parameters.max_allowed_validators, case.owner_uid)
    voting_stake = active_stake(stake, active, permits)  # 3.4

    voters = voter_uids(permits, case.bonds)
    voter_stake = voting_stake[voters]
    liquid = parameters.yuma3 and parameters.liquid_alpha
    weights = masked_weights(case, permits, voters, with_keys=trace or (liquid and needs_keys(case.weights)))  # 3.5
    consensus = consensus_weights(weights.values, voter_stake, parameters.kappa)  # 3.6
    clipped = clipped_weights(weights, consensus)  # 3.7
    validator_trust = by_uid(clipped.values.sum(axis=0), voters, count)  # 3.8
    ranked = multiply(voter_stake, clipped.values)
    incentive = normalize(ranked.sum(axis=1))  # 3.9
    bond_weights = weights_for_bonds(weights, clipped, parameters.bonds_penalty)  # 3.10

    if parameters.yuma3:  # 3.11
        old_shares = previous_shares(case, voters)
        result = yuma3_bonds(case, bond_weights, old_shares, voters, consensus, voter_stake, incentive)
    else:
        old_bonds = previous_bonds(case, voters)
        staked = ranked if bond_weights is clipped else multiply(voter_stake, bond_weights.values)
        result = yuma2_bonds(staked, old_bonds, incentive, parameters.bonds_moving_average)
    dividends = by_uid(result.dividends, voters, count)

    shares = emission_shares(incentive, dividends, stake, voting_stake)  # 3.12
    paid = rao(shares, case.emission)
    stored = proportion_to_u16(np.array((stake, consensus, incentive, dividends, validator_trust), dtype=np.int64))
    return EpochOutput(  # 3.13
        active=active,
        stake_weight=stored[0],
        consensus=stored[1],
        incentive=stored[2],
        dividends=stored[3],
        validator_trust=stored[4],
        validator_permit=new_permits,
        emission=paid[COMBINED],
        server_emission=paid[SERVER],
        validator_emission=paid[VALIDATOR],
        stake=total.whole,
        bonds=stored_bonds(result, voters, new_permits),
        trace=None
        if not trace
        else EpochTrace(
            total_stake=total.to_q64(),
            stake=stake,
            active_stake=voting_stake,
            consensus=consensus,
            validator_trust=validator_trust,
            incentive=incentive,
            dividends=dividends,
            server_emission_norm=shares[SERVER],
            validator_emission_norm=shares[VALIDATOR],
            combined_emission_norm=shares[COMBINED],
            weights=traced_rows(weights.values, weights.keys, voters),
            clipped_weights=traced_rows(clipped.values, clipped.keys, voters),
            weights_for_bonds=traced_rows(bond_weights.values, bond_weights.keys, voters),
            ema_bonds=traced_rows(result.bonds, result.keys, voters),
        ),
    )


def by_uid(values: Q32Array, voters: NDArray[np.int64], count: int) -> Q32Array:
    """Values of the voters as a vector over all uids, 0 elsewhere."""
    spread = np.zeros(count, dtype=np.int64)
    spread[voters] = values
    return spread
