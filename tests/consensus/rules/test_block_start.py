"""The pipeline at a block's start on real columns: DTAO section 3, with worked example 12.8 as a whole block."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dev_chain import DevChain, account, dev_spec, event_names, subnet
from yumad.consensus.chain_spec import ChainSpec, NeuronSpec, SubnetSpec
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.markets import spot
from yumad.consensus.types import Netuid, Rao

TAO_WEIGHT_018 = 3_320_413_933_267_719_290
ROOT_STAKE = 6 * 10**15


def example_subnet(netuid: int, tao: int, alpha: int, alpha_out: int, moving_price: int) -> SubnetSpec:
    """A subnet of example 12.8; one neuron of somebody holds all outstanding alpha."""
    return replace(
        subnet(),
        netuid=Netuid(netuid),
        owner_hotkey=account(f"example-{netuid}/hot"),
        owner_coldkey=account(f"example-{netuid}"),
        tao_reserve=Rao(tao),
        alpha_reserve=Rao(alpha),
        moving_price=moving_price,
        hyperparameters=replace(DEV.hyperparameters, tempo=360, ema_price_halving_blocks=201_600),
        neurons=(
            NeuronSpec(account(f"example-{netuid}/hot"), account(f"example-{netuid}"), Rao(alpha_out), 0, 0, True),
        ),
        weights=(),
    )


def example_spec() -> ChainSpec:
    """Both subnets of example 12.8, and 6 million TAO on root."""
    base = dev_spec()
    first, *others = base.stakes
    rest = ROOT_STAKE - sum(stake for _, _, stake in others)
    return replace(
        base,
        parameters=replace(base.parameters, tao_weight=TAO_WEIGHT_018, subnet_moving_alpha=12_885),
        stakes=((first[0], first[1], Rao(rest)), *others),
        subnets=(
            example_subnet(1, 5 * 10**13, 5 * 10**14, 7 * 10**14, 386_547_057),
            example_subnet(2, 2 * 10**13, 4 * 10**14, 10**14, 193_273_528),
        ),
    )


@pytest.fixture
def example() -> DevChain:
    """The chain of example 12.8 after its first block."""
    chain = DevChain(example_spec())
    chain.state.write("subnets/miner_burned", 2, 1 << 31)
    chain.block()
    return chain


def column(chain: DevChain, name: str) -> list[int]:
    """A column of both subnets."""
    return [int(value) for value in chain.state.array(f"subnets/{name}").tolist()[1:3]]


def test_block_example_12_8_injects_and_buys_as_written(example: DevChain) -> None:
    assert column(example, "tao_in_emission") == [47_368_420, 34_177_215]
    assert column(example, "alpha_in_emission") == [473_684_210, 683_544_303]
    assert column(example, "excess_tao") == [752_631_579, 165_822_784]
    assert column(example, "quote_weight") == [499_999_999_999_995_000, 499_999_999_999_998_125]
    assert column(example, "protocol_alpha") == [7_526_202_500, 3_316_428_183]


def test_block_example_12_8_sets_alpha_aside_as_written(example: DevChain) -> None:
    assert column(example, "pending_owner_cut") == [179_995_422, 179_995_422]
    assert column(example, "pending_server") == [410_002_288, 410_002_288]
    assert column(example, "pending_validator") == [215_790_803, 129_747_858]
    assert column(example, "pending_root") == [0, 0]  # root-sell is off: root's part was recycled


def test_block_example_12_8_leaves_the_pools_and_prices_as_written(example: DevChain) -> None:
    assert column(example, "tao_reserve") == [50_000_799_999_999, 20_000_199_999_999]
    assert column(example, "alpha_reserve") == [499_992_947_481_710, 399_997_367_116_120]
    assert column(example, "alpha_out") == [700_008_331_991_016, 100_004_036_173_753]
    assert [spot(example.state, netuid) for netuid in (1, 2)] == [1_844_729_942_144_787_270, 922_352_498_175_035_542]


def test_block_example_12_8_recycles_what_nobody_spent(example: DevChain) -> None:
    state = example.state
    assert int(state.read("chain/recycled", 0)) == 2
    assert int(state.read("chain/issuance", 0)) == example.spec.issuance + 10**9 - 2
    assert broken_invariants(state, example.spec) == []


def test_block_injection_without_a_buy_keeps_the_price_to_a_trillionth() -> None:
    """DTAO section 14: re-weighting makes room for both amounts without moving the price."""
    spec = example_spec()
    young = replace(spec.subnets[0], neurons=(), tao_reserve=Rao(3 * 10**14), alpha_reserve=Rao(10**14))
    chain = DevChain(replace(spec, subnets=(young,)))
    before = spot(chain.state, 1)
    chain.block()
    assert int(chain.state.read("subnets/excess_tao", 1)) == 0
    assert int(chain.state.read("subnets/tao_in_emission", 1)) == 10**9
    assert abs(spot(chain.state, 1) - before) * 10**12 <= before


def test_block_without_an_emitting_subnet_mints_nothing() -> None:
    """DTAO 13.4: with nobody to spend it, the whole mint is recycled and issuance stands still."""
    chain = DevChain(dev_spec(subnets=(subnet(started=False),)))
    issuance = int(chain.state.read("chain/issuance", 0))
    chain.block()
    assert int(chain.state.read("chain/issuance", 0)) == issuance
    assert int(chain.state.read("chain/minted", 0)) == chain.spec.issuance + 10**9
    assert int(chain.state.read("chain/recycled", 0)) == 10**9


def test_block_of_a_disabled_subnet_mints_alpha_but_no_tao() -> None:
    """DTAO 13.10."""
    parameters = replace(DEV.hyperparameters, emission_enabled=False)
    chain = DevChain(dev_spec(subnets=(subnet(hyperparameters=parameters),)))
    before = int(chain.state.read("subnets/alpha_out", 1))
    chain.block()
    assert int(chain.state.read("subnets/tao_in_emission", 1)) == 0
    assert int(chain.state.read("subnets/excess_tao", 1)) == 0
    assert int(chain.state.read("subnets/alpha_out", 1)) > before
    assert int(chain.state.read("subnets/pending_server", 1)) > 0


def test_block_clock_runs_for_a_subnet_that_has_not_started() -> None:
    """DTAO 13.28."""
    chain = DevChain(dev_spec(subnets=(subnet(started=False),)))
    chain.skip(DEV.hyperparameters.tempo)
    assert int(chain.state.read("subnets/epoch_index", 1)) == 1
    assert int(chain.state.read("subnets/last_emission", 1)) == 0


def test_block_epochs_above_the_limit_are_deferred_to_the_next_block() -> None:
    """YUMA 7.3: two epochs a block; the third subnet's runs one block later."""
    subnets = tuple(replace(subnet(), netuid=Netuid(netuid), neurons=()) for netuid in (10, 20, 30))
    chain = DevChain(dev_spec(subnets=subnets))
    chain.skip(DEV.hyperparameters.tempo - 1)
    first = chain.block()
    second = chain.block()
    assert [epoch.netuid for epoch in first.epochs] == [10, 20]
    assert "EpochDeferred" in event_names(first.block_events)
    assert [epoch.netuid for epoch in second.epochs] == [30]


