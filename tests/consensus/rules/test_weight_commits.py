"""Weights by commit and reveal: every check of YUMA 5.2, the queue and the window.

These calls are free, so one that fails a check bars the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from dev_chain import DevChain, account, dev_spec, event_names, packed, subnet
from free_calls import refusal
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.errors import CallError, ErrorCode, error_name
from yumad.consensus.rules.v1.neurons import neuron_row, place_neuron
from yumad.consensus.rules.v1.stakes import associate_hotkey
from yumad.consensus.rules.v1.weight_commits import (
    MAX_UNREVEALED,
    Commit,
    commit_blocks_of,
    commit_hash,
    current_epoch,
    mechanism_index,
    read_commits,
    take_commit,
    write_commits,
)
from yumad.consensus.rules.v1.weights import read_row
from yumad.consensus.types import U64_MAX, Hash32

COMMIT, COMMIT_MECHANISM = "weights.commit_weights", "weights.commit_mechanism_weights"
COMMIT_BATCH = "weights.batch_commit_weights"
REVEAL, REVEAL_MECHANISM = "weights.reveal_weights", "weights.reveal_mechanism_weights"
REVEAL_BATCH = "weights.batch_reveal_weights"

N1 = account("neuron-1")
SOME_HASH = b"\x01" * 32
ENABLED = "sudo_set_commit_reveal_weights_enabled"

Prepare = Callable[[DevChain], object]


def chain_with(**parameters: Any) -> DevChain:
    """Subnet 1 takes weights by commit and reveal, one epoch later, without a limit in rate."""
    chosen = {"min_allowed_weights": 2, "weights_set_rate_limit": 0, "max_allowed_uids": 64, **parameters}
    return DevChain(dev_spec(subnets=(subnet({"commit_reveal_weights_enabled": True, **chosen}),)))


@pytest.fixture
def chain() -> DevChain:
    return chain_with()


@dataclass(frozen=True)
class Vector:
    """What is committed and revealed."""

    uids: Sequence[int] = (0, 2)
    values: Sequence[int] = (1, 2)
    salt: Sequence[int] = (7, 8)
    version_key: int = 0

    def hash(self, mechanism: int = 0) -> Hash32:
        index = mechanism_index(1, mechanism)
        return commit_hash(N1, index, self.uids, self.values, self.salt, self.version_key)

    @property
    def revealed(self) -> list[Any]:
        return [packed(self.uids), packed(self.values), packed(self.salt), self.version_key]


GOOD = Vector()


def reveal_arguments(call: str, vector: Vector = GOOD) -> tuple[Any, ...]:
    """The vector as the call takes it, on subnet 1 and mechanism 0."""
    if call == REVEAL_BATCH:
        return 1, [vector.revealed]
    return (1, 0, *vector.revealed) if call == REVEAL_MECHANISM else (1, *vector.revealed)


def commit_arguments(call: str, netuid: int = 1) -> tuple[Any, ...]:
    if call == COMMIT_BATCH:
        return packed([netuid]), [SOME_HASH]
    return (netuid, 0, SOME_HASH) if call == COMMIT_MECHANISM else (netuid, SOME_HASH)


def commit(chain: DevChain, vector: Vector = GOOD) -> None:
    assert chain.attempt("neuron-1", COMMIT, 1, vector.hash()) == "ok"


def next_epoch(chain: DevChain) -> int:
    """EPI of the next block."""
    return current_epoch(chain.state, 1, chain.height + 1)


def wait_for_epoch(chain: DevChain, epoch: int) -> None:
    """Empty blocks until the next one counts in `epoch`."""
    while next_epoch(chain) < epoch:
        chain.block()
    assert next_epoch(chain) == epoch


def committed(chain: DevChain, vector: Vector = GOOD) -> None:
    """The vector is committed and its window is open."""
    epoch = next_epoch(chain)
    commit(chain, vector)
    wait_for_epoch(chain, epoch + 1)


# --- what fails -------------------------------------------------------------------------------------------------------


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def switched_off(chain: DevChain) -> None:
    assert chain.command(ENABLED, 1, 0) == "ok"


def too_poor(chain: DevChain) -> None:
    assert chain.command("sudo_set_stake_threshold", 10**6 * TAO) == "ok"


def limited(chain: DevChain) -> None:
    assert chain.command("sudo_set_weights_set_rate_limit", 1, 3) == "ok"
    commit(chain)


def ten_wait(chain: DevChain) -> None:
    for number in range(MAX_UNREVEALED):
        commit(chain, Vector(version_key=number))


def committed_then(vector: Vector, then: Prepare = nothing) -> Prepare:
    def prepare(chain: DevChain) -> None:
        committed(chain, vector)
        then(chain)

    return prepare


def replaced(chain: DevChain) -> None:
    """Somebody else has neuron-1's uid; what it committed still waits."""
    newcomer = account("newcomer")
    associate_hotkey(chain.state, newcomer, account("alice"))
    place_neuron(chain.state, 1, 1, newcomer, chain.height)


