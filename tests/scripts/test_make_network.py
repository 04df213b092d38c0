"""Generated networks: one seed gives one spec, its shapes are those asked for, and the chain it begins lives."""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from yumad.consensus.block import Body
from yumad.consensus.chain_spec import decode_chain_spec, encode_chain_spec, genesis_hash
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.root_stake import root_rates

EMPTY = Body(None, (), ())


@pytest.fixture(scope="module")
def scripts(repository_root: Path) -> Iterator[Any]:
    """The benchmark, which imports what the other scripts give."""
    folder = str(repository_root / "scripts")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("bench_ledger")
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def small(scripts: Any) -> Any:
    return scripts.Shape(subnets=3, neurons=40, seed=7)


def test_one_seed_gives_one_spec_and_another_seed_another(scripts: Any, small: Any) -> None:
    data = encode_chain_spec(scripts.network_spec(small))
    assert encode_chain_spec(scripts.network_spec(small)) == data
    assert encode_chain_spec(scripts.network_spec(replace(small, seed=8))) != data


@pytest.mark.parametrize(("subnets", "neurons"), [(1, 1), (3, 40), (4, 4), (2, 512), (4, 700)])
def test_network_has_as_many_subnets_and_neurons_as_asked_for(scripts: Any, subnets: int, neurons: int) -> None:
    spec = scripts.network_spec(scripts.Shape(subnets, neurons))
    assert [subnet.netuid for subnet in spec.subnets] == list(range(1, subnets + 1))
    assert sum(len(subnet.neurons) for subnet in spec.subnets) == neurons
    assert all(1 <= len(subnet.weights) <= 64 for subnet in spec.subnets)


def test_pools_have_drifted_weights_and_rows_keep_the_validators_order(scripts: Any, small: Any) -> None:
    spec = scripts.network_spec(small)
    assert all(subnet.quote_weight != 5 * 10**17 for subnet in spec.subnets)
    rows = [np.frombuffer(row.uids, dtype="<u2").tolist() for subnet in spec.subnets for row in subnet.weights]
    assert any(row != sorted(row) for row in rows)


def test_validators_that_sit_on_several_subnets_hold_root_stake(scripts: Any) -> None:
    spec = scripts.network_spec(scripts.Shape(8, 200))
    on_root = [hotkey for hotkey, _, _ in spec.stakes]
    seats = [neuron.hotkey for subnet in spec.subnets for neuron in subnet.neurons if neuron.hotkey in on_root]
    assert len(seats) > 20
    several = {hotkey for hotkey in seats if seats.count(hotkey) > 1}
    assert several
    assert {hotkey for hotkey in on_root if on_root.count(hotkey) > 1} == set()


def test_written_file_is_a_chain_spec_that_one_authority_can_start(repository_root: Path, tmp_path: Path) -> None:
    file = tmp_path / "net.cbor"
    script = str(repository_root / "scripts/make_network.py")
    command = [sys.executable, script, str(file), "--subnets", "2", "--neurons", "20", "--json"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    spec = decode_chain_spec(file.read_bytes())
    assert len(spec.authorities) == 1
    assert (report["subnets"], report["neurons"]) == (2, 20)
    assert report["genesis_hash"] == genesis_hash(spec).hex()


@pytest.mark.parametrize("arguments", [("--subnets", "129"), ("--neurons", "1"), ("--neurons", "99999")])
def test_impossible_size_is_a_usage_error(repository_root: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, str(repository_root / "scripts/make_network.py"), str(tmp_path / "x"), *arguments]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
    assert not (tmp_path / "x").exists()


def test_network_lives_with_its_traffic_and_breaks_no_invariant(scripts: Any, small: Any) -> None:
    chain = scripts.Chain(scripts.network_spec(small))
    traffic = scripts.Traffic(chain, 1)
    outcomes = [chain.build(traffic.block())[1] for _ in range(100)]
    assert sum(len(outcome.epochs) for outcome in outcomes) == 1
    codes = [transaction.code for outcome in outcomes for transaction in outcome.transactions]
    assert len(codes) > 1500
    assert not any(codes)
    assert broken_invariants(chain.state, chain.spec) == []
    paid = [hotkey for hotkey, _, _ in chain.spec.stakes if root_rates(chain.state, hotkey)]
    assert paid, "root dividends accrued"


def test_chain_buys_on_every_subnet_where_all_are_old(scripts: Any, small: Any) -> None:
    chain = scripts.Chain(scripts.network_spec(replace(small, all_buy=True)))
    chain.execute(EMPTY, skip_signatures=True)
    assert (chain.state.array("subnets/excess_tao")[1:] > 0).all()


def test_chain_of_a_lone_authority_is_replayed_to_the_same_roots(scripts: Any, small: Any, tmp_path: Path) -> None:
    maker = scripts.LoneAuthority(scripts.network_spec(small), scripts.stagger)
    traffic = scripts.Traffic(maker, 1)
    for _ in range(scripts.BATCH + 1):
        maker.make(traffic.block())
    assert scripts.replay(maker, tmp_path, warm_up=scripts.BATCH) > 0
