"""What keeps a transaction out of a block, in the order of the checks, and the life of nonces (CHAIN 3, 4.2, 6.4)."""

from dataclasses import replace

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, packed
from yumad.consensus import cbor
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.interface import Event
from yumad.consensus.rules.v1 import execution
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.budgets import (
    BLOCK_WEIGHT,
    EPOCH_WEIGHT,
    MAX_TRANSACTIONS_BYTES,
    TRANSACTION_OVERHEAD,
    Budget,
    transaction_weight,
)
from yumad.consensus.rules.v1.calls.call import Call
from yumad.consensus.rules.v1.calls.table import call_named, call_numbered
from yumad.consensus.state.state import State
from yumad.consensus.transaction import (
    MORTALITY,
    TransactionDomain,
    decode_transaction,
    encode_transaction,
    sign_transaction,
)
from yumad.consensus.types import Hash32, InvalidError, Micros, Rao, Signature

TRANSFER = "balances.transfer_keep_alive"


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def barred(chain: DevChain, *transactions: bytes) -> str:
    root = chain.state.root()
    with pytest.raises(InvalidError) as refused:
        chain.block(*transactions)
    assert chain.state.root() == root
    return refused.value.code


def transfer(chain: DevChain, name: str = "alice", amount: int = TAO, **fields: object) -> bytes:
    return chain.sign(name, TRANSFER, account("bob"), amount, **fields)


@pytest.mark.parametrize("data", [b"", b"\xff", bytes(400), cbor.encode([1, 0]), cbor.encode([1] * 9)])
def test_bytes_that_are_no_transaction_bar_the_block(chain: DevChain, data: bytes) -> None:
    assert barred(chain, data) == "malformed"


def test_unknown_call_bars_the_block(chain: DevChain) -> None:
    signed = sign_transaction(chain.domain, dev_keypair("alice"), nonce=0, valid_until=10, call=0x7777, args=())
    assert barred(chain, encode_transaction(signed)) == "unknown_call"


@pytest.mark.parametrize(
    "args",
    [(), (b"short", 1), (account("bob"), -1), (account("bob"), True), (account("bob"), 1, 1), (1, account("bob"))],
)
def test_arguments_of_another_form_bar_the_block(chain: DevChain, args: tuple[object, ...]) -> None:
    assert barred(chain, chain.sign("alice", TRANSFER, *args)) == "malformed"


def test_odd_bytes_in_a_u16_list_bar_the_block(chain: DevChain) -> None:
    assert barred(chain, chain.sign("neuron-1", "weights.set_weights", 1, b"abc", b"abcd", 0)) == "malformed"


def test_ordinary_call_longer_than_four_kilobytes_bars_the_block(chain: DevChain) -> None:
    many = packed(range(1100))
    assert barred(chain, chain.sign("neuron-1", "weights.set_weights", 1, many, many, 0)) == "too_large"


def test_valid_until_is_the_last_height_that_may_include(chain: DevChain) -> None:
    data = transfer(chain, valid_until=3)
    chain.skip(3)
    assert barred(chain, data) == "expired"
    again = DevChain()
    again.skip(2)
    assert again.block(data).transactions[0].code == 0


def test_valid_until_further_than_the_mortality_bars_the_block(chain: DevChain) -> None:
    assert barred(chain, transfer(chain, valid_until=MORTALITY + 2)) == "too_far"
    assert chain.block(transfer(chain, valid_until=MORTALITY + 1)).transactions[0].code == 0


@pytest.mark.parametrize("nonce", [1, 2, (1 << 64) - 1])
def test_nonce_ahead_bars_the_block(chain: DevChain, nonce: int) -> None:
    assert barred(chain, transfer(chain, nonce=nonce)) == "bad_nonce"


def test_transaction_twice_bars_the_block(chain: DevChain) -> None:
    data = transfer(chain)
    assert barred(chain, data, data) == "bad_nonce"
    chain.block(data)
    assert barred(chain, data) == "bad_nonce"


def test_transactions_of_one_signer_run_in_nonce_order(chain: DevChain) -> None:
    both = transfer(chain, nonce=0), transfer(chain, nonce=1, amount=2 * TAO)
    assert [t.code for t in chain.block(*both).transactions] == [0, 0]
    assert chain.nonce("alice") == 2


def test_signer_without_funds_for_the_fee_bars_the_block(chain: DevChain) -> None:
    assert barred(chain, transfer(chain, name="poor")) == "cannot_pay"
    assert barred(chain, transfer(chain, tip=1000 * TAO)) == "cannot_pay"


def test_tip_of_a_free_call_must_be_paid_too(chain: DevChain) -> None:
    args = (1, packed([0, 2]), packed([1, 1]), 0)
    assert barred(chain, chain.sign("neuron-1", "weights.set_weights", *args, tip=1)) == "cannot_pay"