def without_permit(chain: DevChain) -> None:
    chain.block()  # the window opens with an epoch, which gives permits
    chain.state.write("neurons/permit", neuron_row(1, 1), 0)


def version_raised(chain: DevChain) -> None:
    assert chain.command("sudo_set_weights_version_key", 1, 3) == "ok"


def expired(chain: DevChain) -> None:
    epoch = next_epoch(chain)
    commit(chain)
    wait_for_epoch(chain, epoch + 2)


LONG, TWICE, STRANGE, SHORT = Vector(range(5), range(5)), Vector((2, 2)), Vector((0, 4)), Vector((0,), (1,))
UNEVEN = Vector((0, 2), (1,))

COMMIT_FAILURES: list[tuple[str, Prepare, str, int]] = [
    ("NotEnoughStakeToSetWeights", too_poor, "neuron-1", 1),
    ("MechanismDoesNotExist", nothing, "neuron-1", 9),
    ("CommitRevealDisabled", switched_off, "neuron-1", 1),
    ("HotKeyNotRegisteredInSubNet", nothing, "alice", 1),
    ("CommittingWeightsTooFast", limited, "neuron-1", 1),
    ("TooManyUnrevealedCommits", ten_wait, "neuron-1", 1),
]

REVEAL_FAILURES: list[tuple[str, Prepare, str, Vector]] = [
    ("NoWeightsCommitFound", nothing, "neuron-1", UNEVEN),
    ("WeightVecNotEqualSize", committed_then(UNEVEN), "neuron-1", UNEVEN),
    ("NotEnoughStakeToSetWeights", committed_then(GOOD, too_poor), "neuron-1", GOOD),
    ("CommitRevealDisabled", committed_then(GOOD, switched_off), "neuron-1", GOOD),
    ("NoWeightsCommitFound", nothing, "neuron-1", GOOD),
    ("NoWeightsCommitFound", committed_then(GOOD), "neuron-1", Vector(salt=(7, 9))),
    ("NoWeightsCommitFound", committed_then(GOOD), "neuron-0", GOOD),
    ("RevealTooEarly", commit, "neuron-1", GOOD),
    ("RevealTooEarly", expired, "neuron-1", GOOD),
    ("UidsLengthExceedUidsInSubNet", committed_then(LONG), "neuron-1", LONG),
    ("HotKeyNotRegisteredInSubNet", committed_then(GOOD, replaced), "neuron-1", GOOD),
    ("IncorrectWeightVersionKey", committed_then(GOOD, version_raised), "neuron-1", GOOD),
    ("NeuronNoValidatorPermit", committed_then(GOOD, without_permit), "neuron-1", GOOD),
    ("DuplicateUids", committed_then(TWICE), "neuron-1", TWICE),
    ("UidVecContainInvalidOne", committed_then(STRANGE), "neuron-1", STRANGE),
    ("WeightVecLengthIsLow", committed_then(SHORT), "neuron-1", SHORT),
]

