"""Transfers, the existential deposit, reaping and the faucet (DTAO 9, CHAIN 4.2)."""

import pytest
from dev_chain import PEOPLE, DevChain, account, check_conservation, dev_spec, event_names
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.dtao.units import MAX_SUPPLY
from yumad.consensus.types import InvalidError, Rao

ED = 500


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def free(chain: DevChain, name: str) -> int:
    return free_balance(chain.state, account(name))


def test_transfer_keep_alive_within_the_balance_moves_the_amount_and_charges_the_fee(chain: DevChain) -> None:
    outcome = chain.send("alice", "balances.transfer_keep_alive", account("bob"), 5 * TAO)
    assert (outcome.code, event_names(outcome.events)) == (0, ["Transfer"])
    assert free(chain, "alice") == 995 * TAO - outcome.fee
    assert free(chain, "bob") == 1005 * TAO
    check_conservation(chain)


def test_fee_of_a_transfer_is_base_plus_bytes_plus_tip(chain: DevChain) -> None:
    data = chain.sign("alice", "balances.transfer_keep_alive", account("bob"), 1, tip=77)
    outcome = chain.block(data).transactions[0]
    assert outcome.fee == 100_000 + 100 * len(data) + 77


@pytest.mark.parametrize(
    ("call", "args", "error"),
    [
        ("balances.transfer_keep_alive", (account("bob"), 1001 * TAO), "InsufficientBalance"),
        ("balances.transfer_keep_alive", (account("nobody"), ED - 1), "ExistentialDeposit"),
        ("balances.transfer_allow_death", (account("bob"), 1001 * TAO), "InsufficientBalance"),
        ("balances.transfer_allow_death", (account("nobody"), ED - 1), "ExistentialDeposit"),
    ],
)
def test_transfer_that_breaks_a_rule_fails_with_its_code_and_moves_nothing(
    chain: DevChain, call: str, args: tuple[object, ...], error: str
) -> None:
    before = {name: free(chain, name) for name in (*PEOPLE, "nobody")}
    assert chain.attempt("alice", call, *args) == error
    assert free(chain, "bob") == before["bob"]
    assert free(chain, "nobody") == 0
    assert 0 < before["alice"] - free(chain, "alice") < TAO
    check_conservation(chain)


def test_transfer_keep_alive_that_would_leave_less_than_the_deposit_fails(chain: DevChain) -> None:
    call, args = "balances.transfer_keep_alive", (account("bob"), 600)
    fee = 100_000 + 100 * len(chain.sign("alice", call, *args))
    poor = tuple(sorted([(account("alice"), Rao(fee + 1000)), (account("bob"), Rao(TAO))]))
    chain = DevChain(dev_spec(balances=poor))
    assert chain.attempt("alice", call, *args) == "Expendability"
    assert free(chain, "alice") == 1000
    check_conservation(chain)


def test_transfer_allow_death_below_the_deposit_reaps_the_sender_and_destroys_the_dust(chain: DevChain) -> None:
    issuance = chain.state.read("chain/issuance", 0)
    data = chain.sign("alice", "balances.transfer_allow_death", account("bob"), 1000 * TAO)
    fee = 100_000 + 100 * len(data)
    outcome = chain.send("alice", "balances.transfer_allow_death", account("bob"), 1000 * TAO - fee - 100)
    minted = 10**9 - 1  # a block's emission; a fraction of a rao was left over
    assert event_names(outcome.events) == ["Transfer", "AccountReaped"]
    assert free(chain, "alice") == 0
    assert chain.state.read("chain/issuance", 0) == issuance + minted - 100
    check_conservation(chain)


@pytest.mark.parametrize(("keep_alive", "left"), [(True, ED), (False, 0)])
def test_transfer_all_moves_everything_after_the_fee(chain: DevChain, keep_alive: bool, left: int) -> None:
    outcome = chain.send("alice", "balances.transfer_all", account("bob"), keep_alive)
    assert outcome.code == 0
    assert free(chain, "alice") == left
    assert free(chain, "bob") == 2000 * TAO - outcome.fee - left
    check_conservation(chain)


def test_transfer_all_of_an_account_with_the_deposit_only_fails() -> None:
    chain = DevChain()
    assert chain.attempt("alice", "balances.transfer_all", account("bob"), True) == "ok"
    with pytest.raises(InvalidError, match="cannot pay") as refused:
        chain.send("alice", "balances.transfer_all", account("bob"), True)
    assert refused.value.code == "cannot_pay"


def test_transfer_all_with_nothing_but_the_deposit_left_after_the_fee_is_insufficient() -> None:
    data = DevChain().sign("alice", "balances.transfer_all", account("bob"), True)
    fee = 100_000 + 100 * len(data)
    poor = tuple(sorted([(account("alice"), Rao(fee + ED)), (account("bob"), Rao(TAO))]))
    assert DevChain(dev_spec(balances=poor)).attempt("alice", "balances.transfer_all", account("bob"), True) == (
        "InsufficientBalance"
    )


def test_transfer_to_oneself_changes_nothing_but_the_fee(chain: DevChain) -> None:
    outcome = chain.send("alice", "balances.transfer_keep_alive", account("alice"), 5)
    assert outcome.code == 0
    assert free(chain, "alice") == 1000 * TAO - outcome.fee


def test_fees_and_tips_go_to_the_authors_coldkey(chain: DevChain) -> None:
    outcome = chain.block(chain.sign("alice", "balances.transfer_keep_alive", account("bob"), 1, tip=1000))
    credited = [free(chain, f"authority-{n}/cold") for n in range(4)]
    assert sorted(credited) == [0, 0, 0, outcome.fees]
    assert outcome.fees == outcome.transactions[0].fee


def test_faucet_gives_to_an_account_with_nothing_and_refuses_one_that_has_enough(chain: DevChain) -> None:
    outcome = chain.send("newcomer", "balances.faucet")
    assert (outcome.code, outcome.fee) == (0, 0)
    assert free(chain, "newcomer") == 100 * TAO
    check_conservation(chain)
    with pytest.raises(InvalidError, match="FaucetLimitReached"):
        chain.send("newcomer", "balances.faucet")


def test_faucet_stops_at_the_supply() -> None:
    chain = DevChain(dev_spec(balances=((account("alice"), Rao(MAX_SUPPLY - 1000 * TAO)),)))
    for n in range(3):
        assert chain.send(f"newcomer-{n}", "balances.faucet").code == 0
    chain.state.add("chain/issuance", 0, 300 * TAO)
    with pytest.raises(InvalidError, match="FaucetLimitReached"):
        chain.send("newcomer-5", "balances.faucet")


def test_faucet_on_a_network_without_one_makes_the_block_invalid() -> None:
    with pytest.raises(InvalidError, match="FaucetDisabled") as refused:
        DevChain(dev_spec(faucet_amount=Rao(0))).send("newcomer", "balances.faucet")
    assert refused.value.code == "precheck"


def test_genesis_balance_below_the_deposit_is_kept() -> None:
    chain = DevChain(dev_spec(balances=((account("alice"), Rao(3)),)))
    chain.skip(3)
    assert free(chain, "alice") == 3