def test_wrong_signature_bars_the_block_and_the_right_one_is_accepted_after(chain: DevChain) -> None:
    good = decode_transaction(transfer(chain))
    bad = encode_transaction(replace(good, signature=Signature(bytes(64))))
    assert barred(chain, bad) == "bad_signature"
    assert chain.block(encode_transaction(good)).transactions[0].code == 0


@pytest.mark.parametrize("part", ["genesis_hash", "fork_digest"])
def test_signature_for_another_chain_or_other_rules_bars_the_block(chain: DevChain, part: str) -> None:
    other = replace(chain.domain, **{part: Hash32(bytes(32)) if part == "genesis_hash" else bytes(4)})
    assert isinstance(other, TransactionDomain)
    signed = sign_transaction(other, dev_keypair("alice"), nonce=0, valid_until=9, call=0, args=(account("bob"), 1000))
    assert barred(chain, encode_transaction(signed)) == "bad_signature"


def test_signature_is_not_looked_at_when_the_block_is_final_already(chain: DevChain) -> None:
    unsigned = encode_transaction(replace(decode_transaction(transfer(chain)), signature=Signature(bytes(64))))
    assert chain.block(unsigned, skip_signatures=True).transactions[0].code == 0


def test_failing_call_keeps_its_fee_and_nonce_and_nothing_else(chain: DevChain) -> None:
    before = free_balance(chain.state, account("alice"))
    outcome = chain.send("alice", TRANSFER, account("bob"), 5000 * TAO)
    assert outcome.code != 0
    assert outcome.events == ()
    assert free_balance(chain.state, account("alice")) == before - outcome.fee
    assert chain.nonce("alice") == 1
    check_conservation(chain)


# --- nonces and rows --------------------------------------------------------------------------------------------------


def fast_mortality_chain() -> DevChain:
    """A chain whose empty blocks are cheap: 2 400 of them pass in these tests."""
    return DevChain(dev_spec(subnets=(), era_blocks=1000))


def test_reaped_account_revived_within_the_mortality_goes_on_with_its_nonce() -> None:
    chain = fast_mortality_chain()
    chain.send("alice", "balances.transfer_all", account("bob"), False)
    assert free_balance(chain.state, account("alice")) == 0
    assert chain.nonce("alice") == 1
    chain.skip(100)
    chain.send("bob", TRANSFER, account("alice"), TAO)
    assert chain.nonce("alice") == 1


def test_reaped_rows_old_transaction_is_refused_at_each_height_until_it_expires_and_the_row_is_reused_after() -> None:
    chain = fast_mortality_chain()
    chain.skip(1)
    reaped_at = chain.height + 1
    old = chain.sign("alice", "balances.transfer_all", account("bob"), False, valid_until=reaped_at + MORTALITY)
    chain.block(old)
    row = chain.state.accounts().find(account("alice"), chain.height)
    chain.skip_to(reaped_at + MORTALITY - 1)
    assert barred(chain, old) == "bad_nonce"  # remembered in the last block in which it could still be valid
    chain.skip(1)
    assert barred(chain, old) == "expired"
    chain.send("bob", TRANSFER, account("newcomer"), TAO)
    assert chain.state.accounts().find(account("newcomer"), chain.height) == row
    chain.send("bob", TRANSFER, account("alice"), TAO)
    assert chain.nonce("alice") == 0
    assert barred(chain, old) == "expired"
    check_conservation(chain)