FAILURES: list[tuple[str, str, Prepare, str, tuple[Any, ...]]] = [
    *(
        (call, error, prepare, signer, commit_arguments(call, netuid))
        for call in (COMMIT, COMMIT_MECHANISM, COMMIT_BATCH)
        for error, prepare, signer, netuid in COMMIT_FAILURES
    ),
    (COMMIT_MECHANISM, "MechanismDoesNotExist", nothing, "neuron-1", (1, 1, SOME_HASH)),
    (COMMIT_BATCH, "InputLengthsUnequal", nothing, "neuron-1", (packed([1, 1]), [SOME_HASH])),
    (COMMIT_BATCH, "InputLengthsUnequal", nothing, "neuron-1", (b"", [])),
    *(
        (call, error, prepare, signer, reveal_arguments(call, vector))
        for call in (REVEAL, REVEAL_MECHANISM, REVEAL_BATCH)
        for error, prepare, signer, vector in REVEAL_FAILURES
    ),
    (REVEAL_BATCH, "InputLengthsUnequal", nothing, "neuron-1", (1, [])),
    (
        REVEAL_BATCH,
        "InvalidRevealCommitHashNotMatch",
        committed_then(GOOD),
        "neuron-1",
        (1, [GOOD.revealed, GOOD.revealed]),
    ),
    *(
        (REVEAL_MECHANISM, "NoWeightsCommitFound", nothing, "neuron-1", (netuid, mechanism, *GOOD.revealed))
        for netuid, mechanism in ((0, 0), (1, 1), (1, 16), (1, 255), (4097, 0), (65_535, 255))
    ),
]

_REVEALS = (REVEAL, REVEAL_MECHANISM, REVEAL_BATCH)

UNREACHABLE: dict[tuple[str, str], str] = {
    **dict.fromkeys(
        [
            *((call, "ExpiredWeightCommit") for call in _REVEALS),
            *((call, "InvalidRevealCommitHashNotMatch") for call in (REVEAL, REVEAL_MECHANISM)),
        ],
        "the pre-check has reported RevealTooEarly or NoWeightsCommitFound",
    ),
    **dict.fromkeys(
        [(call, e) for call in _REVEALS for e in ("CanNotSetRootNetworkWeights", "MechanismDoesNotExist")],
        "nothing is committed there, and the commits of a mechanism go with it",
    ),
    **dict.fromkeys(
        [(call, "SettingWeightsTooFast") for call in _REVEALS], "no limit in rate where commit-reveal is on"
    ),
    **dict.fromkeys([(call, "MaxWeightExceeded") for call in _REVEALS], "the limit is 65535, which no u16 exceeds"),
}


@pytest.mark.parametrize(
    ("call", "error", "prepare", "signer", "args"),
    FAILURES,
    ids=[f"{call}-{error}" for call, error, *_ in FAILURES],
)
def test_call_that_fails_a_check_bars_the_block(
    chain: DevChain, call: str, error: str, prepare: Prepare, signer: str, args: tuple[Any, ...]
) -> None:
    prepare(chain)
    assert refusal(chain, signer, call, *args) == error
    assert (call, error) not in UNREACHABLE


@pytest.mark.parametrize(
    ("call", "prepare", "args", "error"),
    [
        (COMMIT, lambda c: (limited(c), switched_off(c)), (1, SOME_HASH), "CommittingWeightsTooFast"),
        (COMMIT_MECHANISM, lambda c: (limited(c), switched_off(c)), (1, 0, SOME_HASH), "CommittingWeightsTooFast"),
        (COMMIT_BATCH, lambda c: (limited(c), switched_off(c)), (packed([1]), [SOME_HASH]), "CommitRevealDisabled"),
        (COMMIT, lambda c: (limited(c), too_poor(c)), (1, SOME_HASH), "NotEnoughStakeToSetWeights"),
        (REVEAL, switched_off, reveal_arguments(REVEAL), "NoWeightsCommitFound"),
        (REVEAL, lambda c: (commit(c), switched_off(c)), reveal_arguments(REVEAL), "RevealTooEarly"),
        (REVEAL, committed_then(SHORT, switched_off), reveal_arguments(REVEAL, SHORT), "CommitRevealDisabled"),
        (REVEAL_BATCH, committed_then(SHORT), (1, [SHORT.revealed, GOOD.revealed]), "NoWeightsCommitFound"),
    ],
)
def test_earlier_check_wins_when_several_fail(
    chain: DevChain, call: str, prepare: Prepare, args: tuple[Any, ...], error: str
) -> None:
    """YUMA 5.1: stake, then what the queue says and the rate of single commits, then what dispatch would say."""
    prepare(chain)
    assert refusal(chain, "neuron-1", call, *args) == error


