"""Serving by peer id: who may say where a neuron is, how often, and what is kept of it (DTAO 9, DESIGN decision 12)."""

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, event_names, packed
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.v1.calls.serving import CALLS
from yumad.consensus.rules.v1.records import RecordTag, get_record
from yumad.consensus.rules.v1.registration import forget_serving
from yumad.consensus.rules.v1.serving import served_record
from yumad.consensus.types import InvalidError

AXON, TLS, PROMETHEUS = "serving.serve_axon", "serving.serve_axon_tls", "serving.serve_prometheus"
N0 = account("neuron-0")
LIMIT = DEV.hyperparameters.serving_rate_limit
ED25519 = b"\x00\x24\x08\x01\x12\x20" + bytes(range(32))
RSA = b"\x12\x20" + bytes(range(32))
KEY = b"\x01" + bytes(64)

Arrange = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def axon(netuid: int = 1, peer_id: bytes = ED25519) -> tuple[Any, ...]:
    return netuid, 7, peer_id, packed([1, 2])


def tls(netuid: int = 1, peer_id: bytes = ED25519, certificate: bytes = KEY) -> tuple[Any, ...]:
    return *axon(netuid, peer_id), certificate


def prometheus(netuid: int = 1, peer_id: bytes = ED25519) -> tuple[Any, ...]:
    return netuid, 7, peer_id


def refusal(chain: DevChain, name: str, call: str, *args: Any) -> str:
    """Name of the error with which a free call's pre-check makes its block invalid."""
    with pytest.raises(InvalidError) as refused:
        chain.send(name, call, *args)
    assert refused.value.code == "precheck"
    return refused.value.message.split(": ")[1]  # transaction 0: NAME: text


def nothing(chain: DevChain) -> None:
    pass


def served(call: str, *args: Any) -> Arrange:
    def arrange(chain: DevChain) -> None:
        assert chain.attempt("neuron-0", call, *args) == "ok"

    return arrange


FAILURES: list[tuple[str, str, Arrange, str, tuple[Any, ...]]] = [
    (AXON, "HotKeyNotRegisteredInNetwork", nothing, "alice", axon(peer_id=b"")),
    (AXON, "HotKeyNotRegisteredInNetwork", nothing, "neuron-0", axon(0)),
    (AXON, "HotKeyNotRegisteredInNetwork", nothing, "neuron-0", axon(9)),
    (AXON, "InvalidPeerId", served(AXON, *axon()), "neuron-0", axon(peer_id=b"")),
    (AXON, "ServingRateLimitExceeded", served(AXON, *axon()), "neuron-0", axon()),
    (TLS, "HotKeyNotRegisteredInNetwork", nothing, "alice", tls(peer_id=b"")),
    (TLS, "InvalidPeerId", served(AXON, *axon()), "neuron-0", tls(peer_id=b"")),
    (TLS, "ServingRateLimitExceeded", served(AXON, *axon()), "neuron-0", tls()),
    (PROMETHEUS, "HotKeyNotRegisteredInNetwork", nothing, "alice", prometheus(peer_id=b"")),
    (PROMETHEUS, "InvalidPeerId", served(PROMETHEUS, *prometheus()), "neuron-0", prometheus(peer_id=b"")),
    (PROMETHEUS, "ServingRateLimitExceeded", served(PROMETHEUS, *prometheus()), "neuron-0", prometheus()),
]


@pytest.mark.parametrize(
    ("call", "error", "arrange", "signer", "args"),
    FAILURES,
    ids=[f"{call}-{error}-{number}" for number, (call, error, *_) in enumerate(FAILURES)],
)
def test_block_with_a_call_that_fails_a_check_is_invalid(
    chain: DevChain, call: str, error: str, arrange: Arrange, signer: str, args: tuple[Any, ...]
) -> None:
    arrange(chain)
    before = chain.state.root()
    assert refusal(chain, signer, call, *args) == error
    assert chain.state.root() == before


def test_every_call_of_the_family_has_its_failures_tested() -> None:
    assert {call.name for call in CALLS if call.name.startswith("serving.")} == {failure[0] for failure in FAILURES}


