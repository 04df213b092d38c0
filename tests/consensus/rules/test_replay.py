"""A golden chain: forty blocks of every kind of call, with the state root after each (CHAIN 5.11).

A difference here is a change of the rules: every peer of a running network would stop. If the change is wanted and no
network runs, write the file again with `YUMAD_WRITE_GOLDEN=1` and review what changed.
"""

import json
import os
from pathlib import Path

from dev_chain import DevChain, account, check_conservation, packed
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.events import decode_events, decode_result
from yumad.consensus.state.merkle import merkle_root

GOLDEN = Path(__file__).with_name("golden_replay.json")
BLOCKS = 40


def transactions_of(chain: DevChain, height: int) -> list[bytes]:
    """What the golden chain does in a block."""
    targets = packed([0, 1, 2, 3])
    if height == 1:
        return [
            chain.sign("alice", "balances.transfer_keep_alive", account("bob"), 3 * TAO),
            chain.sign("neuron-0", "weights.set_weights", 1, targets, packed([0, 1, 40, 60]), 0),
            chain.sign("neuron-1", "weights.set_weights", 1, targets, packed([1, 0, 60, 60]), 0),
        ]
    script = {
        2: ("alice", "neuron.burned_register", 1, account("miner")),
        3: ("bob", "stake.add_stake", account("miner"), 1, 20 * TAO),
        4: ("carol", "stake.add_stake", account("authority-1/hot"), 0, 7 * TAO),
        5: ("bob", "stake.remove_stake", account("miner"), 1, 5 * TAO),
        6: ("bob", "keys.try_associate_hotkey", account("other")),
        7: ("carol", "balances.transfer_keep_alive", account("bob"), 5000 * TAO),
        12: ("alice", "admin.execute", *chain.order("sudo_set_kappa", 1, 30_000)),
        13: ("newcomer", "balances.faucet"),
        14: ("newcomer", "balances.transfer_all", account("carol"), False),
        23: ("neuron-2", "weights.set_weights", 1, targets, packed([9, 9, 0, 60]), 0),
        24: ("carol", "balances.transfer_allow_death", account("newcomer"), TAO),
    }
    if height % 20 == 8:
        return chain.heartbeats(0, 1, 2, 3)
    if height not in script:
        return []
    name, call, *args = script[height]
    return [chain.sign(name, call, *args)]


def play() -> tuple[DevChain, list[dict[str, str]]]:
    chain, trace = DevChain(), []
    for height in range(1, BLOCKS + 1):
        certificate = chain.certificate(height - 2, range(3)) if height % 20 > 3 else None
        outcome = chain.block(*transactions_of(chain, height), certificate=certificate)
        trace.append({"state": chain.state.root().hex(), "results": merkle_root(outcome.results).hex()})
    return chain, trace


def test_golden_chain_replays_to_the_same_roots() -> None:
    chain, trace = play()
    found = {"genesis": chain.genesis.hex(), "blocks": trace}
    if "YUMAD_WRITE_GOLDEN" in os.environ:
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert found["genesis"] == golden["genesis"]
    for height, (mine, theirs) in enumerate(zip(trace, golden["blocks"], strict=True), 1):
        assert mine == theirs, f"first difference at height {height}"
    check_conservation(chain)


def test_golden_chain_has_epochs_a_failing_call_and_two_boundaries() -> None:
    chain, _ = play()
    assert sum(len(outcome.epochs) for outcome in chain.outcomes) == 4
    assert sum(outcome.next_authorities is not None for outcome in chain.outcomes) == 2
    codes = [transaction.code for outcome in chain.outcomes for transaction in outcome.transactions]
    assert sum(code != 0 for code in codes) == 1


def test_results_of_every_block_decode_to_its_outcome() -> None:
    chain, _ = play()
    for outcome in chain.outcomes:
        assert decode_events(outcome.results[0]) == outcome.block_events
        for leaf, transaction in zip(outcome.results[1:], outcome.transactions, strict=True):
            result = decode_result(leaf)
            assert (result.code, result.fee, result.events) == (
                transaction.code,
                transaction.fee,
                transaction.events,
            )
