"""Windows of reveals where epochs are put off, and the queue of commits against a plain model (YUMA 5.2, 7.3, 7.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, dev_spec, event_names, packed, subnet
from free_calls import refusal
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.v1 import timelocked
from yumad.consensus.rules.v1.errors import CallError
from yumad.consensus.rules.v1.weight_commits import (
    append_commit,
    commit_hash,
    current_epoch,
    mechanism_index,
    read_commits,
    take_commit,
    write_commits,
)
from yumad.consensus.rules.v1.weights import read_row
from yumad.consensus.types import Hash32, Netuid

COMMIT, REVEAL = "weights.commit_weights", "weights.reveal_weights"
TIMELOCKED = "weights.commit_timelocked_weights"
N1 = account("neuron-1")
UIDS, VALUES, SALT = [0, 2], [1, 2], [9]
LAST = 3
"""The subnet whose epoch is put off most: those of 1 and 2 come first."""


@pytest.fixture
def chain() -> DevChain:
    """Three subnets whose epochs are all due in block 10, of which each block runs one."""
    parameters = {"commit_reveal_weights_enabled": True, "weights_set_rate_limit": 0, "min_allowed_weights": 2}
    network = replace(DEV.parameters, max_epochs_per_block=1, timelocked_weights_enabled=True)
    subnets = tuple(replace(subnet(parameters), netuid=Netuid(netuid)) for netuid in (1, 2, LAST))
    return DevChain(dev_spec(parameters=network, subnets=subnets))


def reveal(netuid: int) -> tuple[Any, ...]:
    return netuid, packed(UIDS), packed(VALUES), packed(SALT), 0


def commit(chain: DevChain, netuid: int) -> None:
    committed = commit_hash(N1, mechanism_index(netuid, 0), UIDS, VALUES, SALT, 0)
    assert chain.attempt("neuron-1", COMMIT, netuid, committed) == "ok"


def revealed_in(chain: DevChain, netuid: int, heights: range) -> list[int]:
    """Heights in which the commit could be revealed; nothing is."""
    found = []
    for height in heights:
        chain.skip_to(height - 1)
        mark, before = chain.state.begin(), (chain.height, chain.proposer)
        if refusal(chain, "neuron-1", REVEAL, *reveal(netuid)) == "ok":
            found.append(height)
        chain.state.rollback(mark)
        chain.height, chain.proposer = before
        del chain.outcomes[height - 1 :], chain.hashes[height:]
    return found


@pytest.mark.parametrize(("netuid", "fired"), [(1, 10), (2, 11), (LAST, 12)])
def test_window_opens_when_the_epoch_is_due_and_closes_when_the_next_one_is(
    chain: DevChain, netuid: int, fired: int
) -> None:
    """YUMA 10.21: an epoch that is put off keeps its window, because the index looks ahead."""
    commit(chain, netuid)
    heights = revealed_in(chain, netuid, range(2, 26))
    assert heights == list(range(10, fired + 10))
    epochs = [(at, ran.netuid) for at, outcome in enumerate(chain.outcomes, 1) for ran in outcome.epochs]
    assert [at for at, ran in epochs if ran == netuid] == [fired, fired + 10]


def test_commit_while_the_epoch_is_put_off_counts_in_the_next_one(chain: DevChain) -> None:
    chain.skip_to(9)
    commit(chain, LAST)
    [entry] = read_commits(chain.state, mechanism_index(LAST, 0), N1)
    assert (chain.height, entry.epoch, int(chain.state.read("subnets/epoch_index", LAST))) == (10, 1, 0)


def test_weights_revealed_while_the_epoch_is_put_off_count_in_it(chain: DevChain) -> None:
    commit(chain, LAST)
    chain.skip_to(9)
    assert refusal(chain, "neuron-1", REVEAL, *reveal(LAST)) == "ok"
    assert chain.height == 10
    chain.skip_to(12)
    assert int(chain.state.read("subnets/last_step", LAST)) == 12
    assert chain.state.array(f"sn/{LAST}/0/incentive")[2] > 0


def test_timelocked_weights_wait_with_the_epoch_that_is_put_off(
    chain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are applied in the very block in which the epoch runs, just before it."""
    monkeypatch.setattr(timelocked, "decrypted", lambda entry: entry.ciphertext)
    payload = b"\x80" + N1 + b"\x08" + packed(UIDS) + b"\x08" + packed(VALUES) + bytes(8)
    assert chain.attempt("neuron-1", TIMELOCKED, LAST, payload, 1, 4) == "ok"
    chain.skip_to(11)
    assert read_row(chain.state, f"sn/{LAST}/0", "weight", 1) == []
    events = event_names(chain.block().block_events)
    assert events.index("TimelockedWeightsRevealed") < events.index("EpochRun")
    assert len(read_row(chain.state, f"sn/{LAST}/0", "weight", 1)) == 2


