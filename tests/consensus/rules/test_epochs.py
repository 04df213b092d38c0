"""Epochs through the chain: schedule, equality with the pure epoch, storage and payout (YUMA sections 4 and 7)."""

from dataclasses import replace

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, packed, subnet
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.block_start import start_block
from yumad.consensus.rules.v1.dtao.units import MAX_SUPPLY
from yumad.consensus.rules.v1.neurons import neuron_array
from yumad.consensus.rules.v1.stakes import hotkey_stake
from yumad.consensus.rules.v1.subnet_epoch import epoch_inputs
from yumad.consensus.rules.v1.weights import read_rows
from yumad.consensus.rules.v1.yuma.mechanisms import run_mechanisms
from yumad.consensus.types import Netuid, Rao

TARGETS = packed([0, 1, 2, 3])


def judged_chain(**parameters: object) -> DevChain:
    """A chain whose two validators have set weights on two miners of bob, who is not the owner, so that they earn."""
    base = subnet({"bonds_penalty": 40_000, **parameters})
    miners = tuple(replace(neuron, coldkey=account("bob")) for neuron in base.neurons[2:])
    chain = DevChain(dev_spec(subnets=(replace(base, neurons=base.neurons[:2] + miners),)))
    chain.block(
        chain.sign("neuron-0", "weights.set_weights", 1, TARGETS, packed([0, 1, 40, 60]), 0),
        chain.sign("neuron-1", "weights.set_weights", 1, TARGETS, packed([1, 0, 60, 60]), 0),
    )
    return chain


def epochs_of(chain: DevChain) -> list[tuple[int, int]]:
    return [(h + 1, epoch.netuid) for h, outcome in enumerate(chain.outcomes) for epoch in outcome.epochs]