def test_account_that_only_signs_free_calls_is_remembered_for_the_mortality() -> None:
    chain = DevChain()
    chain.send("neuron-1", "weights.set_weights", 1, packed([0, 2]), packed([1, 1]), 0)
    accounts = chain.state.accounts()
    row = accounts.find(account("neuron-1"), chain.height)
    assert row is not None
    assert accounts.is_reaped(row)
    assert accounts.find(account("neuron-1"), chain.height + MORTALITY) == row
    assert accounts.find(account("neuron-1"), chain.height + MORTALITY + 1) is None


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_budget_of_a_block_is_a_twelfth_of_its_slot_less_its_own_work() -> None:
    budget = Budget.of_block(12_000_000, 1)
    assert budget.weight == 1_000_000 - BLOCK_WEIGHT - EPOCH_WEIGHT
    assert budget.paid_weight == budget.weight - budget.weight // 4
    assert (budget.size, budget.paid_size) == (MAX_TRANSACTIONS_BYTES, MAX_TRANSACTIONS_BYTES * 3 // 4)


def test_budget_used_up_by_epochs_is_empty_not_negative() -> None:
    assert Budget.of_block(250_000, 10).weight == 0


def test_paid_lane_ends_where_the_operational_reserve_begins() -> None:
    budget = Budget(weight=100, paid_weight=75, size=10_000, paid_size=7_500)
    assert not budget.fits(76, 10, operational=False)
    budget.spend(75, 10, operational=False)
    assert not budget.fits(1, 10, operational=False)
    assert budget.fits(25, 10, operational=True)
    assert not budget.fits(26, 10, operational=True)


def test_bytes_count_with_their_head_in_the_body() -> None:
    budget = Budget(weight=100, paid_weight=100, size=100, paid_size=100)
    assert budget.fits(1, 100 - TRANSACTION_OVERHEAD, operational=False)
    assert not budget.fits(1, 101 - TRANSACTION_OVERHEAD, operational=False)


def test_block_over_its_weight_is_invalid_and_the_builder_stops_there() -> None:
    chain = DevChain(dev_spec(slot_length=Micros(250_000), subnets=()))
    many = [transfer(chain, nonce=n) for n in range(100)]
    each = transaction_weight(250, len(many[0]))
    room = Budget.of_block(250_000, 0).paid_weight // each
    assert barred(chain, *many[: room + 1]) == "no_room"
    body, outcome, skipped = chain.selected(*many)
    assert len(body.transactions) == len(outcome.transactions) == room
    assert {reason for _, reason in skipped} == {"no_room"}


# --- the builder ------------------------------------------------------------------------------------------------------


def test_builder_skips_what_may_not_be_included_and_its_block_is_valid(chain: DevChain) -> None:
    candidates = [
        b"rubbish",
        transfer(chain, nonce=1),
        transfer(chain, nonce=0),
        transfer(chain, name="poor"),
        transfer(chain, valid_until=0),
        encode_transaction(replace(decode_transaction(transfer(chain, "carol")), signature=Signature(bytes(64)))),
        chain.sign("neuron-3", "weights.set_weights", 1, packed([0, 2]), packed([1, 1]), 0),
        chain.sign("neuron-1", "weights.set_weights", 1, packed([0, 2]), packed([1, 1]), 0),
    ]
    body, outcome, skipped = chain.selected(*candidates)
    assert sorted(reason for _, reason in skipped) == [
        "bad_signature",
        "cannot_pay",
        "expired",
        "malformed",
        "precheck",
    ]
    assert body.transactions == (candidates[-1], candidates[2], candidates[1])  # operational first, then nonce order
    follower = DevChain()
    assert follower.block(*body.transactions) == outcome
    assert follower.state.root() == chain.state.root()


def test_builder_does_not_verify_what_the_pool_has_verified(chain: DevChain) -> None:
    unsigned = encode_transaction(replace(decode_transaction(transfer(chain)), signature=Signature(bytes(64))))
    body, _, _ = chain.selected(unsigned, verified=lambda _: True)
    assert body.transactions == (unsigned,)


def test_block_that_does_not_follow_the_state_is_refused(chain: DevChain) -> None:
    chain.height = 5
    chain.hashes *= 6
    with pytest.raises(InvalidError, match="does not follow"):
        chain.block()


def test_amount_at_the_end_of_64_bits_overflows_as_a_failed_call() -> None:
    chain = DevChain()
    mark = chain.state.begin()
    row = chain.state.accounts().find(account("bob"), 1)
    chain.state.write("accounts/free", row, (1 << 64) - 5)
    chain.state.commit(mark)
    assert chain.attempt("alice", TRANSFER, account("bob"), 10) == "Overflow"
    assert Rao(0) < chain.outcomes[-1].fees


# --- calls whose code is wrong ----------------------------------------------------------------------------------------


def break_call(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a call write something and then raise, as a bug would."""
    broken = call_named(name)
    assert broken is not None

    def execute_wrongly(state: State, *_: object) -> list[Event]:
        state.write("chain/burned", 0, 12_345)
        raise RuntimeError("a bug")

    wrong = replace(broken, execute=execute_wrongly)

    def found(number: int) -> Call | None:
        return wrong if number == wrong.number else call_numbered(number)

    monkeypatch.setattr(execution, "call_numbered", found)


def test_call_that_raises_leaves_the_builder_a_valid_block_without_it(
    chain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_call(monkeypatch, "balances.transfer_all")
    poison = chain.sign("alice", "balances.transfer_all", account("bob"), True)
    body, outcome, skipped = chain.selected(poison, transfer(chain, "bob"))
    assert [reason for _, reason in skipped] == ["raised"]
    assert len(body.transactions) == 1
    assert chain.state.read("chain/burned", 0) == 0
    check_conservation(chain)
    follower = DevChain()
    assert follower.block(*body.transactions) == outcome
    assert follower.state.root() == chain.state.root()


def test_call_that_raises_in_a_block_raises_and_the_state_can_be_rolled_back(
    chain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_call(monkeypatch, "balances.transfer_all")
    root = chain.state.root()
    with pytest.raises(RuntimeError):
        chain.send("alice", "balances.transfer_all", account("bob"), True)
    assert chain.state.root() == root
    chain.skip(2)