def test_number_of_no_subnet_does_not_reach_the_commits_of_anothers_mechanism(chain: DevChain) -> None:
    """4097 is the index of subnet 1's mechanism 1."""
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    assert chain.attempt("neuron-1", COMMIT_MECHANISM, 1, 1, GOOD.hash(mechanism=1)) == "ok"
    wait_for_epoch(chain, 1)
    assert refusal(chain, "neuron-1", REVEAL, 4097, *GOOD.revealed) == "NoWeightsCommitFound"


# --- committing -------------------------------------------------------------------------------------------------------


def test_commit_is_free_and_counts_as_an_update(chain: DevChain) -> None:
    outcome = chain.send("neuron-1", COMMIT, 1, SOME_HASH)
    assert (outcome.fee, event_names(outcome.events)) == (0, ["WeightsCommitted"])
    assert outcome.events[0].arguments == (1, 0, N1, SOME_HASH)
    assert read_commits(chain.state, 1, N1) == [(SOME_HASH, 0, 1)]
    assert chain.state.read("sn/1/0/last_update", 1) == chain.height == 1


def test_commit_needs_neither_permit_nor_sense(chain: DevChain) -> None:
    assert chain.attempt("neuron-3", COMMIT, 1, bytes(32)) == "ok"


def test_commits_keep_their_order_and_expired_ones_go_at_the_next_commit(chain: DevChain) -> None:
    first, second, third = (Vector(version_key=number) for number in range(3))
    commit(chain, first)
    commit(chain, second)
    wait_for_epoch(chain, 2)
    assert [entry.hash for entry in read_commits(chain.state, 1, N1)] == [first.hash(), second.hash()]
    commit(chain, third)
    assert read_commits(chain.state, 1, N1) == [(third.hash(), 2, chain.height)]


def test_ten_commits_wait_until_they_have_expired(chain: DevChain) -> None:
    ten_wait(chain)
    wait_for_epoch(chain, 1)
    assert refusal(chain, "neuron-1", COMMIT, 1, SOME_HASH) == "TooManyUnrevealedCommits"
    wait_for_epoch(chain, 2)
    assert refusal(chain, "neuron-1", COMMIT, 1, SOME_HASH) == "ok"


def test_rate_limit_of_commits_is_exactly_its_blocks() -> None:
    chain = chain_with(weights_set_rate_limit=3)
    commit(chain)
    chain.skip(1)
    assert refusal(chain, "neuron-1", COMMIT, 1, SOME_HASH) == "CommittingWeightsTooFast"
    chain.skip(1)
    assert refusal(chain, "neuron-1", COMMIT, 1, SOME_HASH) == "ok"


def test_commit_in_the_block_of_an_epoch_counts_in_the_next_one(chain: DevChain) -> None:
    """YUMA 7.4: the index looks ahead."""
    chain.skip_to(8)
    commit(chain, Vector(version_key=1))
    commit(chain, Vector(version_key=2))
    assert chain.height == int(chain.state.read("subnets/last_epoch_block", 1)) == 10
    assert [entry.epoch for entry in read_commits(chain.state, 1, N1)] == [0, 1]


def test_batch_of_commits_succeeds_and_fails_by_item(chain: DevChain) -> None:
    outcome = chain.send("neuron-1", COMMIT_BATCH, packed([9, 1, 0]), [SOME_HASH, GOOD.hash(), SOME_HASH])
    assert event_names(outcome.events) == [
        "BatchWeightItemFailed",
        "WeightsCommitted",
        "BatchWeightItemFailed",
        "BatchWeightsCompleted",
    ]
    failed = [(happened.arguments[0], error_name(int(happened.arguments[1]))) for happened in outcome.events[::2]]
    assert failed == [(9, "MechanismDoesNotExist"), (0, "MechanismDoesNotExist")]
    assert outcome.events[-1].arguments == (3, N1)
    assert read_commits(chain.state, 1, N1) == [(GOOD.hash(), 0, 1)]


