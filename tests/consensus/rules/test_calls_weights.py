"""Setting weights: every check of YUMA 5.1 in its order, and the effect.

These calls are free, so one that fails a check bars the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from dev_chain import DevChain, account, dev_spec, event_names, packed, subnet
from free_calls import refusal
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.fixed_point import upscale_to_u16
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.errors import error_name
from yumad.consensus.rules.v1.weights import read_row, upscaled_weights
from yumad.consensus.types import Rao

SET = "weights.set_weights"
SET_MECHANISM = "weights.set_mechanism_weights"
SET_BATCH = "weights.batch_set_weights"
GOOD = (1, packed([0, 2, 3]), packed([1, 2, 3]), 0)


def chain_with(global_parameters: dict[str, int] | None = None, **parameters: object) -> DevChain:
    chosen = replace(DEV.parameters, **(global_parameters or {}))
    return DevChain(dev_spec(parameters=chosen, subnets=(subnet({"min_allowed_weights": 2, **parameters}),)))


@dataclass
class Vector:
    """Weights that fail one check, whichever call carries them."""

    signer: str = "neuron-1"
    netuid: int = 1
    uids: Sequence[int] = (0, 2)
    values: Sequence[int] = (1, 1)
    version_key: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[DevChain], object] = lambda chain: None

    def arguments(self, call: str) -> tuple[Any, ...]:
        """The vector as the call takes it; mechanism 0 where it names one."""
        uids, values = packed(self.uids), packed(self.values)
        if call == SET_BATCH:
            return packed([self.netuid]), [[uids, values]], [self.version_key]
        where = (self.netuid, 0) if call == SET_MECHANISM else (self.netuid,)
        return *where, uids, values, self.version_key


def just_set(chain: DevChain) -> None:
    assert chain.attempt("neuron-1", SET, *GOOD) == "ok"


TOO_POOR = {"global_parameters": {"stake_threshold": 2 * TAO + 1}}

VECTORS: dict[str, Vector] = {
    "NotEnoughStakeToSetWeights": Vector(parameters=TOO_POOR),
    "CommitRevealEnabled": Vector(parameters={"commit_reveal_weights_enabled": True}),
    "CanNotSetRootNetworkWeights": Vector(netuid=0),
    "MechanismDoesNotExist": Vector(netuid=9),
    "UidsLengthExceedUidsInSubNet": Vector(uids=range(5), values=range(5)),
    "HotKeyNotRegisteredInSubNet": Vector("alice"),
    "IncorrectWeightVersionKey": Vector(parameters={"weights_version_key": 3}, version_key=2),
    "SettingWeightsTooFast": Vector(prepare=just_set),
    "NeuronNoValidatorPermit": Vector("neuron-3"),
    "DuplicateUids": Vector(uids=(0, 0)),
    "UidVecContainInvalidOne": Vector(uids=(0, 4)),
    "WeightVecLengthIsLow": Vector(uids=(0,), values=(1,)),
}
"""One for each check, in the order of the checks."""

UNEVEN = Vector(values=(1,))

FAILURES: list[tuple[str, str, Vector, tuple[Any, ...]]] = [
    *(
        (call, error, vector, vector.arguments(call))
        for call in (SET, SET_MECHANISM, SET_BATCH)
        for error, vector in VECTORS.items()
    ),
    (SET, "WeightVecNotEqualSize", UNEVEN, UNEVEN.arguments(SET)),
    (SET, "WeightVecLengthIsLow", UNEVEN, (1, b"", b"", 0)),
    (SET_MECHANISM, "WeightVecNotEqualSize", UNEVEN, UNEVEN.arguments(SET_MECHANISM)),
    (SET_MECHANISM, "MechanismDoesNotExist", UNEVEN, (1, 1, packed([0, 2]), packed([1, 1]), 0)),
    (SET_BATCH, "WeightVecNotEqualSize", UNEVEN, UNEVEN.arguments(SET_BATCH)),
    (SET_BATCH, "InputLengthsUnequal", UNEVEN, (packed([1, 1]), [[packed([0, 2]), packed([1, 1])]], [0])),
    (SET_BATCH, "InputLengthsUnequal", UNEVEN, (packed([1]), [[packed([0, 2]), packed([1, 1])]], [0, 0])),
    (SET_BATCH, "InputLengthsUnequal", UNEVEN, (b"", [], [])),
]

UNREACHABLE: dict[tuple[str, str], str] = {
    **dict.fromkeys(
        [(call, "MaxWeightExceeded") for call in (SET, SET_MECHANISM, SET_BATCH)],
        "the limit is 65535, which no u16 exceeds",
    ),
}


@pytest.mark.parametrize(
    ("call", "error", "vector", "args"), FAILURES, ids=[f"{call}-{error}" for call, error, _, _ in FAILURES]
)
def test_call_that_fails_a_check_bars_the_block(call: str, error: str, vector: Vector, args: tuple[Any, ...]) -> None:
    chain = chain_with(**vector.parameters)
    vector.prepare(chain)
    assert refusal(chain, vector.signer, call, *args) == error
    assert (call, error) not in UNREACHABLE


def test_weights_of_a_permitted_validator_are_upscaled_and_kept_in_order() -> None:
    chain = chain_with()
    outcome = chain.send("neuron-1", SET, 1, packed([3, 0, 2]), packed([1, 0, 2]), 0)
    assert (outcome.code, outcome.fee, event_names(outcome.events)) == (0, 0, ["WeightsSet"])
    assert read_row(chain.state, "sn/1/0", "weight", 1) == [(3, 32768), (0, 0), (2, 65535)]
    assert chain.state.read("sn/1/0/last_update", 1) == chain.height


@given(st.lists(st.integers(0, 65_535), max_size=8))
def test_stored_weights_are_those_of_the_fixed_point_definition(values: list[int]) -> None:
    assert upscaled_weights(values) == upscale_to_u16(values)


@pytest.mark.parametrize("largest", [1, 2, 32_767, 32_768, 32_769, 65_534, 65_535])
def test_stored_weights_agree_on_both_branches_of_the_definition(largest: int) -> None:
    values = [largest, *range(0, largest, max(1, largest // 50)), largest - 1]
    assert upscaled_weights(values) == upscale_to_u16(values)


def test_shorter_row_leaves_nothing_of_the_longer_one_behind() -> None:
    chain = chain_with(weights_set_rate_limit=0)
    chain.send("neuron-1", SET, 1, packed([3, 0, 2]), packed([1, 1, 1]), 0)
    chain.send("neuron-1", SET, 1, packed([0, 2]), packed([5, 5]), 0)
    assert read_row(chain.state, "sn/1/0", "weight", 1) == [(0, 65535), (2, 65535)]
    assert not chain.state.array("sn/1/0/weights")[1, 2:].any()


def test_stake_below_the_threshold_may_not_set_weights_unless_it_is_the_owners() -> None:
    chain = chain_with({"stake_threshold": 2 * TAO + 1})
    assert refusal(chain, "neuron-1", SET, *GOOD) == "NotEnoughStakeToSetWeights"
    assert chain.attempt("neuron-0", SET, *GOOD) == "ok"


def test_root_stake_counts_by_the_tao_weight_for_the_threshold() -> None:
    chain = chain_with({"stake_threshold": 3 * TAO, "tao_weight": (1 << 64) - 1})
    assert refusal(chain, "neuron-1", SET, *GOOD) == "NotEnoughStakeToSetWeights"
    assert chain.attempt("alice", "stake.add_stake", account("neuron-1"), 0, TAO) == "ok"
    assert chain.attempt("neuron-1", SET, *GOOD) == "ok"


def test_second_update_inside_the_rate_limit_is_too_fast() -> None:
    chain = chain_with()
    assert chain.attempt("neuron-1", SET, *GOOD) == "ok"
    chain.skip(3)
    assert refusal(chain, "neuron-1", SET, *GOOD) == "SettingWeightsTooFast"
    chain.skip(1)
    assert chain.attempt("neuron-1", SET, *GOOD) == "ok"


def test_earlier_check_wins_when_several_fail() -> None:
    chain = chain_with(weights_version_key=3)
    assert refusal(chain, "neuron-3", SET, 1, packed([0, 0]), packed([1, 1]), 2) == "IncorrectWeightVersionKey"


def test_rate_limit_of_a_single_set_is_asked_before_what_it_holds() -> None:
    chain = chain_with(weights_version_key=3)
    good = (*GOOD[:3], 3)
    assert chain.attempt("neuron-1", SET, *good) == "ok"
    assert refusal(chain, "neuron-1", SET, *GOOD) == "SettingWeightsTooFast"
    assert refusal(chain, "neuron-1", SET_BATCH, packed([1]), [list(GOOD[1:3])], [0]) == "IncorrectWeightVersionKey"


def test_self_weight_alone_needs_neither_permit_nor_length() -> None:
    chain = chain_with()
    assert chain.attempt("neuron-3", SET, 1, packed([3]), packed([1]), 0) == "ok"


def test_owner_needs_no_permit() -> None:
    chain = chain_with()
    mark = chain.state.begin()
    chain.state.write("neurons/permit", 256, 0)
    chain.state.commit(mark)
    assert chain.attempt("neuron-0", SET, *GOOD) == "ok"


def test_newcomer_waits_a_whole_rate_limit_from_its_registration() -> None:
    chain = chain_with(weights_set_rate_limit=5)
    chain.send("alice", "neuron.burned_register", 1, account("miner"))
    chain.skip(3)
    assert refusal(chain, "miner", SET, 1, packed([4]), packed([1]), 0) == "SettingWeightsTooFast"
    chain.skip(1)
    assert chain.attempt("miner", SET, 1, packed([4]), packed([1]), 0) == "ok"


def test_mechanism_weights_keep_their_own_row_and_time() -> None:
    chain = chain_with(mechanism_count=1, max_allowed_uids=64)
    chain.skip(1)
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    call = "weights.set_mechanism_weights"
    assert chain.attempt("neuron-1", call, 1, 1, packed([0, 2]), packed([1, 1]), 0) == "ok"
    assert read_row(chain.state, "sn/1/1", "weight", 1) == [(0, 65535), (2, 65535)]
    assert read_row(chain.state, "sn/1/0", "weight", 1) == []
    assert chain.state.read("sn/1/0/last_update", 1) == 0
    assert refusal(chain, "neuron-1", call, 1, 2, packed([0, 2]), packed([1, 1]), 0) == "MechanismDoesNotExist"


def test_batch_items_succeed_and_fail_by_themselves() -> None:
    chain = chain_with()
    lists = [[packed([0, 2]), packed([1, 1])], [packed([0, 2]), packed([1, 1])]]
    outcome = chain.send("neuron-1", "weights.batch_set_weights", packed([9, 1]), lists, [0, 0])
    assert event_names(outcome.events) == ["BatchWeightItemFailed", "WeightsSet", "BatchWeightsCompleted"]
    assert read_row(chain.state, "sn/1/0", "weight", 1) == [(0, 65535), (2, 65535)]


def test_item_of_a_batch_fails_with_its_first_numbered_check() -> None:
    chain = chain_with()
    good, uneven = [packed([0, 2]), packed([1, 1])], [packed([0, 2]), packed([1])]
    netuids = packed([1, 0, 1, 9])
    outcome = chain.send("neuron-1", "weights.batch_set_weights", netuids, [good, uneven, uneven, good], [0] * 4)
    failed = [happened.arguments for happened in outcome.events if event_names([happened]) == ["BatchWeightItemFailed"]]
    assert [(netuid, error_name(int(code))) for netuid, code in failed] == [
        (0, "CanNotSetRootNetworkWeights"),
        (1, "WeightVecNotEqualSize"),
        (9, "MechanismDoesNotExist"),
    ]


def test_batch_with_a_subnet_whose_stake_threshold_is_missed_fails_as_a_whole() -> None:
    chain = chain_with({"stake_threshold": 2 * TAO + 1})
    lists = [[packed([0, 2]), packed([1, 1])]]
    assert refusal(chain, "neuron-1", "weights.batch_set_weights", packed([1]), lists, [0]) == (
        "NotEnoughStakeToSetWeights"
    )


def test_balance_plays_no_part_in_setting_weights() -> None:
    chain = chain_with()
    assert chain.state.accounts().find(account("neuron-1"), 1) is None
    assert chain.attempt("neuron-1", SET, *GOOD) == "ok"
    assert chain.nonce("neuron-1") == 1
    assert Rao(0) == chain.outcomes[-1].fees
