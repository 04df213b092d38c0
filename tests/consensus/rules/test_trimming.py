"""Trimming a subnet to fewer neurons: who stays, and what becomes of rows and references (YUMA 6.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from failed_calls import failure
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.v1.neurons import hotkeys_of, neuron_row
from yumad.consensus.rules.v1.records import RecordTag, get_record, put_record
from yumad.consensus.rules.v1.schema import NEURON_STRIDE, NEURONS
from yumad.consensus.rules.v1.subnets import neuron_count, parameter
from yumad.consensus.rules.v1.weights import read_row, write_row

TRIM = "sudo_trim_to_max_allowed_uids"
EMISSION = (9, 5, 8, 1, 7, 1, 6, 3)
"""By uid; the owner's hotkey is uid 0."""


def crowded(neurons: int = len(EMISSION), emission: Sequence[int] = EMISSION, **parameters: Any) -> DevChain:
    """Eight neurons, none of them immune, and four is the least. Nothing is earned, so that nothing changes."""
    chosen = {"immunity_period": 0, "min_allowed_uids": 4, "tempo": 0, **parameters}
    chain = DevChain(dev_spec(subnets=(replace(subnet(chosen, neurons), started=False),)))
    for uid, amount in enumerate(emission):
        chain.state.write("neurons/emission", neuron_row(1, uid), amount)
    return chain


def names(chain: DevChain) -> list[int]:
    """Numbers of the neurons that are left, by uid."""
    known = {account(f"neuron-{n}"): n for n in range(NEURON_STRIDE)}
    return [known[hotkey] for hotkey in hotkeys_of(chain.state, 1)]


def result(chain: DevChain, most: int) -> str:
    return failure(chain, "alice", "admin.execute", *chain.order(TRIM, 1, most))


# --- who stays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (7, [0, 1, 2, 3, 4, 6, 7]),  # of equals the highest uid goes first
        (6, [0, 1, 2, 4, 6, 7]),
        (5, [0, 1, 2, 4, 6]),
        (4, [0, 2, 4, 6]),
    ],
)
def test_trimming_keeps_the_best_paid_in_their_order(most: int, left: list[int]) -> None:
    chain = crowded()
    outcome = chain.send("alice", "admin.execute", *chain.order(TRIM, 1, most))
    assert event_names(outcome.events) == ["SubnetTrimmed", "ParameterSet"]
    assert outcome.events[0].arguments == (1, most)
    assert names(chain) == left
    assert (neuron_count(chain.state, 1), parameter(chain.state, 1, "max_allowed_uids")) == (most, most)
    check_conservation(chain)


def test_trimming_passes_over_the_owners_protected_neurons() -> None:
    chain = crowded(emission=(0, 0, 8, 1, 7, 1, 6, 3), immune_owner_uids_limit=2)
    assert result(chain, 5) == "ok"
    assert names(chain) == [0, 1, 2, 4, 6]


def test_trimming_passes_over_immune_neurons() -> None:
    chain = crowded(immunity_period=10)
    for uid in range(8):
        registered = 20 if uid in (3, 5) else 10
        chain.state.write("neurons/registered_at", neuron_row(1, uid), registered)
    chain.skip_to(19)  # the call comes at height 20: those of height 10 are immune no more
    assert result(chain, 4) == "ok"
    assert names(chain) == [0, 2, 3, 5]


# --- checks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [3, 257, 1 << 32, 0, -1])
def test_trimming_below_the_least_or_above_the_most_allowed_fails(most: int) -> None:
    assert result(crowded(), most) == "ValueNotInBounds"


def test_trimming_to_nobody_fails_also_where_no_least_number_is_set() -> None:
    assert result(crowded(min_allowed_uids=0), 0) == "ValueNotInBounds"


@pytest.mark.parametrize(
    ("protected", "most", "expected"),
    [
        (4, 5, "TrimmingWouldExceedMaxImmunePercentage"),
        (5, 5, "TrimmingWouldExceedMaxImmunePercentage"),
        (3, 4, "ok"),
        (19, 24, "ok"),  # 79.17 %
        (24, 30, "TrimmingWouldExceedMaxImmunePercentage"),
        (31, 39, "ok"),  # 79.49 % is 79 %
    ],
)
def test_trimming_fails_where_four_fifths_of_those_left_would_be_protected(
    protected: int, most: int, expected: str
) -> None:
    chain = crowded(neurons=40, emission=[1] * 40, immunity_period=10)
    chain.skip_to(19)
    for uid in range(40):
        registered = 20 if uid < protected else 5
        chain.state.write("neurons/registered_at", neuron_row(1, uid), registered)
    assert result(chain, most) == expected


def test_trimming_that_removes_nobody_only_lowers_the_number_allowed() -> None:
    chain = crowded(immunity_period=1000)
    assert result(chain, 8) == "ok"
    assert names(chain) == list(range(8))
    assert parameter(chain.state, 1, "max_allowed_uids") == 8


def test_trimming_rests_in_the_window_before_an_epoch() -> None:
    chain = crowded(tempo=10)
    chain.skip_to(8)
    assert result(chain, 5) == "AdminActionProhibitedDuringWeightsWindow"