def test_subnet_named_twice_in_a_batch_is_committed_to_once_where_the_rate_is_limited(chain: DevChain) -> None:
    chain.state.write("subnets/weights_set_rate_limit", 1, 5)
    hashes = [bytes([number]) * 32 for number in range(3)]
    outcome = chain.send("neuron-1", "weights.batch_commit_weights", packed([1, 1, 2]), hashes)
    assert event_names(outcome.events) == [
        "WeightsCommitted",
        "BatchWeightItemFailed",
        "WeightsCommitted",
        "BatchWeightsCompleted",
    ]
    assert [entry.hash for entry in read_commits(chain.state, 1, N1)] == hashes[:1]


# --- a plain model ----------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[tuple[str, int]]]:
    """A reveal period, and commits, reveals and passing epochs; hashes repeat."""
    steps = st.tuples(st.sampled_from(["commit", "commit", "reveal", "reveal alone", "epoch"]), st.integers(0, 6))
    return draw(st.integers(1, 3)), draw(st.lists(steps, max_size=40))


MODEL_CHAIN = DevChain()


@given(histories())
def test_queue_does_what_the_text_of_the_rule_says(history: tuple[int, list[tuple[str, int]]]) -> None:
    period, steps = history
    state = MODEL_CHAIN.state
    mark = state.begin()
    state.write("subnets/reveal_period_epochs", 1, period)
    state.write("subnets/tempo", 1, 1000)
    queue: list[tuple[bytes, int]] = []
    epoch = current_epoch(state, 1, 1)
    for step, number in steps:
        name = Hash32(bytes([number]) * 32)
        inner = state.begin()
        try:
            if step == "commit":
                append_commit(state, 1, 0, N1, name, 1)
            elif step == "epoch":
                state.add("subnets/epoch_index", 1, 1)
            else:
                take_commit(state, 1, 0, N1, name, 1, alone=step == "reveal alone")
            result = "ok"
        except CallError as failed:
            state.rollback(inner)
            result = failed.number.name
        else:
            state.commit(inner)
        expected, queue = plain(step, name, queue, epoch, period)
        epoch += step == "epoch"
        assert result == expected
        assert [(entry.hash, entry.epoch) for entry in read_commits(state, 1, N1)] == queue
    write_commits(state, 1, N1, ())
    state.rollback(mark)


def plain(
    step: str, name: bytes, queue: list[tuple[bytes, int]], epoch: int, period: int
) -> tuple[str, list[tuple[bytes, int]]]:
    """YUMA 5.2, sentence by sentence: (result, queue afterwards); what fails leaves the queue."""
    if step == "epoch":
        return "ok", queue
    left, dropped = list(queue), []
    while left and epoch > left[0][1] + period:
        dropped.append(left.pop(0)[0])
    if step == "commit":
        return ("ok", [*left, (name, epoch)]) if len(left) < 10 else ("TooManyUnrevealedCommits", queue)
    if not queue:
        return "NoWeightsCommitFound", queue
    if not left:
        return ("ExpiredWeightCommit" if name in dropped else "NoWeightsCommitFound"), queue
    if name not in [committed for committed, _ in left]:
        return ("ExpiredWeightCommit" if name in dropped else "InvalidRevealCommitHashNotMatch"), queue
    at = [committed for committed, _ in left].index(name)
    if epoch != left[at][1] + period:
        return "RevealTooEarly", queue
    return "ok", [*left[:at], *left[at + 1 :]] if step == "reveal alone" else left[at + 1 :]
