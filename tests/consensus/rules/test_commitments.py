"""Commitments: metadata of neurons, how much of it fits into an epoch, and the flag that resets bonds (DTAO 9)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dev_chain import DevChain, account, check_conservation, event_names, subnet
from dev_chain import dev_spec as spec_of
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.v1.commitments import FieldKind, charge, commitment_of
from yumad.consensus.rules.v1.weight_commits import current_epoch
from yumad.consensus.types import InvalidError

SET = "identity.set_commitment"
N0 = account("neuron-0")
TEMPO = DEV.hyperparameters.tempo
ROUND = (1234).to_bytes(8, "little")

Arrange = Callable[[DevChain], object]
Fields = list[list[Any]]

RAW, RESET = [1, b"raw"], [7, b""]
FULL: Fields = [[8, bytes(512)], [8, bytes(512)], [1, bytes(9)]]
"""1033 bytes: three times that fit into an epoch, and a byte is left."""


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def refusal(chain: DevChain, name: str, *args: Any) -> str:
    """Name of the error with which the pre-check makes the block invalid."""
    with pytest.raises(InvalidError) as refused:
        chain.send(name, SET, *args)
    assert refused.value.code == "precheck"
    return refused.value.message.split(": ")[1]  # transaction 0: NAME: text


def publish(chain: DevChain, *fields: list[Any], name: str = "neuron-0") -> None:
    assert chain.attempt(name, SET, 1, list(fields)) == "ok"


def nothing(chain: DevChain) -> None:
    pass


def used_up(chain: DevChain) -> None:
    for _ in range(3):
        publish(chain, *FULL)


FAILURES: list[tuple[str, Arrange, str, tuple[Any, ...]]] = [
    ("AccountNotAllowedCommit", nothing, "alice", (1, [RAW] * 4)),
    ("AccountNotAllowedCommit", nothing, "neuron-0", (0, [RAW])),
    ("AccountNotAllowedCommit", nothing, "neuron-0", (9, [RAW])),
    ("TooManyFieldsInCommitmentInfo", used_up, "neuron-0", (1, [[99, b""]] * 4)),
    ("CommitmentFieldMalformed", used_up, "neuron-0", (1, [[9, b""]])),
    ("CommitmentFieldMalformed", nothing, "neuron-0", (1, [RAW, [0, b"x"]])),
    ("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[1, bytes(129)]])),
    *(("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[kind, bytes(31)]])) for kind in range(2, 6)),
    *(("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[kind, bytes(33)]])) for kind in range(2, 6)),
    ("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[6, bytes(7)]])),
    ("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[6, bytes(8 + 1025)]])),
    ("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[7, b"x"]])),
    ("CommitmentFieldMalformed", nothing, "neuron-0", (1, [[8, bytes(513)]])),
    ("SpaceLimitExceeded", used_up, "neuron-0", (1, [])),
]


@pytest.mark.parametrize(
    ("error", "arrange", "signer", "args"),
    FAILURES,
    ids=[f"{SET}-{error}-{number}" for number, (error, *_) in enumerate(FAILURES)],
)
def test_block_with_a_call_that_fails_a_check_is_invalid(
    chain: DevChain, error: str, arrange: Arrange, signer: str, args: tuple[Any, ...]
) -> None:
    arrange(chain)
    before = chain.state.root()
    assert refusal(chain, signer, *args) == error
    assert chain.state.root() == before


def test_more_fields_than_the_form_allows_are_malformed(chain: DevChain) -> None:
    with pytest.raises(InvalidError) as refused:
        chain.send("neuron-0", SET, 1, [RAW] * 7)
    assert refused.value.code == "malformed"


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [[0, b""], [1, b""], [1, bytes(128)], *([kind, bytes(32)] for kind in range(2, 6)), [7, b""], [8, bytes(512)]],
    ids=lambda field: f"{FieldKind(field[0]).name}-{len(field[1])}",
)
def test_field_is_stored_with_its_height(chain: DevChain, field: list[Any]) -> None:
    outcome = chain.send("neuron-0", SET, 1, [field])
    assert (outcome.fee, event_names(outcome.events)) == (0, ["Commitment"])
    assert outcome.events[0].arguments == (1, N0)
    kind, content = field
    stored = {"kind": FieldKind(kind).name.lower(), "data": content.hex()}
    assert commitment_of(chain.state, 1, N0) == {"block": 1, "fields": [stored]}
    check_conservation(chain)


def test_timelocked_field_is_told_by_the_round_of_the_first(chain: DevChain) -> None:
    outcome = chain.send("neuron-0", SET, 1, [RAW, [6, ROUND + bytes(1024)], [6, bytes(8)]])
    assert event_names(outcome.events) == ["TimelockCommitment"]
    assert outcome.events[0].arguments == (1, N0, 1234)


def test_commitment_takes_the_place_of_the_last_one(chain: DevChain) -> None:
    publish(chain, RAW, RAW)
    publish(chain, [8, b"new"])
    assert commitment_of(chain.state, 1, N0) == {"block": 2, "fields": [{"kind": "big_raw", "data": b"new".hex()}]}


# --- space ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "bytes_charged"),
    [
        ([], 100),
        ([RAW, RESET], 100),
        ([[1, bytes(100)]], 100),
        ([[1, bytes(69)], [2, bytes(32)]], 101),
        ([[6, ROUND + bytes(1024)]], 1024),
        (FULL, 1033),
    ],
    ids=["none", "little", "least", "one-more", "ciphertext-only", "full"],
)
def test_charge_is_the_content_but_at_least_a_hundred_bytes(fields: Fields, bytes_charged: int) -> None:
    assert charge([(kind, content) for kind, content in fields]) == bytes_charged


def test_epoch_takes_3100_bytes_to_the_byte(chain: DevChain) -> None:
    for _ in range(2):
        publish(chain, *FULL)
    assert refusal(chain, "neuron-0", 1, [[8, bytes(512)], [8, bytes(512)], [1, bytes(11)]]) == "SpaceLimitExceeded"
    publish(chain, [8, bytes(512)], [8, bytes(512)], [1, bytes(10)])
    assert refusal(chain, "neuron-0", 1, []) == "SpaceLimitExceeded"


def test_space_is_counted_by_account(chain: DevChain) -> None:
    used_up(chain)
    publish(chain, *FULL, name="neuron-1")


def test_space_is_free_again_in_the_next_epoch(chain: DevChain) -> None:
    used_up(chain)
    epoch = current_epoch(chain.state, 1, chain.height + 1)
    while current_epoch(chain.state, 1, chain.height + 1) == epoch:
        assert refusal(chain, "neuron-0", 1, [RAW]) == "SpaceLimitExceeded"
        chain.skip(1)
    assert chain.height <= TEMPO + 2
    publish(chain, *FULL)


# --- bonds ------------------------------------------------------------------------------------------------------------


BONDS = [[(0, 5), (1, 6), (2, 7)], [(1, 8)], [(3, 1), (0, 2)], []]


def bonded(reset_on: bool, mechanisms: int = 1) -> DevChain:
    chain = DevChain(spec_of(subnets=(subnet({"bonds_reset_on": reset_on, "mechanism_count": mechanisms}),)))
    for mechanism in range(mechanisms):
        for uid, pairs in enumerate(BONDS):
            row = np.zeros((256, 2), dtype="<u2")
            row[: len(pairs)] = np.array(pairs, dtype="<u2").reshape(-1, 2)
            chain.state.write(f"sn/1/{mechanism}/bonds", uid, row)
            chain.state.write(f"sn/1/{mechanism}/bond_count", uid, len(pairs))
    return chain


def bonds(chain: DevChain, mechanism: int = 0) -> list[list[tuple[int, ...]]]:
    counts = chain.state.array(f"sn/1/{mechanism}/bond_count").tolist()
    rows = chain.state.array(f"sn/1/{mechanism}/bonds")
    assert all(not row[count:].any() for row, count in zip(rows, counts, strict=True))
    return [[tuple(pair) for pair in row[:count].tolist()] for row, count in zip(rows, counts, strict=True)]


def test_flag_deletes_the_uid_from_every_bond_row_of_every_mechanism() -> None:
    chain = bonded(reset_on=True, mechanisms=2)
    publish(chain, RAW, RESET)
    for mechanism in (0, 1):
        assert bonds(chain, mechanism) == [[(1, 6), (2, 7)], [(1, 8)], [(3, 1)], []]


def test_commitment_without_the_flag_leaves_the_bonds() -> None:
    chain = bonded(reset_on=True)
    publish(chain, RAW)
    assert bonds(chain) == BONDS


def test_flag_leaves_the_bonds_where_the_subnet_does_not_reset_them() -> None:
    chain = bonded(reset_on=False)
    publish(chain, RESET)
    assert bonds(chain) == BONDS


UNREACHABLE: dict[tuple[str, str], str] = {}