# --- revealing --------------------------------------------------------------------------------------------------------


def test_reveal_stores_the_weights_and_leaves_the_time_of_the_update(chain: DevChain) -> None:
    committed(chain)
    outcome = chain.send("neuron-1", REVEAL, *reveal_arguments(REVEAL))
    assert (outcome.code, outcome.fee, event_names(outcome.events)) == (0, 0, ["WeightsRevealed"])
    assert outcome.events[0].arguments == (1, 0, N1, GOOD.hash())
    assert read_row(chain.state, "sn/1/0", "weight", 1) == [(0, 32_768), (2, 65_535)]
    assert chain.state.read("sn/1/0/last_update", 1) == 1
    assert read_commits(chain.state, 1, N1) == []
    assert refusal(chain, "neuron-1", REVEAL, *reveal_arguments(REVEAL)) == "NoWeightsCommitFound"


@pytest.mark.parametrize("period", [1, 2, 3])
def test_window_of_a_reveal_is_one_epoch(period: int) -> None:
    """YUMA 5.2: the epoch that is exactly the period after the commit's, first block to last."""
    chain = chain_with(reveal_period_epochs=period)
    commit(chain)
    opened, closed = 10 * period, 10 * (period + 1)
    attempts = {}
    for height in (2, opened - 1, opened, closed - 1, closed):
        chain.skip_to(height - 1)
        mark = chain.state.begin()
        before = chain.height, chain.proposer
        attempts[height] = refusal(chain, "neuron-1", REVEAL, *reveal_arguments(REVEAL))
        chain.state.rollback(mark)
        chain.height, chain.proposer = before
        del chain.outcomes[height - 1 :], chain.hashes[height:]
    assert attempts == {
        **dict.fromkeys([2, opened - 1], "RevealTooEarly"),
        **dict.fromkeys([opened, closed - 1], "ok"),
        closed: "RevealTooEarly",
    }


def test_reveal_takes_the_commits_before_it_along(chain: DevChain) -> None:
    vectors = [Vector(version_key=number) for number in range(3)]
    for vector in vectors:
        commit(chain, vector)
    wait_for_epoch(chain, 1)
    assert chain.attempt("neuron-1", REVEAL, *reveal_arguments(REVEAL, vectors[1])) == "ok"
    assert [entry.hash for entry in read_commits(chain.state, 1, N1)] == [vectors[2].hash()]
    assert refusal(chain, "neuron-1", REVEAL, *reveal_arguments(REVEAL, vectors[0])) == "NoWeightsCommitFound"


def test_batch_of_reveals_takes_each_alone_and_in_order(chain: DevChain) -> None:
    """The commits before a revealed one stay, and the last revealed row stands."""
    vectors = [Vector(values=(number, 1), version_key=number) for number in range(3)]
    for vector in vectors:
        commit(chain, vector)
    wait_for_epoch(chain, 1)
    outcome = chain.send("neuron-1", REVEAL_BATCH, 1, [vectors[2].revealed, vectors[1].revealed])
    assert event_names(outcome.events) == ["WeightsRevealed", "WeightsRevealed", "WeightsBatchRevealed"]
    assert outcome.events[-1].arguments == (1, N1, 2)
    assert [entry.hash for entry in read_commits(chain.state, 1, N1)] == [vectors[0].hash()]
    assert read_row(chain.state, "sn/1/0", "weight", 1) == [(0, 65_535), (2, 65_535)]


def test_batch_of_reveals_with_one_that_fails_changes_nothing(chain: DevChain) -> None:
    commit(chain, GOOD)
    commit(chain, SHORT)
    wait_for_epoch(chain, 1)
    assert refusal(chain, "neuron-1", REVEAL_BATCH, 1, [GOOD.revealed, SHORT.revealed]) == "WeightVecLengthIsLow"