@pytest.mark.parametrize(
    "peer_id",
    [
        ED25519[:-1],
        ED25519 + b"\0",
        b"\x00\x1f" + bytes(31),
        b"\x00\x3f" + bytes(63),
        b"\x13\x20" + bytes(32),
        bytes([127, 0, 0, 1]),
    ],
    ids=["length-too-short", "length-too-long", "shorter-than-any", "65-bytes", "unknown-hash", "address"],
)
def test_bytes_that_are_no_multihash_of_a_key_are_no_peer_id(chain: DevChain, peer_id: bytes) -> None:
    if len(peer_id) > 64:
        with pytest.raises(InvalidError) as refused:
            chain.send("neuron-0", AXON, *axon(peer_id=peer_id))
        assert refused.value.code == "malformed"
    else:
        assert refusal(chain, "neuron-0", AXON, *axon(peer_id=peer_id)) == "InvalidPeerId"


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer_id", [ED25519, RSA], ids=["ed25519", "sha-256"])
def test_axon_is_stored_with_its_height_and_costs_nothing(chain: DevChain, peer_id: bytes) -> None:
    outcome = chain.send("neuron-0", AXON, *axon(peer_id=peer_id))
    assert (outcome.fee, event_names(outcome.events)) == (0, ["AxonServed"])
    assert outcome.events[0].arguments == (1, N0)
    assert served_record(chain.state, RecordTag.AXON, 1, N0) == {
        "block": 1,
        "version": 7,
        "peer_id": peer_id,
        "protocols": [1, 2],
    }
    check_conservation(chain)


def test_metrics_are_stored_beside_the_axon_with_a_limit_of_their_own(chain: DevChain) -> None:
    served(AXON, *axon())(chain)
    outcome = chain.send("neuron-0", PROMETHEUS, *prometheus(peer_id=RSA))
    assert event_names(outcome.events) == ["PrometheusServed"]
    for tag, height, peer_id in ((RecordTag.AXON, 1, ED25519), (RecordTag.PROMETHEUS, 2, RSA)):
        record = served_record(chain.state, tag, 1, N0)
        assert record is not None
        assert (record["block"], record["peer_id"]) == (height, peer_id)


def test_axon_may_be_served_again_once_the_limit_has_passed(chain: DevChain) -> None:
    """DTAO 9 and gotcha 29: at exactly the limit."""
    served(AXON, *axon())(chain)
    chain.skip(LIMIT - 2)
    assert refusal(chain, "neuron-0", AXON, *axon()) == "ServingRateLimitExceeded"
    chain.skip(1)
    assert chain.attempt("neuron-0", AXON, *axon()) == "ok"


def test_certificate_is_stored_beside_the_axon(chain: DevChain) -> None:
    outcome = chain.send("neuron-0", TLS, *tls())
    assert event_names(outcome.events) == ["AxonServed"]
    assert get_record(chain.state, RecordTag.CERTIFICATE, 1, N0) == KEY


def test_empty_certificate_is_ignored_and_the_axon_served(chain: DevChain) -> None:
    assert chain.attempt("neuron-0", TLS, *tls(certificate=b"")) == "ok"
    assert get_record(chain.state, RecordTag.CERTIFICATE, 1, N0) is None
    assert served_record(chain.state, RecordTag.AXON, 1, N0) is not None


def test_certificate_stays_when_the_axon_is_served_without_one(chain: DevChain) -> None:
    served(TLS, *tls())(chain)
    chain.skip(LIMIT - 1)
    served(AXON, *axon(peer_id=RSA))(chain)
    assert get_record(chain.state, RecordTag.CERTIFICATE, 1, N0) == KEY


def test_neuron_that_is_replaced_is_served_nowhere_and_a_new_one_at_once(chain: DevChain) -> None:
    served(TLS, *tls())(chain)
    forget_serving(chain.state, 1, N0)
    for tag in (RecordTag.AXON, RecordTag.PROMETHEUS, RecordTag.CERTIFICATE):
        assert get_record(chain.state, tag, 1, N0) is None
    assert chain.attempt("neuron-0", AXON, *axon()) == "ok"


UNREACHABLE: dict[tuple[str, str], str] = {
    **{
        (call, error): "no address is on chain (DESIGN decision 12): a peer id that is none gives InvalidPeerId"
        for call in (AXON, TLS, PROMETHEUS)
        for error in ("InvalidIpType", "InvalidIpAddress", "InvalidPort")
    },
}