def test_block_root_interval_counter_resets_in_every_block_once_root_is_due() -> None:
    """DTAO 13.26: root never runs an epoch, so that it stays due."""
    chain = DevChain()
    chain.skip_to(99)
    chain.state.write("subnets/root_registrations_interval", 0, 2)
    chain.block()
    assert int(chain.state.read("subnets/root_registrations_interval", 0)) == 0
    chain.state.write("subnets/root_registrations_interval", 0, 2)
    chain.block()
    assert int(chain.state.read("subnets/root_registrations_interval", 0)) == 0


def test_block_old_hotkey_swap_records_expire_when_their_subnets_turn_comes() -> None:
    chain = DevChain()
    interval = chain.spec.parameters.hotkey_swap_on_subnet_interval
    key = (1).to_bytes(2, "big") + account("alice")
    chain.skip(2)
    row = chain.state.key_table("subnet_swaps").open(key)
    chain.state.write("subnet_swaps/block", row, 2)
    chain.skip_to(interval + 1)  # height % interval == 1, but the record still binds
    assert chain.state.key_table("subnet_swaps").find(key) is not None
    chain.skip_to(2 * interval + 1)
    assert chain.state.key_table("subnet_swaps").find(key) is None


def test_block_registration_prices_fall_and_stay_inside_their_bounds() -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"burn": Rao(TAO), "burn_half_life": 360}),)))
    chain.block()
    assert int(chain.state.read("subnets/burn", 1)) == TAO  # not in block 1
    chain.block()
    assert int(chain.state.read("subnets/burn", 1)) == 998_076_443  # DTAO 12.12