def test_commit_of_one_mechanism_is_revealed_there_only(chain: DevChain) -> None:
    """YUMA 10.23: the hash contains the index of the mechanism."""
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    assert chain.attempt("neuron-1", COMMIT_MECHANISM, 1, 1, GOOD.hash(mechanism=1)) == "ok"
    assert chain.attempt("neuron-1", COMMIT, 1, GOOD.hash(mechanism=1)) == "ok"
    assert [int(chain.state.read(f"sn/1/{mechanism}/last_update", 1)) for mechanism in (0, 1)] == [3, 2]
    wait_for_epoch(chain, 1)
    assert refusal(chain, "neuron-1", REVEAL, *reveal_arguments(REVEAL)) == "NoWeightsCommitFound"
    assert refusal(chain, "neuron-1", REVEAL_MECHANISM, 1, 1, *GOOD.revealed) == "ok"
    assert read_row(chain.state, "sn/1/1", "weight", 1) == [(0, 32_768), (2, 65_535)]
    assert read_row(chain.state, "sn/1/0", "weight", 1) == []


def test_commits_of_a_removed_mechanism_are_forgotten(chain: DevChain) -> None:
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    assert chain.attempt("neuron-1", COMMIT_MECHANISM, 1, 1, SOME_HASH) == "ok"
    assert chain.command("sudo_set_mechanism_count", 1, 1) == "ok"
    assert read_commits(chain.state, mechanism_index(1, 1), N1) == []
    assert refusal(chain, "neuron-1", COMMIT_MECHANISM, 1, 1, SOME_HASH) == "MechanismDoesNotExist"


def test_commits_of_a_replaced_hotkey_wait_on_but_shield_nobody(chain: DevChain) -> None:
    commit(chain)
    assert shields(chain) == [U64_MAX, 1, U64_MAX, U64_MAX]
    replaced(chain)
    assert len(read_commits(chain.state, 1, N1)) == 1
    assert shields(chain) == [U64_MAX] * 4


def test_oldest_live_commit_shields_the_validators_weights(chain: DevChain) -> None:
    """YUMA 3.5.1."""
    commit(chain, Vector(version_key=1))
    commit(chain, Vector(version_key=2))
    assert shields(chain) == [U64_MAX, 1, U64_MAX, U64_MAX]
    wait_for_epoch(chain, 1)
    commit(chain, Vector(version_key=3))
    third = chain.height
    wait_for_epoch(chain, 2)
    chain.block()
    assert shields(chain) == [U64_MAX, third, U64_MAX, U64_MAX]
    wait_for_epoch(chain, 3)
    chain.block()
    assert shields(chain) == [U64_MAX] * 4


def shields(chain: DevChain) -> list[int]:
    blocks = commit_blocks_of(chain.state, 1, 0, chain.height)
    assert blocks is not None
    return [int(block) for block in blocks]


# --- what dispatch alone says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "prepare", "revealed"),
    [
        (ErrorCode.NoWeightsCommitFound, nothing, GOOD),
        (ErrorCode.ExpiredWeightCommit, expired, GOOD),
        (ErrorCode.NoWeightsCommitFound, expired, Vector(version_key=1)),
        (ErrorCode.ExpiredWeightCommit, lambda c: (expired(c), _commit_beside(c)), GOOD),
        (ErrorCode.InvalidRevealCommitHashNotMatch, commit, Vector(version_key=1)),
        (ErrorCode.RevealTooEarly, commit, GOOD),
    ],
)
def test_dispatch_tells_expired_commits_from_unknown_ones(
    chain: DevChain, expected: ErrorCode, prepare: Prepare, revealed: Vector
) -> None:
    prepare(chain)
    with pytest.raises(CallError) as failed:
        take_commit(chain.state, 1, 0, N1, revealed.hash(), chain.height + 1)
    assert failed.value.number == expected


def _commit_beside(chain: DevChain) -> None:
    """A new commit behind the expired one, which stays in front as nothing has been committed since."""
    queue = [*read_commits(chain.state, 1, N1), Commit(Hash32(SOME_HASH), next_epoch(chain), chain.height)]
    write_commits(chain.state, 1, N1, queue)
