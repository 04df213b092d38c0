"""Scenario files that are wrong: one clear line with the place in the file, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from yumad.daemon.simulate.economy_runs import run_economy
from yumad.daemon.simulate.scenario import EconomyScenario, EpochScenario, ScenarioError
from yumad.daemon.simulate.scenario_file import MAX_FILE_BYTES, read_scenario, scenario_from_document

Document = dict[str, Any]

NEURONS: list[Document] = [{"name": "validator", "stake": 10}, {"name": "miner"}]
EPOCHS: Document = {
    "epochs": 3,
    "neurons": NEURONS,
    "weights": [{"validator": "validator", "on": {"miner": 1}}],
}
SUBNET: Document = {"netuid": 1, "owner_hotkey": "dev:a/hot", "owner_coldkey": "dev:a"}
ECONOMY: Document = {"mode": "economy", "blocks": 3, "chain": {"subnets": [SUBNET]}}


def refusal(document: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        scenario_from_document(document)
    return f"{caught.value.message} | {caught.value.remedy}"


def economy_refusal(document: Document) -> str:
    scenario = scenario_from_document(document)
    assert isinstance(scenario, EconomyScenario)
    with pytest.raises(ScenarioError) as caught:
        run_economy(scenario)
    return f"{caught.value.message} | {caught.value.remedy}"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epoch": 3}, "scenario has no setting 'epoch' | did you mean 'epochs'?"),
        ({"mode": "epoch"}, "mode is 'epoch' | use \"epochs\" or \"economy\""),
        ({"name": 3}, "scenario: name is 3 | give a text in quotes"),
        ({"epochs": None}, "scenario: epochs is missing | give a whole number from 1 to 10000"),
        ({"epochs": 0}, "scenario: epochs is 0 | give a whole number from 1 to 10000"),
        ({"epochs": True}, "scenario: epochs is True | give a whole number from 1 to 10000"),
        ({"neurons": []}, "scenario: 0 neurons | give 1 to 1024 tables [[neurons]]"),
        ({"neurons": 3}, "scenario: neurons is no list of tables | write [[neurons]]"),
        ({"neurons": [{"nam": "x"}]}, "neurons[0] has no setting 'nam' | did you mean 'name'?"),
        ({"neurons": NEURONS + NEURONS[1:]}, "two neurons have the name 'miner' | name each once"),
        (
            {"neurons": [{"stake": -1}]},
            "neurons[0].stake is -1 | give a number that is not negative, such as 0.7 or \"1/3\"",
        ),
        (
            {"neurons": [{"stake": "0.1234567891"}]},
            "neurons[0].stake is '0.1234567891' | give at most nine decimals, and less than 4.6e9 alpha",
        ),
        (
            {"neurons": [{"stake": 4.7e9}]},
            "neurons[0].stake is 4700000000.0 | give at most nine decimals, and less than 4.6e9 alpha",
        ),
        ({"owner": "nobody"}, "owner: there is no neuron 'nobody' | name one of validator, miner"),
        (
            {"stakes": [{"epoch": 3, "neuron": "miner", "stake": 1}]},
            "stakes[0]: epoch is 3 | give a whole number from 0 to 2",
        ),
        (
            {"stakes": [{"neuron": "miner", "stake": 1}]},
            "stakes[0]: epoch is missing | give a whole number from 0 to 2",
        ),
        (
            {"stakes": [{"epoch": 1, "neuron": "miner"}]},
            "stakes[0].stake is None | give a number that is not negative, such as 0.7 or \"1/3\"",
        ),
        (
            {"registrations": [{"epoch": 1, "neuron": 2}]},
            "registrations[0]: there is no neuron 2 | name one of validator, miner",
        ),
        ({"hyperparameters": []}, "hyperparameters is no table | write [hyperparameters]"),
        (
            {"hyperparameters": {"kapa": 1}},
            "hyperparameters has no setting 'kapa' | did you mean 'kappa'?",
        ),
        ({"hyperparameters": {"kappa": 65536}}, "hyperparameters.kappa is 65536, expected 0 to 65535 | "),
    ],
)  # fmt: skip
def test_epoch_scenario_with_a_wrong_setting_is_refused_with_its_place(changed: Document, said: str) -> None:
    document = {key: value for key, value in (EPOCHS | changed).items() if value is not None}
    assert refusal(document) == said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"validator": "someone", "on": {"miner": 1}},
            "weights[0]: there is no neuron 'someone' | name one of validator, miner",
        ),
        ({"on": {"miner": 1}}, "weights[0]: there is no neuron None | name one of validator, miner"),
        (
            {"validator": 0, "on": {"minor": 1}},
            "weights[0].on: there is no neuron 'minor' | name one of validator, miner",
        ),
        ({"validator": 0, "on": [1]}, 'weights[0].on is [1] | write { "miner" = 0.7, "other miner" = 0.3 }'),
        (
            {"validator": 0, "on": {"miner": "x"}},
            "weights[0].on.miner is 'x' | give a number that is not negative, such as 0.7 or \"1/3\"",
        ),
        (
            {"validator": 0, "on": {"miner": "1/0"}},
            "weights[0].on.miner is '1/0' | give a number that is not negative, such as 0.7 or \"1/3\"",
        ),
        ({"validator": 0, "on": {}, "once": 1}, "weights[0]: once is 1 | give true or false"),
        ({"validator": 0, "on": {}, "epoch": 3}, "weights[0]: epoch is 3 | give a whole number from 0 to 2"),
        ({"validator": 0, "on": {}, "epohc": 3}, "weights[0] has no setting 'epohc' | did you mean 'epoch'?"),
    ],
)  # fmt: skip
def test_wrong_weights_are_refused_with_their_place(row: Document, said: str) -> None:
    assert refusal(EPOCHS | {"weights": [row]}) == said


def test_second_weights_of_a_validator_at_an_epoch_are_refused() -> None:
    rows = [{"validator": "validator", "on": {"miner": 1}}, {"validator": 0, "on": {"validator": 1}}]
    assert refusal(EPOCHS | {"weights": rows}) == (
        "weights[1]: 'validator' has weights from epoch 0 on already | put all its targets into one table"
    )


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"nam": "x"}, "variants[1] has no setting 'nam' | did you mean 'name'?"),
        ({"name": "first"}, "two variants have the name 'first' | name each once"),
        ({"exact": "yes"}, "variants[1]: exact is 'yes' | give true or false"),
        ({"liquid_rates": [0.3, 0.1]}, "variants[1].liquid_rates is [0.3, 0.1] | give two shares: [0.1, 0.3]"),
        (
            {"hyperparameters": {"yuma_on": True}},
            "variants[1].hyperparameters has no setting 'yuma_on' | did you mean 'yuma3_on'?",
        ),
        (
            {"changes": [{"epoch": 1, "kappa": -1}]},
            "variants[1].changes[0].kappa is -1, expected 0 to 65535 | ",
        ),
        (
            {"changes": [{"epoch": 9, "kappa": 1}]},
            "variants[1].changes[0]: epoch is 9 | give a whole number from 0 to 2",
        ),
        (
            {"changes": [{"epoch": 1, "kapa": 1}]},
            "variants[1].changes[0] has no setting 'kapa' | did you mean 'kappa'?",
        ),
    ],
)  # fmt: skip
def test_wrong_variant_is_refused_with_its_place(variant: Document, said: str) -> None:
    assert refusal(EPOCHS | {"variants": [{"name": "first"}, variant]}) == said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 3}, "scenario has no setting 'epochs' | "),
        ({"blocks": None}, "scenario: blocks is missing | give a whole number from 1 to 100000"),
        ({"chain": None}, "an economy needs a [chain] table | it is a chain spec: subnets, dev, stakes …"),
        (
            {"chain": {"authorities": []}},
            "chain.authorities: a simulated chain has one author of its own | leave authorities out",
        ),
        ({"calls": [{"block": 4}]}, "calls[0]: block is 4 | give a whole number from 1 to 3"),
        ({"calls": [{"block": 1, "call": "x"}]}, "calls[0]: signer is missing | give a text in quotes"),
        ({"calls": [{"block": 1, "signer": "a"}]}, "calls[0]: call is missing | give a text in quotes"),
        (
            {"calls": [{"block": 1, "signer": "a", "call": "x", "args": 3}]},
            'calls[0]: args is 3 | write { hotkey = "dev:NAME", netuid = 1 }',
        ),
        (
            {"variants": [{"hyperparameters": {"temp": 3}}]},
            "variants[0].hyperparameters has no setting 'temp' | did you mean 'tempo'?",
        ),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "two variants have the name 'a' | name each once"),
    ],
)  # fmt: skip
def test_economy_with_a_wrong_setting_is_refused_with_its_place(changed: Document, said: str) -> None:
    document = {key: value for key, value in (ECONOMY | changed).items() if value is not None}
    assert refusal(document) == said


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ({"subnet": []}, "chain: chain spec has no setting 'subnet' | did you mean 'subnets'?"),
        (
            {"subnets": [SUBNET | {"hyperparameters": {"temp": 3}}]},
            "chain: subnets.1.hyperparameters has no setting 'temp' | did you mean 'tempo'?",
        ),
        ({"subnets": 3}, "chain: subnets is 3, expected a list | "),
        ({"profile": "tiny"}, "chain: profile 'tiny' is unknown | use one of main, dev, finney"),
    ],
)
def test_economy_whose_chain_spec_is_wrong_is_refused_with_the_setting(chain: Document, said: str) -> None:
    assert economy_refusal(ECONOMY | {"chain": chain}) == said


@pytest.mark.parametrize(
    ("call", "args", "said"),
    [
        ("stake.add", {}, "calls[0]: there is no call 'stake.add' | `yumad tx calls` lists them"),
        (
            "balances.transfer_all",
            {"dest": "dev:a"},
            "calls[0]: balances.transfer_all takes dest, keep_alive | ",
        ),
        (
            "balances.transfer_all",
            {"dest": "dev:a", "keep_alive": "maybe"},
            "calls[0]: keep_alive is 'maybe' | keep_alive: true or false",
        ),
    ],
)
def test_call_that_cannot_be_made_is_refused_with_its_place(call: str, args: Document, said: str) -> None:
    calls = [{"block": 1, "signer": "a", "call": call, "args": args}]
    assert economy_refusal(ECONOMY | {"calls": calls}) == said


def test_call_that_no_block_may_contain_ends_the_simulation_with_its_place() -> None:
    args = {"dest": "dev:a", "keep_alive": True}
    calls = [{"block": 2, "signer": "pauper", "call": "balances.transfer_all", "args": args}]
    said = economy_refusal(ECONOMY | {"calls": calls})
    assert said.startswith("block 2 with calls[0] (balances.transfer_all): transaction 0: the signer cannot pay ")


@pytest.mark.parametrize("document", [None, 3, [], "text"])
def test_document_that_is_no_table_is_refused(document: Any) -> None:
    assert refusal(document).startswith("the scenario is no table | ")


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read: No such file or directory"):
        read_scenario(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.toml", b"epochs = ", "is not TOML"),
        ("a.json", b"{", "is not JSON"),
        ("a.toml", b"\xff", "is not TOML"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.toml", b"#" * (MAX_FILE_BYTES + 1), "is larger than 16777216 bytes"),
    ],
    ids=["toml", "json", "utf8", "depth", "size"],
)
def test_file_that_cannot_be_parsed_is_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ScenarioError, match=said):
        read_scenario(tmp_path / name)


def test_stakes_out_of_order_hold_from_their_epochs_on() -> None:
    changes = [
        {"epoch": 2, "neuron": "validator", "stake": 30},
        {"epoch": 1, "neuron": "miner", "stake": 0.5},
    ]
    scenario = scenario_from_document(EPOCHS | {"stakes": changes})
    assert isinstance(scenario, EpochScenario)
    assert scenario.stakes == {0: (10 * 10**9, 0), 1: (10 * 10**9, 5 * 10**8), 2: (30 * 10**9, 5 * 10**8)}


def test_changes_add_up_over_the_epochs() -> None:
    changes = [{"epoch": 2, "tempo": 7}, {"epoch": 1, "kappa": 5}]
    scenario = scenario_from_document(EPOCHS | {"variants": [{"changes": changes}]})
    assert isinstance(scenario, EpochScenario)
    found = scenario.variants[0].changes
    assert [(epoch, found[epoch].kappa, found[epoch].tempo) for epoch in found] == [(1, 5, 1), (2, 5, 7)]


def test_calls_come_in_the_order_of_their_blocks_and_then_of_the_file() -> None:
    blocks = [3, 1, 3, 2]
    calls = [{"block": block, "signer": "dev:a", "call": f"x.{at}"} for at, block in enumerate(blocks)]
    scenario = scenario_from_document(ECONOMY | {"calls": calls})
    assert isinstance(scenario, EconomyScenario)
    assert [call.call for call in scenario.calls] == ["x.1", "x.3", "x.0", "x.2"]
    assert scenario.calls[0].signer == "a"
