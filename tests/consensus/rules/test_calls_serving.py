"""Serving, identities and commitments as calls: every check of DTAO 9 in its order, and that a failure changes nothing.

Serving and commitments are free, so one that fails a check bars the block; identities are paid for. What is kept is in
`test_serving.py`, `test_identities.py` and `test_commitments.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account
from failed_calls import failure
from free_calls import refusal
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.commitments import FieldKind
from yumad.consensus.rules.v1.identities import CHAIN_FIELDS, SUBNET_FIELDS
from yumad.consensus.rules.v1.neurons import place_neuron
from yumad.consensus.types import InvalidError

AXON, TLS, PROMETHEUS = "serving.serve_axon", "serving.serve_axon_tls", "serving.serve_prometheus"
IDENTITY, SUBNET_IDENTITY = "identity.set_identity", "identity.set_subnet_identity"
COMMITMENT = "identity.set_commitment"

N1 = account("neuron-1")
PEER = b"\x00\x24" + bytes(36)
CERTIFICATE = b"\x01" + bytes(64)
LIMIT = 5


def of_kind(kind: int, content: bytes = b"") -> list[Any]:
    """A field of a commitment on the wire."""
    return [int(kind), content]


BIG = of_kind(FieldKind.BIG_RAW, bytes(512))

Prepare = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def serving(call: str, netuid: int = 1, peer_id: bytes = PEER) -> tuple[Any, ...]:
    """Arguments of a serve call."""
    if call == PROMETHEUS:
        return netuid, 7, peer_id
    return (netuid, 7, peer_id, b"\1\0\2\0", *((CERTIFICATE,) if call == TLS else ()))


def texts(fields: dict[str, int], **changed: bytes) -> list[bytes]:
    """An identity as an argument: each field holds its name unless it is given."""
    return [changed.get(name, name.encode()) for name in fields]


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def served(call: str) -> Prepare:
    return lambda chain: chain.attempt("neuron-1", call, *serving(call))


def space_used(chain: DevChain) -> None:
    """The whole space of an epoch, to the byte."""
    for sizes in ((512, 512, 512), (512, 512, 440), (1,)):
        fields = [of_kind(FieldKind.BIG_RAW, bytes(size)) for size in sizes]
        assert chain.attempt("neuron-1", COMMITMENT, 1, fields) == "ok"


SERVING_CASES: list[tuple[str, Callable[[str], Prepare], str, dict[str, Any]]] = [
    ("HotKeyNotRegisteredInNetwork", lambda call: nothing, "alice", {"peer_id": b""}),
    ("HotKeyNotRegisteredInNetwork", lambda call: nothing, "neuron-1", {"netuid": 9}),
    ("HotKeyNotRegisteredInNetwork", lambda call: nothing, "neuron-1", {"netuid": 0}),
    ("InvalidPeerId", served, "neuron-1", {"peer_id": b""}),
    ("InvalidPeerId", served, "neuron-1", {"peer_id": PEER[:-1]}),
    ("InvalidPeerId", served, "neuron-1", {"peer_id": b"\x11" + PEER[1:]}),
    ("ServingRateLimitExceeded", served, "neuron-1", {}),
]

FREE_FAILURES: list[tuple[str, str, Prepare, str, tuple[Any, ...]]] = [
    *(
        (call, error, prepare(call), signer, serving(call, **fields))
        for call in (AXON, TLS, PROMETHEUS)
        for error, prepare, signer, fields in SERVING_CASES
    ),
    (COMMITMENT, "AccountNotAllowedCommit", nothing, "alice", (1, [BIG] * 4)),
    (COMMITMENT, "AccountNotAllowedCommit", nothing, "neuron-1", (9, [])),
    (COMMITMENT, "TooManyFieldsInCommitmentInfo", nothing, "neuron-1", (1, [[99, b""]] * 4)),
    *(
        (COMMITMENT, "CommitmentFieldMalformed", space_used, "neuron-1", (1, [of_kind(kind, content)]))
        for kind, content in [
            (99, b""),
            (FieldKind.NONE, b"x"),
            (FieldKind.RAW, bytes(129)),
            (FieldKind.BLAKE2_256, bytes(31)),
            (FieldKind.SHA3_256, bytes(33)),
            (FieldKind.TIMELOCKED, bytes(7)),
            (FieldKind.RESET_BONDS, b"x"),
            (FieldKind.BIG_RAW, bytes(513)),
        ]
    ),
    (COMMITMENT, "SpaceLimitExceeded", space_used, "neuron-1", (1, [])),
]

PAID_FAILURES: list[tuple[str, str, Prepare, str, tuple[Any, ...]]] = [
    (IDENTITY, "HotKeyNotRegisteredInNetwork", nothing, "bob", ([],)),
    (
        IDENTITY,
        "HotKeyNotRegisteredInNetwork",
        lambda chain: chain.attempt("bob", "keys.try_associate_hotkey", account("spare")),
        "bob",
        (texts(CHAIN_FIELDS),),
    ),
    (IDENTITY, "InvalidIdentity", nothing, "alice", (texts(CHAIN_FIELDS)[:-1],)),
    *(
        (IDENTITY, "InvalidIdentity", nothing, "alice", (texts(CHAIN_FIELDS, **{name: bytes(most + 1)}),))
        for name, most in CHAIN_FIELDS.items()
    ),
    (SUBNET_IDENTITY, "SubnetNotExists", nothing, "alice", (0, [])),
    (SUBNET_IDENTITY, "SubnetNotExists", nothing, "alice", (9, [])),
    (SUBNET_IDENTITY, "NotSubnetOwner", nothing, "bob", (1, [])),
    (SUBNET_IDENTITY, "InvalidIdentity", nothing, "alice", (1, [*texts(SUBNET_FIELDS), b""])),
    *(
        (SUBNET_IDENTITY, "InvalidIdentity", nothing, "alice", (1, texts(SUBNET_FIELDS, **{name: bytes(most + 1)})))
        for name, most in SUBNET_FIELDS.items()
    ),
]

FAILURES = [*FREE_FAILURES, *PAID_FAILURES]

UNREACHABLE: dict[tuple[str, str], str] = dict.fromkeys(
    [
        (call, error)
        for call in (AXON, TLS, PROMETHEUS)
        for error in ("InvalidIpType", "InvalidIpAddress", "InvalidPort")
    ],
    "there are no addresses on the chain: peer ids stand in their place",
)


@pytest.mark.parametrize(
    ("call", "error", "prepare", "signer", "args"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES]
)
def test_call_that_fails_a_check_changes_nothing(
    chain: DevChain, call: str, error: str, prepare: Prepare, signer: str, args: tuple[Any, ...]
) -> None:
    prepare(chain)
    entry = call_named(call)
    assert entry is not None
    assert (refusal if entry.free else failure)(chain, signer, call, *args) == error
    assert (call, error) not in UNREACHABLE


# --- serving ----------------------------------------------------------------------------------------------------------


def test_certificate_that_is_too_long_is_no_transaction(chain: DevChain) -> None:
    with pytest.raises(InvalidError) as refused:
        chain.send("neuron-1", TLS, *serving(TLS)[:-1], bytes(66))
    assert refused.value.code == "malformed"


@pytest.mark.parametrize("call", [AXON, TLS, PROMETHEUS])
def test_serving_rate_limit_is_exactly_its_blocks(chain: DevChain, call: str) -> None:
    served(call)(chain)
    chain.skip(LIMIT - 2)
    assert refusal(chain, "neuron-1", call, *serving(call)) == "ServingRateLimitExceeded"
    chain.skip(1)
    assert refusal(chain, "neuron-1", call, *serving(call)) == "ok"


# --- identities -------------------------------------------------------------------------------------------------------


def test_owner_of_a_root_hotkey_alone_may_have_an_identity(chain: DevChain) -> None:
    assert chain.attempt("bob", "keys.try_associate_hotkey", account("spare")) == "ok"
    place_neuron(chain.state, 0, 0, account("spare"), chain.height)
    assert failure(chain, "bob", IDENTITY, texts(CHAIN_FIELDS)) == "ok"