def test_owner_trims_once_in_a_while() -> None:
    chain = crowded()
    number = chain.order(TRIM, 1, 7)[0]
    assert failure(chain, "bob", "subnet.owner_order", number, [1, 7]) == "BadOrigin"
    assert failure(chain, "alice", "subnet.owner_order", number, [1, 7]) == "ok"
    chain.skip_to(DEV.parameters.trim_rate_limit)  # the first came at height 2
    assert failure(chain, "alice", "subnet.owner_order", number, [1, 6]) == "TxRateLimitExceeded"
    assert failure(chain, "alice", "subnet.owner_order", number, [1, 6]) == "ok"
    assert result(chain, 5) == "ok"  # governance has no limit
    assert names(chain) == [0, 1, 2, 4, 6]


# --- rows and references ----------------------------------------------------------------------------------------------

OLD_UIDS = (0, 1, 2, 4, 6)
"""Who is left of five, by new uid."""


@pytest.fixture
def two_mechanisms() -> DevChain:
    """Every number of a neuron tells its uid and its mechanism; everybody weighs everybody, in falling order."""
    chain = crowded(mechanism_count=2, max_allowed_uids=128)
    chain.skip_to(110)
    state = chain.state
    for uid in range(8):
        at = neuron_row(1, uid)
        for name in ("consensus", "dividends", "validator_trust", "stake_weight", "registered_at"):
            state.write(f"neurons/{name}", at, 100 + uid)
        state.write("neurons/permit", at, uid % 2)
        state.write("neurons/active", at, 1 - uid % 2)
        for mechanism in range(2):
            prefix = f"sn/1/{mechanism}"
            state.write(f"{prefix}/last_update", uid, 200 + 10 * mechanism + uid)
            state.write(f"{prefix}/incentive", uid, 300 + 10 * mechanism + uid)
            targets = list(range(7, -1, -1))
            write_row(state, prefix, "weight", uid, targets, [1000 * mechanism + 10 * uid + to for to in targets])
            write_row(state, prefix, "bond", uid, targets, [5000 + 1000 * mechanism + 10 * uid + to for to in targets])
    assert result(chain, 5) == "ok"
    return chain


def test_numbers_move_with_their_neurons_and_the_rows_left_over_are_empty(two_mechanisms: DevChain) -> None:
    state = two_mechanisms.state
    kept = state.array("neurons/consensus")[NEURON_STRIDE : NEURON_STRIDE + 5].tolist()
    assert kept == [100 + uid for uid in OLD_UIDS]
    for name in ("dividends", "validator_trust", "stake_weight", "registered_at"):
        assert state.array(f"neurons/{name}")[NEURON_STRIDE : NEURON_STRIDE + 5].tolist() == kept
    permits, active = (state.array(f"neurons/{name}")[NEURON_STRIDE:][:5].tolist() for name in ("permit", "active"))
    assert (permits, active) == ([uid % 2 for uid in OLD_UIDS], [1 - uid % 2 for uid in OLD_UIDS])
    for spec in NEURONS:
        assert not state.array(spec.name)[NEURON_STRIDE + 5 : 2 * NEURON_STRIDE].any(), spec.name


@pytest.mark.parametrize("mechanism", [0, 1])
def test_rows_of_each_mechanism_move_and_name_the_new_uids(two_mechanisms: DevChain, mechanism: int) -> None:
    state, prefix, more = two_mechanisms.state, f"sn/1/{mechanism}", 1000 * mechanism
    assert state.array(f"{prefix}/last_update").tolist() == [200 + 10 * mechanism + uid for uid in OLD_UIDS]
    assert state.array(f"{prefix}/incentive").tolist() == [300 + 10 * mechanism + uid for uid in OLD_UIDS]
    for new, old in enumerate(OLD_UIDS):
        falling = [(OLD_UIDS.index(to), to) for to in reversed(OLD_UIDS)]
        assert read_row(state, prefix, "weight", new) == [(uid, more + 10 * old + to) for uid, to in falling]
        assert read_row(state, prefix, "bond", new) == [(uid, 5000 + more + 10 * old + to) for uid, to in falling]
    assert not state.array(f"{prefix}/weights")[:, 5:].any()


def test_row_that_names_only_removed_neurons_is_empty() -> None:
    chain = crowded()
    write_row(chain.state, "sn/1/0", "weight", 0, [3, 5], [1, 2])
    assert result(chain, 6) == "ok"
    assert read_row(chain.state, "sn/1/0", "weight", 0) == []


@pytest.mark.parametrize("tag", [RecordTag.AXON, RecordTag.PROMETHEUS, RecordTag.CERTIFICATE])
def test_removed_neurons_are_served_nowhere(tag: RecordTag) -> None:
    chain = crowded()
    for uid in (5, 6):
        put_record(chain.state, tag, 1, account(f"neuron-{uid}"), b"x")
    assert result(chain, 7) == "ok"
    assert [get_record(chain.state, tag, 1, account(f"neuron-{uid}")) for uid in (5, 6)] == [None, b"x"]


def test_trimmed_subnet_runs_its_epochs_and_takes_newcomers_up_to_the_new_number() -> None:
    chosen = {"immunity_period": 0, "min_non_immune_uids": 0}
    chain = DevChain(dev_spec(subnets=(subnet(chosen, 8),)))
    chain.skip(11)
    assert result(chain, 5) == "ok"
    chain.skip(10)
    assert chain.attempt("bob", "neuron.burned_register", 1, account("bob/hot")) == "ok"
    assert neuron_count(chain.state, 1) == 5
    chain.skip(10)
    assert [epoch.netuid for outcome in chain.outcomes[-20:] for epoch in outcome.epochs] == [1, 1]
    check_conservation(chain)
