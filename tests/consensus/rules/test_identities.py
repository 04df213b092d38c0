"""What coldkeys and subnets' owners say about themselves (DTAO 9)."""

from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, event_names
from yumad.consensus.rules.v1.calls.serving import CALLS
from yumad.consensus.rules.v1.identities import CHAIN_FIELDS, SUBNET_FIELDS, identity_of, subnet_identity_of
from yumad.consensus.types import InvalidError

SET, SET_SUBNET = "identity.set_identity", "identity.set_subnet_identity"
ALICE = account("alice")
LONGEST = [256, 256, 256, 1024, 256, 1024, 1024]
SUBNET_LONGEST = [256, 1024, 1024, 1024, 256, 1024, 1024, 1024]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def texts(lengths: list[int], longer: int | None = None) -> list[bytes]:
    """Texts of these lengths; that at `longer` has a byte more."""
    return [b"x" * (length + (at == longer)) for at, length in enumerate(lengths)]


FAILURES: list[tuple[str, str, str, tuple[Any, ...]]] = [
    (SET, "HotKeyNotRegisteredInNetwork", "bob", ([],)),
    (SET, "InvalidIdentity", "alice", ([b""] * 6,)),
    (SET, "InvalidIdentity", "alice", ([b""] * 8,)),
    *((SET, "InvalidIdentity", "alice", (texts(LONGEST, at),)) for at in range(7)),
    (SET_SUBNET, "SubnetNotExists", "alice", (0, [])),
    (SET_SUBNET, "SubnetNotExists", "alice", (9, [])),
    (SET_SUBNET, "NotSubnetOwner", "bob", (1, [])),
    (SET_SUBNET, "InvalidIdentity", "alice", (1, [b""] * 7)),
    *((SET_SUBNET, "InvalidIdentity", "alice", (1, texts(SUBNET_LONGEST, at))) for at in range(8)),
]


@pytest.mark.parametrize(
    ("call", "error", "signer", "args"),
    FAILURES,
    ids=[f"{call}-{error}-{number}" for number, (call, error, *_) in enumerate(FAILURES)],
)
def test_call_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, signer: str, args: tuple[Any, ...]
) -> None:
    assert chain.attempt(signer, call, *args) == error
    assert identity_of(chain.state, ALICE) is None
    assert subnet_identity_of(chain.state, 1) is None
    check_conservation(chain)


def test_both_calls_have_their_failures_tested() -> None:
    named = {call.name for call in CALLS if call.name.endswith("identity")}
    assert named == {failure[0] for failure in FAILURES}


def test_identity_of_the_greatest_lengths_is_stored(chain: DevChain) -> None:
    outcome = chain.send("alice", SET, texts(LONGEST))
    assert event_names(outcome.events) == ["ChainIdentitySet"]
    assert outcome.events[0].arguments == (ALICE,)
    stored = identity_of(chain.state, ALICE)
    assert stored is not None
    assert [len(text) for text in stored.values()] == LONGEST
    assert list(stored) == list(CHAIN_FIELDS)


def test_identity_replaces_the_one_before(chain: DevChain) -> None:
    chain.attempt("alice", SET, texts(LONGEST))
    assert chain.attempt("alice", SET, [b"Alice", b"", b"", b"", b"", b"", b""]) == "ok"
    stored = identity_of(chain.state, ALICE)
    assert stored is not None
    assert (stored["name"], stored["additional"]) == ("Alice", "")


def test_owner_of_a_hotkey_without_a_uid_has_no_identity_yet(chain: DevChain) -> None:
    assert chain.attempt("bob", "keys.try_associate_hotkey", account("bob-hot")) == "ok"
    assert chain.attempt("bob", SET, [b""] * 7) == "HotKeyNotRegisteredInNetwork"
    assert chain.attempt("bob", "neuron.burned_register", 1, account("bob-hot")) == "ok"
    assert chain.attempt("bob", SET, [b"Bob", *[b""] * 6]) == "ok"


def test_identity_of_a_subnet_of_the_greatest_lengths_is_stored(chain: DevChain) -> None:
    outcome = chain.send("alice", SET_SUBNET, 1, texts(SUBNET_LONGEST))
    assert event_names(outcome.events) == ["SubnetIdentitySet"]
    assert outcome.events[0].arguments == (1,)
    stored = subnet_identity_of(chain.state, 1)
    assert stored is not None
    assert [len(text) for text in stored.values()] == SUBNET_LONGEST
    assert list(stored) == list(SUBNET_FIELDS)


def test_identity_that_is_not_utf8_is_malformed(chain: DevChain) -> None:
    with pytest.raises(InvalidError) as refused:
        chain.send("alice", SET, [b"\xff", *[b""] * 6])
    assert refused.value.code == "malformed"


UNREACHABLE: dict[tuple[str, str], str] = {}
