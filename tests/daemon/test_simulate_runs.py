"""What a simulation does with its scenario: epochs as on the chain, economies block by block."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from yumad.daemon.simulate.economy_runs import run_economy
from yumad.daemon.simulate.epoch_runs import proportions, run_epochs, scaled_to_u16
from yumad.daemon.simulate.results import ONE, EpochRow, VariantResult
from yumad.daemon.simulate.scenario import EconomyScenario, EpochScenario
from yumad.daemon.simulate.scenario_file import read_scenario, scenario_from_document

Document = dict[str, Any]

TAO = 10**9

NEURONS: list[Document] = [
    {"name": "large", "stake": 75},
    {"name": "small", "stake": 25},
    {"name": "one"},
    {"name": "other"},
]


def epochs(**changed: Any) -> list[VariantResult]:
    """Runs of two validators that both weigh miner `one`, changed."""
    document = {
        "epochs": 4,
        "neurons": NEURONS,
        "weights": [{"validator": name, "on": {"one": 1}} for name in ("large", "small")],
        **changed,
    }
    scenario = scenario_from_document(document)
    assert isinstance(scenario, EpochScenario)
    return run_epochs(scenario)


def rows_at(result: VariantResult, epoch: int) -> list[EpochRow]:
    return [row for row in result.epochs if row.epoch == epoch]


def subnet(netuid: int, **changed: Any) -> Document:
    """A subnet with one validator (also the owner) and one miner."""
    name = f"s{netuid}"
    return {
        "netuid": netuid,
        "owner_hotkey": f"dev:{name}/hot",
        "owner_coldkey": f"dev:{name}",
        "tao_reserve": 1000 * TAO,
        "alpha_reserve": 20_000 * TAO,
        "neurons": [
            {"hotkey": f"dev:{name}/hot", "coldkey": f"dev:{name}", "stake": 5000 * TAO, "last_update": 1,
             "permit": True},
            {"hotkey": f"dev:{name}/miner", "coldkey": "dev:bob"},
        ],
        "weights": [{"uid": 0, "uids": [1], "values": [65535]}],
        "hyperparameters": {
            "tempo": 10, "activity_cutoff_factor_milli": 50_000, "commit_reveal_weights_enabled": False,
        },
        **changed,
    }  # fmt: skip


def economy(blocks: int, *subnets: Document, **changed: Any) -> list[VariantResult]:
    chain = {"dev": {"names": ["alice", "bob", "s1"], "funds": 1000 * TAO}, "subnets": list(subnets)}
    scenario = scenario_from_document({"mode": "economy", "blocks": blocks, "chain": chain, **changed})
    assert isinstance(scenario, EconomyScenario)
    return run_economy(scenario)


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_first_epoch_already_pays_validators_by_stake_and_their_miner() -> None:
    (result,) = epochs(emission=1000)
    assert [row.emission for row in rows_at(result, 0)] == [375, 125, 500, 0]
    assert [row.incentive for row in rows_at(result, 0)] == [0, 0, ONE, 0]


def test_scenario_without_variants_has_one() -> None:
    assert [result.name for result in epochs()] == ["as configured"]


def test_variants_run_side_by_side_from_the_same_start() -> None:
    one, other = epochs(variants=[{"name": "a"}, {"name": "b"}])
    assert (one.name, other.name) == ("a", "b")
    assert (one.epochs, one.bonds) == (other.epochs, other.bonds)


def test_weights_hold_until_the_validators_next_ones() -> None:
    weights = [{"validator": name, "on": {"one": 1}} for name in ("large", "small")]
    weights += [{"validator": name, "on": {"other": 1}, "epoch": 2} for name in ("large", "small")]
    (result,) = epochs(weights=weights)
    paid = [[row.incentive for row in rows_at(result, epoch)][2:] for epoch in range(4)]
    assert paid == [[ONE, 0], [ONE, 0], [0, ONE], [0, ONE]]


def test_stake_that_changes_moves_consensus_from_its_epoch_on() -> None:
    weights = [{"validator": "large", "on": {"one": 1}}, {"validator": "small", "on": {"other": 1}}]
    (result,) = epochs(weights=weights, stakes=[{"epoch": 2, "neuron": "small", "stake": 300}])
    paid = [[row.incentive for row in rows_at(result, epoch)][2:] for epoch in range(4)]
    assert paid == [[ONE, 0], [ONE, 0], [0, ONE], [0, ONE]]


def test_registration_drops_bonds_on_the_newcomer_and_weights_submitted_before() -> None:
    weights = [{"validator": "large", "on": {"one": 1, "other": 1}, "once": True}]
    (result,) = epochs(weights=weights, registrations=[{"epoch": 2, "neuron": "one"}])
    bonds = {(row.epoch, row.target): row.bond for row in result.bonds if row.validator == 0 and row.bond}
    assert sorted(bonds) == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (3, 3)]
    paid = [[row.incentive for row in rows_at(result, epoch)][2:] for epoch in range(4)]
    assert paid == [[ONE // 2, ONE // 2], [ONE // 2, ONE // 2], [0, ONE], [0, ONE]]


def test_registration_of_a_validator_takes_its_weights_and_permit() -> None:
    (result,) = epochs(registrations=[{"epoch": 1, "neuron": "large"}])
    assert [[row.dividends for row in rows_at(result, epoch)][:2] for epoch in (0, 1)] == [
        [ONE * 3 // 4, ONE // 4],
        [0, ONE],
    ]


def test_weights_submitted_once_age_into_inactivity() -> None:
    weights = [
        {"validator": "large", "on": {"one": 1}, "once": True},
        {"validator": "small", "on": {"other": 1}},
    ]
    (result,) = epochs(epochs=5, weights=weights, hyperparameters={"tempo": 100, "activity_cutoff_factor_milli": 2500})
    winners = [[row.incentive for row in rows_at(result, epoch)][2:] for epoch in range(5)]
    assert winners == [[ONE, 0]] * 3 + [[0, ONE]] * 2


def test_change_of_a_hyperparameter_holds_from_its_epoch_on() -> None:
    weights = [{"validator": "large", "on": {"one": 1}}, {"validator": "small", "on": {"other": 1}}]
    (result,) = epochs(weights=weights, variants=[{"changes": [{"epoch": 2, "kappa": 10_000}]}])
    paid = [[row.incentive for row in rows_at(result, epoch)][2:] for epoch in range(3)]
    assert paid[:2] == [[ONE, 0], [ONE, 0]]
    assert paid[2][1] > 0


def test_owner_weighs_itself_and_others_do_not() -> None:
    weights = [{"validator": "large", "on": {"large": 1, "one": 1}}]
    (stranger,), (owner,) = epochs(weights=weights), epochs(weights=weights, owner="large")
    assert [rows_at(result, 0)[0].incentive for result in (stranger, owner)] == [0, ONE // 2]


def test_scaled_weights_give_the_largest_65535() -> None:
    assert scaled_to_u16([Fraction(1, 3), Fraction(2, 3), Fraction(0)]) == (32_768, 65_535, 0)
    assert scaled_to_u16([Fraction(0)]) == (0,)


def test_proportions_are_exact_where_a_u16_can_hold_them() -> None:
    assert proportions([Fraction(7, 10), Fraction(3, 10)]) == (7, 3)
    assert proportions([Fraction(1), Fraction(1, 70_000)]) == scaled_to_u16([Fraction(1), Fraction(1, 70_000)])
    assert proportions([]) == ()


# --- economy ----------------------------------------------------------------------------------------------------------


def test_every_block_has_a_market_row_for_each_subnet() -> None:
    (result,) = economy(12, subnet(1), subnet(2))
    assert [(row.block, row.netuid) for row in result.market] == [
        (block, netuid) for block in range(1, 13) for netuid in (1, 2)
    ]


def test_epoch_of_an_economy_names_its_neurons_and_pays_them_the_same() -> None:
    (result,) = economy(25, subnet(1))
    assert result.neurons == {(1, 0): "1/0 s1/hot", (1, 1): "1/1 s1/miner"}
    judge, worker = result.last_epoch()
    assert (judge.dividends, worker.incentive) == (ONE, ONE)
    # 1 alpha a block and a tempo of ten; 11796/65535 of it are the owner's, half of the rest goes to each side.
    each = 10 * TAO * (65_535 - 11_796) // 65_535 // 2
    assert abs(judge.emission - each) < 10_000 and abs(worker.emission - each) < 10_000


def test_purchase_moves_the_price_of_its_subnet_only() -> None:
    args = {"hotkey": "dev:s1/hot", "netuid": 1, "amount": "100tao"}
    calls = [{"block": 5, "signer": "alice", "call": "stake.add_stake", "args": args}]
    still, moved = economy(6, subnet(1), subnet(2)), economy(6, subnet(1), subnet(2), calls=calls)
    assert moved[0].calls == [{"block": 5, "signer": "alice", "call": "stake.add_stake", "result": "ok"}]
    before, after = ({(row.block, row.netuid): row for row in run[0].market} for run in (still, moved))
    assert before[4, 1] == after[4, 1]
    assert after[5, 1].price > before[5, 1].price * 11 // 10
    assert after[5, 2] == before[5, 2]


def test_failed_call_is_noted_with_the_name_of_its_error() -> None:
    args = {"hotkey": "dev:nobody", "netuid": 1, "amount": "1tao"}
    calls = [{"block": 2, "signer": "alice", "call": "stake.add_stake", "args": args}]
    (result,) = economy(3, subnet(1), calls=calls)
    assert [call["result"] for call in result.calls] == ["HotKeyAccountNotExists"]


def test_calls_of_one_signer_in_one_block_run_in_the_order_of_the_file() -> None:
    args = [{"dest": f"dev:{name}", "amount": f"{amount}tao"} for name, amount in (("x", 999), ("y", 999))]
    calls = [{"block": 1, "signer": "alice", "call": "balances.transfer_allow_death", "args": each} for each in args]
    (result,) = economy(1, subnet(1), calls=calls)
    assert [call["result"] for call in result.calls] == ["ok", "InsufficientBalance"]


def test_weights_set_by_a_call_move_the_incentive() -> None:
    neurons = [*subnet(1)["neurons"], {"hotkey": "dev:third", "coldkey": "dev:bob"}]
    args = {"netuid": 1, "uids": [2], "values": [65535], "version_key": 0}
    calls = [{"block": 15, "signer": "s1/hot", "call": "weights.set_weights", "args": args}]
    (result,) = economy(25, subnet(1, neurons=neurons), calls=calls)
    assert [call["result"] for call in result.calls] == ["ok"]
    winners = [[row.uid for row in rows_at(result, epoch) if row.incentive] for epoch in (0, 1)]
    assert winners == [[1], [2]]


def test_variant_of_an_economy_replaces_hyperparameters_everywhere() -> None:
    results = economy(25, subnet(1), variants=[{"name": "ten"}, {"name": "five", "hyperparameters": {"tempo": 5}}])
    assert [len({row.epoch for row in result.epochs}) for result in results] == [2, 5]


@pytest.mark.parametrize("name", ["kappa", "two_markets", "newcomer"])
def test_example_runs_and_all_its_calls_succeed(repository_root: Path, name: str) -> None:
    scenario = read_scenario(repository_root / f"docs/scenarios/{name}.toml")
    results = run_epochs(scenario) if isinstance(scenario, EpochScenario) else run_economy(scenario)
    assert len(results) == len(scenario.variants)
    for result in results:
        assert result.epochs and all(call["result"] == "ok" for call in result.calls)


def test_same_scenario_gives_the_same_numbers_again(repository_root: Path) -> None:
    scenario = read_scenario(repository_root / "docs/scenarios/newcomer.toml")
    assert isinstance(scenario, EconomyScenario)
    assert run_economy(scenario) == run_economy(scenario)


def test_json_scenario_equals_the_toml_one(tmp_path: Path) -> None:
    document = {"epochs": 2, "neurons": [{"name": "a", "stake": 1.5}], "variants": [{"name": "x"}]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    (tmp_path / "a.toml").write_text('epochs = 2\n[[neurons]]\nname = "a"\nstake = 1.5\n[[variants]]\nname = "x"\n')
    assert read_scenario(tmp_path / "a.json") == read_scenario(tmp_path / "a.toml")
