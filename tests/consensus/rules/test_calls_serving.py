"""Serving, identities and commitments: every check of DTAO 9 in its order, and what is kept.

Serving and commitments are free, so one that fails a check bars the block; identities are paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from failed_calls import failure
from free_calls import refusal
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.commitments import SPACE_PER_EPOCH, FieldKind, commitment_of
from yumad.consensus.rules.v1.identities import CHAIN_FIELDS, SUBNET_FIELDS, identity_of, subnet_identity_of
from yumad.consensus.rules.v1.neurons import place_neuron
from yumad.consensus.rules.v1.records import RecordTag, get_record
from yumad.consensus.rules.v1.registration import place_registered
from yumad.consensus.rules.v1.serving import served_record
from yumad.consensus.rules.v1.stakes import associate_hotkey
from yumad.consensus.rules.v1.subnet_dissolution import dissolve_subnet
from yumad.consensus.rules.v1.weights import read_row, write_row
from yumad.consensus.types import InvalidError, Uid

AXON, TLS, PROMETHEUS = "serving.serve_axon", "serving.serve_axon_tls", "serving.serve_prometheus"
IDENTITY, SUBNET_IDENTITY = "identity.set_identity", "identity.set_subnet_identity"
COMMITMENT = "identity.set_commitment"

N1 = account("neuron-1")
PEER = b"\x00\x24" + bytes(36)
HASHED_PEER = b"\x12\x20" + bytes(32)
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


@pytest.mark.parametrize(
    ("call", "tag", "protocols", "event"),
    [
        (AXON, RecordTag.AXON, [1, 2], "AxonServed"),
        (TLS, RecordTag.AXON, [1, 2], "AxonServed"),
        (PROMETHEUS, RecordTag.PROMETHEUS, [], "PrometheusServed"),
    ],
)
def test_serve_call_keeps_the_peer_and_the_block(
    chain: DevChain, call: str, tag: RecordTag, protocols: list[int], event: str
) -> None:
    outcome = chain.send("neuron-1", call, *serving(call))
    assert (outcome.fee, event_names(outcome.events)) == (0, [event])
    assert outcome.events[0].arguments == (1, N1)
    expected = {"block": 1, "version": 7, "peer_id": PEER, "protocols": protocols}
    assert served_record(chain.state, tag, 1, N1) == expected
    kept = CERTIFICATE if call == TLS else None
    assert get_record(chain.state, RecordTag.CERTIFICATE, 1, N1) == kept


def test_malformed_certificate_is_ignored(chain: DevChain) -> None:
    assert refusal(chain, "neuron-1", TLS, *serving(TLS)[:-1], b"") == "ok"
    assert get_record(chain.state, RecordTag.CERTIFICATE, 1, N1) is None


def test_certificate_that_is_too_long_is_no_transaction(chain: DevChain) -> None:
    with pytest.raises(InvalidError) as refused:
        chain.send("neuron-1", TLS, *serving(TLS)[:-1], bytes(66))
    assert refused.value.code == "malformed"


def test_peer_of_another_kind_of_key_is_named_by_its_hash(chain: DevChain) -> None:
    assert refusal(chain, "neuron-1", AXON, *serving(AXON, peer_id=HASHED_PEER)) == "ok"


@pytest.mark.parametrize("call", [AXON, TLS, PROMETHEUS])
def test_serving_rate_limit_is_exactly_its_blocks(chain: DevChain, call: str) -> None:
    served(call)(chain)
    chain.skip(LIMIT - 2)
    assert refusal(chain, "neuron-1", call, *serving(call)) == "ServingRateLimitExceeded"
    chain.skip(1)
    assert refusal(chain, "neuron-1", call, *serving(call)) == "ok"


def test_axon_and_metrics_have_limits_of_their_own(chain: DevChain) -> None:
    served(AXON)(chain)
    assert refusal(chain, "neuron-1", PROMETHEUS, *serving(PROMETHEUS)) == "ok"
    assert refusal(chain, "neuron-1", TLS, *serving(TLS)) == "ServingRateLimitExceeded"


def test_replaced_neuron_is_served_nowhere(chain: DevChain) -> None:
    served(TLS)(chain)
    associate_hotkey(chain.state, account("newcomer"), account("bob"))
    place_registered(chain.state, chain.context(), 1, Uid(1), account("newcomer"))
    assert served_record(chain.state, RecordTag.AXON, 1, N1) is None
    assert get_record(chain.state, RecordTag.CERTIFICATE, 1, N1) is None


# --- identities -------------------------------------------------------------------------------------------------------


def test_identity_of_a_coldkey_is_kept_whole_and_replaced_whole(chain: DevChain) -> None:
    outcome = chain.send("alice", IDENTITY, texts(CHAIN_FIELDS))
    assert outcome.fee > 0
    assert event_names(outcome.events) == ["ChainIdentitySet"]
    assert identity_of(chain.state, account("alice")) == {name: name for name in CHAIN_FIELDS}
    longest = {name: b"x" * most for name, most in CHAIN_FIELDS.items()}
    assert failure(chain, "alice", IDENTITY, texts(CHAIN_FIELDS, **longest)) == "ok"
    assert identity_of(chain.state, account("alice")) == {name: text.decode() for name, text in longest.items()}


def test_owner_of_a_root_hotkey_alone_may_have_an_identity(chain: DevChain) -> None:
    assert chain.attempt("bob", "keys.try_associate_hotkey", account("spare")) == "ok"
    place_neuron(chain.state, 0, 0, account("spare"), chain.height)
    assert failure(chain, "bob", IDENTITY, texts(CHAIN_FIELDS)) == "ok"


def test_identity_of_a_subnet_goes_with_it(chain: DevChain) -> None:
    longest = {name: b"x" * most for name, most in SUBNET_FIELDS.items()}
    outcome = chain.send("alice", SUBNET_IDENTITY, 1, texts(SUBNET_FIELDS, **longest))
    assert event_names(outcome.events) == ["SubnetIdentitySet"]
    assert subnet_identity_of(chain.state, 1) == {name: text.decode() for name, text in longest.items()}
    dissolve_subnet(chain.state, chain.context(), 1)
    assert subnet_identity_of(chain.state, 1) is None


# --- commitments ------------------------------------------------------------------------------------------------------


def test_commitment_replaces_the_one_before(chain: DevChain) -> None:
    outcome = chain.send(
        "neuron-1", COMMITMENT, 1, [of_kind(FieldKind.RAW, b"old"), of_kind(FieldKind.SHA_256, bytes(32))]
    )
    assert (outcome.fee, event_names(outcome.events)) == (0, ["Commitment"])
    assert outcome.events[0].arguments == (1, N1)
    assert chain.attempt("neuron-1", COMMITMENT, 1, [of_kind(FieldKind.RAW, b"new")]) == "ok"
    fields = [{"kind": "raw", "data": b"new".hex()}]
    assert commitment_of(chain.state, 1, N1) == {"block": 2, "fields": fields}


def test_space_of_an_epoch_is_given_back_by_the_next_one(chain: DevChain) -> None:
    assert SPACE_PER_EPOCH == 3 * 512 + 2 * 512 + 440 + 100
    space_used(chain)
    chain.skip_to(8)
    assert refusal(chain, "neuron-1", COMMITMENT, 1, []) == "SpaceLimitExceeded"
    assert refusal(chain, "neuron-2", COMMITMENT, 1, []) == "ok"
    assert refusal(chain, "neuron-1", COMMITMENT, 1, [BIG, BIG, BIG]) == "ok"


def test_timelocked_commitment_tells_its_round(chain: DevChain) -> None:
    field = of_kind(FieldKind.TIMELOCKED, (77).to_bytes(8, "little") + b"secret")
    outcome = chain.send("neuron-1", COMMITMENT, 1, [of_kind(FieldKind.RAW, b"a"), field])
    assert event_names(outcome.events) == ["TimelockCommitment"]
    assert outcome.events[0].arguments == (1, N1, 77)


@pytest.mark.parametrize("allowed", [True, False])
def test_reset_flag_deletes_the_miner_from_all_bonds_where_the_subnet_allows_it(allowed: bool) -> None:
    """YUMA 6.4."""
    chain = DevChain(dev_spec(subnets=(subnet({"bonds_reset_on": allowed, "max_allowed_uids": 64}),)))
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    for prefix in ("sn/1/0", "sn/1/1"):
        write_row(chain.state, prefix, "bond", 0, [3, 1, 2], [30, 10, 20])
        write_row(chain.state, prefix, "bond", 1, [1], [5])
        write_row(chain.state, prefix, "bond", 2, [3], [7])
    assert refusal(chain, "neuron-1", COMMITMENT, 1, [of_kind(FieldKind.RESET_BONDS, b"")]) == "ok"
    for prefix in ("sn/1/0", "sn/1/1"):
        rows = [read_row(chain.state, prefix, "bond", uid) for uid in range(3)]
        assert rows == (
            [[(3, 30), (2, 20)], [], [(3, 7)]] if allowed else [[(3, 30), (1, 10), (2, 20)], [(1, 5)], [(3, 7)]]
        )
        assert not chain.state.array(f"{prefix}/bonds")[1, int(not allowed) :].any()
    check_conservation(chain)
