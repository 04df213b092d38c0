"""Timelocked weights: every check of a commit, the buckets, and what a decrypted payload does (YUMA 5.3).

Nothing verifies a beacon's pulses yet (DESIGN decision 10): where a test opens a bucket, the ciphertext is the payload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, packed, subnet
from free_calls import refusal
from yumad.consensus.domains import Domain, digest
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1 import timelocked
from yumad.consensus.rules.v1.subnets import mechanism_index
from yumad.consensus.rules.v1.timelocked import (
    MAX_IN_BUCKET,
    RevealedWeights,
    TimelockedCommit,
    apply_payload,
    decode_payload,
    reveal_timelocked,
    timelocked_commits,
)
from yumad.consensus.rules.v1.weight_commits import commit_blocks_of
from yumad.consensus.rules.v1.weights import read_row
from yumad.consensus.types import U64_MAX, AccountId, MalformedError

PLAIN = "weights.commit_timelocked_weights"
MECHANISM = "weights.commit_timelocked_mechanism_weights"
CRV3 = "weights.commit_crv3_mechanism_weights"

N1 = account("neuron-1")
ROUND = 1234
VERSION = 4

Prepare = Callable[[DevChain], object]


def chain_with(**parameters: Any) -> DevChain:
    """Subnet 1 takes timelocked weights, one epoch later, without a limit in rate."""
    chosen = {"min_allowed_weights": 2, "weights_set_rate_limit": 0, "max_allowed_uids": 64, **parameters}
    return DevChain(
        dev_spec(
            parameters=replace(DEV.parameters, timelocked_weights_enabled=True),
            subnets=(subnet({"commit_reveal_weights_enabled": True, **chosen}),),
        )
    )


@pytest.fixture
def chain() -> DevChain:
    return chain_with()


def arguments(call: str, netuid: int = 1, version: int = VERSION, commit: bytes = b"secret") -> tuple[Any, ...]:
    """Arguments of a call for mechanism 0; the older form has no version."""
    where = (netuid,) if call == PLAIN else (netuid, 0)
    return (*where, commit, ROUND) if call == CRV3 else (*where, commit, ROUND, version)


def commit(chain: DevChain, secret: bytes = b"secret", signer: str = "neuron-1") -> None:
    assert chain.attempt(signer, PLAIN, *arguments(PLAIN, commit=secret)) == "ok"


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def commanded(order: str, *values: int) -> Prepare:
    return lambda chain: chain.command(order, *values)


def limited(chain: DevChain) -> None:
    assert chain.command("sudo_set_weights_set_rate_limit", 1, 3) == "ok"
    commit(chain)


def switched_off(chain: DevChain) -> None:
    chain.spec = replace(chain.spec, parameters=replace(chain.spec.parameters, timelocked_weights_enabled=False))


def ten_in_a_bucket(chain: DevChain) -> None:
    chain.skip_to(10)
    assert chain.command("sudo_set_tempo", 1, 100) == "ok"
    for number in range(MAX_IN_BUCKET):
        commit(chain, bytes([number]))


CASES: list[tuple[str, Prepare, str, dict[str, int]]] = [
    ("TimelockedWeightsDisabled", switched_off, "neuron-1", {}),
    ("NotEnoughStakeToSetWeights", commanded("sudo_set_stake_threshold", 10**6 * TAO), "neuron-1", {}),
    ("MechanismDoesNotExist", nothing, "neuron-1", {"netuid": 9}),
    ("CommitRevealDisabled", commanded("sudo_set_commit_reveal_weights_enabled", 1, 0), "neuron-1", {}),
    ("HotKeyNotRegisteredInSubNet", nothing, "alice", {}),
    ("CommittingWeightsTooFast", limited, "neuron-1", {}),
    ("TooManyUnrevealedCommits", ten_in_a_bucket, "neuron-1", {}),
]

FAILURES: list[tuple[str, str, Prepare, str, tuple[Any, ...]]] = [
    *(
        (call, error, prepare, signer, arguments(call, **fields))
        for call in (PLAIN, MECHANISM, CRV3)
        for error, prepare, signer, fields in CASES
    ),
    (PLAIN, "IncorrectCommitRevealVersion", nothing, "alice", arguments(PLAIN, version=3)),
    (MECHANISM, "IncorrectCommitRevealVersion", nothing, "alice", arguments(MECHANISM, version=5)),
    (
        CRV3,
        "IncorrectCommitRevealVersion",
        commanded("sudo_set_commit_reveal_weights_version", 5),
        "alice",
        arguments(CRV3),
    ),
    (MECHANISM, "MechanismDoesNotExist", nothing, "neuron-1", (1, 1, b"secret", ROUND, VERSION)),
]
"""The version is asked before the hotkey: alice, who has no uid, hears of it first."""

UNREACHABLE: dict[tuple[str, str], str] = dict.fromkeys(
    [(call, "InvalidRevealRound") for call in (PLAIN, MECHANISM, CRV3)],
    "no pulse is stored, so no round is known to be past",
)


@pytest.mark.parametrize(
    ("call", "error", "prepare", "signer", "args"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES]
)
def test_call_that_fails_a_check_bars_the_block(
    chain: DevChain, call: str, error: str, prepare: Prepare, signer: str, args: tuple[Any, ...]
) -> None:
    prepare(chain)
    assert refusal(chain, signer, call, *args) == error
    assert (call, error) not in UNREACHABLE


# --- committing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [PLAIN, MECHANISM, CRV3])
def test_commit_waits_in_the_bucket_of_its_epoch_and_counts_as_an_update(chain: DevChain, call: str) -> None:
    outcome = chain.send("neuron-1", call, *arguments(call))
    assert (outcome.fee, event_names(outcome.events)) == (0, ["TimelockedWeightsCommitted"])
    assert outcome.events[0].arguments == (1, 0, N1, digest(Domain.COMMIT, b"secret"), ROUND)
    assert timelocked_commits(chain.state, 1) == [(0, [TimelockedCommit(N1, 1, b"secret", ROUND)])]
    assert chain.state.read("sn/1/0/last_update", 1) == chain.height == 1


def test_bucket_keeps_the_order_of_its_commits(chain: DevChain) -> None:
    for signer, secret in (("neuron-2", b"b"), ("neuron-1", b"a"), ("neuron-2", b"c")):
        commit(chain, secret, signer)
    [(epoch, entries)] = timelocked_commits(chain.state, 1)
    assert (epoch, [entry.ciphertext for entry in entries]) == (0, [b"b", b"a", b"c"])


def test_ten_commits_of_a_hotkey_fill_its_part_of_one_bucket_only(chain: DevChain) -> None:
    ten_in_a_bucket(chain)
    assert refusal(chain, "neuron-2", PLAIN, *arguments(PLAIN)) == "ok"
    chain.skip_to(110)
    assert refusal(chain, "neuron-1", PLAIN, *arguments(PLAIN)) == "ok"


def test_every_live_timelocked_commit_shields_the_validators_weights(chain: DevChain) -> None:
    """YUMA 3.5.1."""
    commit(chain)
    commit(chain)
    assert shield(chain) == 1
    chain.skip_to(19)
    assert shield(chain) == 1
    chain.skip_to(20)
    assert shield(chain) == U64_MAX


def shield(chain: DevChain) -> int:
    blocks = commit_blocks_of(chain.state, 1, 0, chain.height)
    assert blocks is not None
    return int(blocks[1])


def test_commit_without_a_pulse_waits_until_its_bucket_is_too_old(chain: DevChain) -> None:
    commit(chain)
    chain.skip_to(19)
    assert [epoch for epoch, _ in timelocked_commits(chain.state, 1)] == [0]
    chain.skip_to(20)
    assert timelocked_commits(chain.state, 1) == []
    check_conservation(chain)


# --- the payload ------------------------------------------------------------------------------------------------------


def payload(
    hotkey: bytes | None, uids: Sequence[int] = (0, 2), values: Sequence[int] = (1, 2), version_key: int = 0
) -> bytes:
    """As a committer packs it; without a hotkey in the older form."""
    name = b"" if hotkey is None else _list(hotkey, 1)
    return name + _list(packed(uids), 2) + _list(packed(values), 2) + version_key.to_bytes(8, "little")


def _list(data: bytes, width: int) -> bytes:
    assert len(data) // width < 64
    return bytes([len(data) // width << 2]) + data


@pytest.mark.parametrize(
    ("data", "hotkey"),
    [
        (payload(N1, version_key=7), N1),
        (payload(N1, version_key=7) + b"more", N1),
        (payload(account("bob"), version_key=7), account("bob")),
        (payload(None, version_key=7), N1),
    ],
)
def test_payload_names_its_hotkey_or_is_its_committers(data: bytes, hotkey: AccountId) -> None:
    assert decode_payload(data, N1) == RevealedWeights(hotkey, (0, 2), (1, 2), 7)


@pytest.mark.parametrize("data", [b"", b"\x03", b"\x08\x00", payload(N1)[:-1], payload(N1)[:40], payload(None)[:-1]])
def test_payload_that_ends_early_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_payload(data, N1)


def test_length_in_more_bytes_than_it_needs_is_malformed() -> None:
    """The field's encoding has one form for each number (YUMA 5.2)."""
    short = payload(None)
    with pytest.raises(MalformedError):
        decode_payload(b"\x09\x00" + short[1:], N1)
    with pytest.raises(MalformedError):
        decode_payload(b"\x0a\x00\x00\x00" + short[1:], N1)


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish",
        payload(account("neuron-2")),
        payload(N1, (0, 2), (1,)),
        payload(N1, (0, 0)),
        payload(N1, (0,), (1,)),
        payload(N1, (0, 9)),
    ],
)
def test_payload_that_is_wrong_or_fails_a_check_changes_nothing(chain: DevChain, data: bytes) -> None:
    root = chain.state.root()
    assert apply_payload(chain.state, 1, 0, N1, data, 5) == []
    assert chain.state.root() == root


