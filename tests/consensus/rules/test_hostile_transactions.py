"""Whatever bytes stand where a transaction should: refused by name, with the state untouched (DESIGN section 8)."""

from typing import Any

import pytest
from dev_chain import ADMINS, DevChain, account, packed
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.block import Body
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.calls.admin import order_digest
from yumad.consensus.rules.v1.calls.orders import ORDERS
from yumad.consensus.rules.v1.calls.table import CALLS
from yumad.consensus.rules.v1.execution import ADMISSION_CODES, prepare
from yumad.consensus.types import InvalidError

CHAIN = DevChain()
"""Only ever used for blocks that are refused or rolled back."""

VALID = (
    CHAIN.sign("alice", "balances.transfer_keep_alive", account("bob"), TAO),
    CHAIN.sign("neuron-1", "weights.set_weights", 1, packed([0, 2]), packed([1, 1]), 0),
    CHAIN.sign("authority-0/hot", "authority.heartbeat", b"peer"),
    CHAIN.sign("alice", "admin.execute", *CHAIN.order("sudo_set_kappa", 1, 5, admins=ADMINS)),
    CHAIN.sign("neuron-1", "weights.batch_set_weights", packed([1]), [[packed([0, 2]), packed([1, 1])]], [0]),
)

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(-(1 << 64), (1 << 64) - 1), st.binary(max_size=70), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


def offer(data: bytes) -> None:
    """A block with `data` in it either executes or is refused with a code of the table; nothing else may happen."""
    refusal: str | None = None
    mark = CHAIN.state.begin()
    try:
        CHAIN.rules.apply_block(CHAIN.state, CHAIN.context(), body_of(data))
    except InvalidError as error:
        refusal = error.code
    finally:
        CHAIN.state.rollback(mark)
    assert refusal is None or refusal in ADMISSION_CODES


def body_of(data: bytes) -> Body:
    return Body(None, (), (data,))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidError) as refused:
        prepare(data)
    assert refused.value.code in ("malformed", "unknown_call")


@given(st.sampled_from(VALID), st.data())
def test_valid_transaction_with_a_byte_changed_never_raises_anything_else(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    bit = draw.draw(st.integers(1, 255))
    offer(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])


@given(st.sampled_from(CALLS), st.lists(values, max_size=6))
def test_any_arguments_to_any_call_are_decoded_or_refused(call: Any, args: list[Any]) -> None:
    fields = [1, 0, account("alice"), 0, 100, 0, call.number, args, bytes(64)]
    offer(cbor.encode(fields))


@given(st.integers(0, 0xFFFF), st.lists(values, max_size=18), st.integers(0, 2))
def test_any_administrative_order_signed_by_all_admins_succeeds_or_fails_with_a_code(
    number: int, args: list[Any], first: int
) -> None:
    chosen = ORDERS[number % len(ORDERS)].number if first else number
    message = order_digest(CHAIN.genesis, chosen, args, 0, 1000)
    pairs = sorted([account(name), dev_keypair(name).sign(message)] for name in ADMINS)
    offer(CHAIN.sign("alice", "admin.execute", chosen, args, 0, 1000, pairs))


def test_every_valid_example_is_valid() -> None:
    for data in VALID:
        mark = CHAIN.state.begin()
        outcome = CHAIN.rules.apply_block(CHAIN.state, CHAIN.context(), body_of(data))
        CHAIN.state.rollback(mark)
        assert outcome.transactions[0].code == 0
