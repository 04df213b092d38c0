"""Worked example YUMA 9.8 on a chain: every mask at once, the commit mask from commits that were really sent.

The chain runs to block 2000. Stakes, permits, rows and dates are written as the example has them; validator 1 commits
in blocks 1910 and 1950, so that its last update is 1950 and its oldest live commit 1910.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from yumad.consensus.chain_spec import NeuronSpec
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.v1.neurons import neuron_array
from yumad.consensus.rules.v1.weight_commits import commit_blocks_of, read_commits, write_commits
from yumad.consensus.rules.v1.weights import read_row, write_row
from yumad.consensus.types import U64_MAX, Rao

EMISSION = 10**9
STAKE = (500, 300, 300, 90, 0, 50)
PERMITS = (1, 1, 1, 0, 0, 0)
LAST_UPDATE = (1900, 1950, 1400, 1990, 10, 1999)
REGISTERED = (1, 1, 1, 1700, 1920, 1)
WEIGHTS: tuple[list[tuple[int, int]], ...] = (
    [(4, 30000), (3, 65535), (1, 10000), (0, 5000)],
    [(3, 65535), (4, 65535), (0, 20000)],
    [(3, 1), (0, 65535)],
    [(0, 65535)],
    [],
    [(5, 65535), (3, 32768), (0, 100)],
)
BONDS: tuple[list[tuple[int, int]], ...] = (
    [(3, 20000), (1, 65535), (5, 40000)],
    [(0, 65535), (3, 100), (5, 65535)],
    [(0, 30000)],
)


@pytest.fixture(scope="module")
def at_1999() -> DevChain:
    """The chain at block 1999, with the epoch of the example due in the next one."""
    parameters: dict[str, Any] = {
        "tempo": 0,
        "activity_cutoff_factor_milli": 1389,  # 500 blocks at a tempo of 360
        "bonds_penalty": 40_000,
        "liquid_alpha_on": True,
        "max_allowed_validators": 2,
        "commit_reveal_weights_enabled": True,
    }
    neurons = tuple(
        NeuronSpec(account(f"neuron-{uid}"), account("alice"), Rao(stake), 1, 1, bool(permit))
        for uid, (stake, permit) in enumerate(zip(STAKE, PERMITS, strict=True))
    )
    network = replace(DEV.parameters, stake_threshold=100)
    market = replace(subnet(parameters), neurons=neurons, owner_hotkey=account("neuron-5"), started=False)
    chain = DevChain(dev_spec(parameters=network, subnets=(market,)))
    for height in (1910, 1950):
        chain.skip_to(height - 1)
        assert chain.attempt("neuron-1", "weights.commit_weights", 1, height.to_bytes(32, "big")) == "ok"
    chain.skip_to(1999)
    _write_example(chain)
    return chain


@pytest.fixture
def chain(at_1999: DevChain) -> Iterator[DevChain]:
    """The same for each test: what it does is undone."""
    mark = at_1999.state.begin()
    yield at_1999
    at_1999.state.rollback(mark)
    at_1999.height, at_1999.proposer = 1999, 1999


def _write_example(chain: DevChain) -> None:
    state = chain.state
    for uid in range(6):
        state.write("neurons/registered_at", 256 + uid, REGISTERED[uid])
        write_row(state, "sn/1/0", "weight", uid, *_columns(WEIGHTS[uid]))
    for uid, bonds in enumerate(BONDS):
        write_row(state, "sn/1/0", "bond", uid, *_columns(bonds))
    assert state.read("sn/1/0/last_update", 1) == LAST_UPDATE[1]
    state.write("sn/1/0/last_update", slice(0, 6), np.array(LAST_UPDATE, dtype=np.uint64))
    for name, value in {"tempo": 360, "last_epoch_block": 1640, "last_step": 1640}.items():
        state.write(f"subnets/{name}", 1, value)
    for name in ("pending_server", "pending_validator"):
        state.write(f"subnets/{name}", 1, EMISSION // 2)
    state.add("subnets/alpha_out", 1, EMISSION)


def _columns(row: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [uid for uid, _ in row], [value for _, value in row]


def neurons_of(chain: DevChain, *names: str) -> dict[str, list[int]]:
    return {name: neuron_array(chain.state, 1, name).tolist() for name in names}


def stored_bonds(chain: DevChain) -> list[list[tuple[int, int]]]:
    return [read_row(chain.state, "sn/1/0", "bond", uid) for uid in range(6)]


def test_every_mask_at_once_gives_the_published_numbers(chain: DevChain) -> None:
    outcome = chain.block()
    assert chain.height == 2000
    assert "EpochRun" in event_names(outcome.block_events)
    shields = commit_blocks_of(chain.state, 1, 0, 2000)
    assert shields is not None
    assert shields.tolist() == [U64_MAX, 1910, U64_MAX, U64_MAX, U64_MAX, U64_MAX]
    assert neurons_of(chain, "active", "stake_weight", "consensus", "dividends", "validator_trust") == {
        "active": [1, 1, 0, 1, 0, 1],
        "stake_weight": [28493, 17096, 17096, 0, 0, 2849],
        "consensus": [0, 8676, 0, 56858, 0, 0],
        "dividends": [44717, 19411, 0, 0, 0, 1406],
        "validator_trust": [65534, 50211, 0, 0, 0, 21823],
    }
    assert neurons_of(chain, "emission", "permit") == {
        "emission": [341169305, 192438945, 0, 455663631, 0, 10728117],
        "permit": [1, 0, 1, 0, 0, 1],
    }
    assert chain.state.array("sn/1/0/incentive").tolist() == [0, 5811, 0, 59723, 0, 0]
    assert stored_bonds(chain) == [
        [(1, 14642), (3, 39877)],
        [],
        [(0, 26862)],
        [],
        [],
        [(0, 18), (3, 15305), (5, 12185)],
    ]
    check_conservation(chain)


def test_without_a_penalty_the_bonds_stay_in_the_order_of_the_weights(chain: DevChain) -> None:
    chain.state.write("subnets/bonds_penalty", 1, 0)
    chain.block()
    assert stored_bonds(chain) == [
        [(3, 39877), (1, 14437)],
        [],
        [(0, 61934)],
        [],
        [],
        [(5, 37886), (3, 15305), (0, 46)],
    ]
    assert neurons_of(chain, "dividends", "emission") == {
        "dividends": [44717, 19411, 0, 0, 0, 1406],
        "emission": [341169305, 192438945, 0, 455663631, 0, 10728117],
    }


@pytest.mark.parametrize(("height", "kept"), [(1910, False), (1920, True)])
def test_commit_before_the_target_registered_masks_the_weight_on_it(chain: DevChain, height: int, kept: bool) -> None:
    """YUMA 10.7: equal blocks do not mask. Validator 1's weight on uid 4, registered in 1920, makes the difference."""
    queue = read_commits(chain.state, 1, account("neuron-1"))
    write_commits(chain.state, 1, account("neuron-1"), [queue[0]._replace(block=height), queue[1]])
    chain.block()
    trust = neurons_of(chain, "validator_trust")["validator_trust"]
    assert (trust[1] != 50211) == kept