# --- the reveal at a block's start ------------------------------------------------------------------------------------


@pytest.fixture
def pulses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rounds whose pulse is known; the ciphertext is the payload."""
    known = [ROUND]
    monkeypatch.setattr(timelocked, "decrypted", lambda entry: entry.ciphertext if entry.round in known else None)
    return known


def row(chain: DevChain, uid: int = 1) -> list[tuple[int, int]]:
    return read_row(chain.state, "sn/1/0", "weight", uid)


def test_commits_are_revealed_in_the_block_of_the_next_epoch_in_their_order(chain: DevChain, pulses: list[int]) -> None:
    """The last one wins; the update was the commit."""
    commit(chain, payload(N1, (0, 2), (2, 1)))
    commit(chain, payload(N1))
    chain.skip_to(9)
    assert row(chain) == []
    outcome = chain.block()
    assert event_names(outcome.block_events)[:2] == ["TimelockedWeightsRevealed"] * 2
    assert "EpochRun" in event_names(outcome.block_events)
    assert row(chain) == [(0, 32_768), (2, 65_535)]
    assert chain.state.read("sn/1/0/last_update", 1) == 2
    assert timelocked_commits(chain.state, 1) == []


def test_entry_that_is_discarded_does_not_hold_up_those_behind_it(chain: DevChain, pulses: list[int]) -> None:
    """YUMA 10.24: what a check rejects is lost."""
    for data in (b"rubbish", payload(N1, (0, 0)), payload(N1)):
        commit(chain, data)
    chain.skip_to(10)
    assert row(chain) == [(0, 32_768), (2, 65_535)]
    assert timelocked_commits(chain.state, 1) == []


def test_entry_whose_pulse_is_missing_is_tried_again_in_every_block(chain: DevChain, pulses: list[int]) -> None:
    pulses.clear()
    commit(chain, payload(N1))
    chain.skip_to(15)
    assert row(chain) == []
    pulses.append(ROUND)
    chain.block()
    assert row(chain) == [(0, 32_768), (2, 65_535)]


def test_longer_reveal_period_waits_for_more_epochs(pulses: list[int]) -> None:
    chain = chain_with(reveal_period_epochs=2)
    commit(chain, payload(N1))
    chain.skip_to(19)
    assert row(chain) == []
    chain.block()
    assert len(row(chain)) == 2


def test_subnet_whose_epoch_is_put_off_keeps_its_bucket_closed(chain: DevChain, pulses: list[int]) -> None:
    commit(chain, payload(N1))
    chain.skip_to(9)
    assert reveal_timelocked(chain.state, 10, (1,)) == []
    assert event_names(reveal_timelocked(chain.state, 10, ())) == ["TimelockedWeightsRevealed"]


def test_weights_revealed_after_commit_reveal_was_switched_off_are_an_update(
    chain: DevChain, pulses: list[int]
) -> None:
    """YUMA 5.1: only where commit-reveal is on the commit was the update."""
    commit(chain, payload(N1))
    assert chain.command("sudo_set_commit_reveal_weights_enabled", 1, 0) == "ok"
    chain.skip_to(10)
    assert len(row(chain)) == 2
    assert chain.state.read("sn/1/0/last_update", 1) == 10


def test_timelocked_commits_do_not_follow_a_swapped_hotkey(chain: DevChain, pulses: list[int]) -> None:
    """YUMA 6.4: they fail at the reveal."""
    commit(chain, payload(N1))
    chain.skip_to(4)
    assert chain.attempt("alice", "keys.swap_hotkey", N1, account("renamed"), None) == "ok"
    [(_, [entry])] = timelocked_commits(chain.state, 1)
    assert entry.hotkey == N1
    chain.skip_to(10)
    assert row(chain) == []
    assert timelocked_commits(chain.state, 1) == []


def test_buckets_of_a_removed_mechanism_are_forgotten(chain: DevChain) -> None:
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    assert chain.attempt("neuron-1", MECHANISM, 1, 1, b"secret", ROUND, VERSION) == "ok"
    assert len(timelocked_commits(chain.state, mechanism_index(1, 1))) == 1
    assert chain.command("sudo_set_mechanism_count", 1, 1) == "ok"
    assert timelocked_commits(chain.state, mechanism_index(1, 1)) == []