@pytest.mark.parametrize(("yuma3", "liquid"), [(True, False), (False, False), (True, True)])
def test_epoch_in_a_block_equals_the_pure_epoch_on_the_same_columns(yuma3: bool, liquid: bool) -> None:
    chain = judged_chain(yuma3_on=yuma3, liquid_alpha_on=liquid)
    for _ in range(3):
        chain.skip_to((chain.height // 10 + 1) * 10 - 1)
        inputs = epoch_inputs(chain.state, 1, chain.height + 1)
        outcome = chain.block()
        expected = run_mechanisms(inputs, outcome.epochs[0].emission, None)
        bonds = expected.mechanisms[0].bonds.to_lists()
        assert outcome.epochs[0].server_total == int(expected.server_emission.sum())
        for name, column in (
            ("emission", expected.emission),
            ("consensus", expected.consensus),
            ("dividends", expected.dividends),
            ("validator_trust", expected.validator_trust),
            ("stake_weight", expected.stake_weight),
            ("active", expected.active),
            ("permit", expected.validator_permit),
        ):
            assert neuron_array(chain.state, 1, name).tolist() == column.tolist(), name
        assert chain.state.array("sn/1/0/incentive").tolist() == expected.mechanisms[0].incentive.tolist()
        assert read_rows(chain.state, "sn/1/0", "bond").to_lists() == bonds
    assert chain.outcomes[9].epochs[0].server_total > 0  # later the silent majority of stake has permits too


def test_epoch_runs_every_tempo_blocks_and_stamps_the_step() -> None:
    chain = DevChain()
    chain.skip(35)
    assert epochs_of(chain) == [(10, 1), (20, 1), (30, 1)]
    assert chain.state.read("subnets/last_step", 1) == 30
    assert chain.state.read("subnets/epoch_index", 1) == 3


def test_weight_set_in_the_epochs_block_is_seen_by_the_next_one_only() -> None:
    chain = DevChain()
    chain.skip(9)
    chain.send("neuron-0", "weights.set_weights", 1, TARGETS, packed([0, 0, 1, 1]), 0)
    assert chain.outcomes[-1].epochs
    assert not neuron_array(chain.state, 1, "consensus").any()


def test_miners_and_validators_are_paid_as_stake_and_the_token_is_conserved() -> None:
    chain = judged_chain()
    before = {n: hotkey_stake(chain.state, 1, account(f"neuron-{n}")) for n in range(4)}
    chain.skip_to(10)
    gained = [hotkey_stake(chain.state, 1, account(f"neuron-{n}")) - before[n] for n in range(4)]
    epoch = chain.outcomes[-1].epochs[0]
    assert gained[2] > 0
    assert gained[3] > 0
    payments = epoch.record.payout.payments  # type: ignore[attr-defined]
    assert sum(gained) == sum(payment.amount for payment in payments if "incentive of" not in payment.kind.value)
    assert int(chain.state.read("subnets/pending_server", 1)) == 0
    check_conservation(chain)


def test_subnet_without_neurons_runs_its_epochs_and_pays_the_owner_only() -> None:
    chain = DevChain(dev_spec(subnets=(subnet(neurons=0),)))
    chain.skip(25)
    assert [epoch for _, epoch in epochs_of(chain)] == [1, 1]
    assert hotkey_stake(chain.state, 1, account("neuron-0")) > 0  # the owner's cut
    check_conservation(chain)


def many_subnets(count: int) -> DevChain:
    subnets = []
    for netuid in range(1, count + 1):
        base = subnet()
        neurons = tuple(replace(n, hotkey=account(f"{netuid}/{n.stake}")) for n in base.neurons)
        subnets.append(replace(base, netuid=Netuid(netuid), neurons=neurons, owner_hotkey=neurons[0].hotkey))
    return DevChain(dev_spec(subnets=tuple(subnets)))


def test_at_most_two_subnets_run_in_a_block_and_the_others_are_deferred_in_order() -> None:
    chain = many_subnets(5)
    chain.skip(12)
    assert epochs_of(chain) == [(10, 1), (10, 2), (11, 3), (11, 4), (12, 5)]
    assert event_names(chain.outcomes[9].block_events).count("EpochDeferred") == 3
    check_conservation(chain)


def test_several_mechanisms_share_the_emission() -> None:
    chosen = {"mechanism_count": 2, "max_allowed_uids": 64, "mechanism_emission_split": (16_384, 49_151)}
    chain = DevChain(dev_spec(subnets=(subnet(chosen),)))
    call = "weights.set_mechanism_weights"
    for mechanism in (0, 1):
        args = (1, mechanism, TARGETS, packed([0, 0, 5, 9]), 0)
        chain.block(*(chain.sign(f"neuron-{n}", call, *args) for n in (0, 1)))
    chain.skip_to(9)
    inputs = epoch_inputs(chain.state, 1, 10)
    outcome = chain.block()
    expected = run_mechanisms(inputs, outcome.epochs[0].emission, (16_384, 49_151))
    assert outcome.epochs[0].server_total == int(expected.server_emission.sum()) > 0
    for mechanism in (0, 1):
        stored = chain.state.array(f"sn/1/{mechanism}/incentive").tolist()
        assert stored == expected.mechanisms[mechanism].incentive.tolist()
    check_conservation(chain)


def test_tempo_zero_never_runs() -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"tempo": 0}),)))
    chain.skip(15)
    assert epochs_of(chain) == []


def test_epoch_undone_leaves_the_state_as_it_was() -> None:
    chain = judged_chain()
    chain.skip_to(9)
    root = chain.state.root()
    mark = chain.state.begin()
    summaries, _ = start_block(chain.state, chain.context())
    assert summaries
    assert chain.state.root() != root
    chain.state.rollback(mark)
    assert chain.state.root() == root


def test_emission_of_alpha_stops_at_its_supply() -> None:
    """DTAO 1: alpha halves on its own schedule and ends at 21 million."""
    rich = (replace(subnet().neurons[0], stake=Rao(MAX_SUPPLY - 1000 * TAO)),)
    chain = DevChain(dev_spec(subnets=(replace(subnet(), neurons=rich),)))
    chain.skip(9)
    assert chain.state.read("subnets/alpha_out_emission", 1) == 0
    assert chain.state.read("subnets/pending_server", 1) == 0
