"""Transfers, the existential deposit, reaping and the faucet (DTAO 9, CHAIN 4.2)."""

from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names
from failed_calls import failure
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


KEEP, DEATH, ALL = "balances.transfer_keep_alive", "balances.transfer_allow_death", "balances.transfer_all"
FAUCET = "balances.faucet"
NOBODY, BOB = account("nobody"), account("bob")

FAILURES: list[tuple[str, str, tuple[Any, ...], int]] = [
    (KEEP, "InsufficientBalance", (BOB, 1001), 1000),
    (KEEP, "InsufficientBalance", (account("alice"), 1001), 1000),
    (KEEP, "ExistentialDeposit", (NOBODY, ED - 1), TAO),
    (KEEP, "Expendability", (BOB, 501), 1000),
    (KEEP, "ExistentialDeposit", (NOBODY, ED - 1), 510),
    (DEATH, "InsufficientBalance", (BOB, 1001), 1000),
    (DEATH, "ExistentialDeposit", (NOBODY, ED - 1), TAO),
    (ALL, "InsufficientBalance", (BOB, True), ED),
    (ALL, "ExistentialDeposit", (NOBODY, True), 2 * ED - 1),
]
"""Call, error, arguments, and what alice holds once the fee is paid."""

UNREACHABLE: dict[tuple[str, str], str] = {
    **dict.fromkeys([(call, "Overflow") for call in (KEEP, DEATH, ALL)], "all there is fits 64 bits"),
    (DEATH, "Expendability"): "the sender may die",
    (ALL, "Expendability"): "the deposit is left behind, or the sender may die",
}

FAUCET_FAILURES: list[tuple[str, str, str, int]] = [
    (FAUCET, "FaucetDisabled", "newcomer", 0),
    (FAUCET, "FaucetLimitReached", "alice", 100 * TAO),
]
"""Call, error, signer and what the faucet gives. It is free: a block with one that fails is invalid."""


@pytest.mark.parametrize(("call", "error", "args", "held"), FAILURES)
def test_transfer_that_breaks_a_rule_fails_with_its_code_and_moves_nothing(
    call: str, error: str, args: tuple[Any, ...], held: int
) -> None:
    fee = 100_000 + 100 * len(DevChain().sign("alice", call, *args))
    holders = tuple(sorted([(account("alice"), Rao(fee + held)), (BOB, Rao(TAO))]))
    chain = DevChain(dev_spec(balances=holders))
    assert failure(chain, "alice", call, *args) == error
    assert (call, error) not in UNREACHABLE
    assert free(chain, "alice") == held
    check_conservation(chain)


@pytest.mark.parametrize(("call", "error", "signer", "amount"), FAUCET_FAILURES)
def test_faucet_call_that_fails_makes_the_block_invalid_and_changes_nothing(
    call: str, error: str, signer: str, amount: int
) -> None:
    chain = DevChain(dev_spec(faucet_amount=Rao(amount)))
    root = chain.state.root()
    with pytest.raises(InvalidError, match=error) as refused:
        chain.send(signer, call)
    assert (refused.value.code, chain.state.root()) == ("precheck", root)


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
    staked = int(DevChain(dev_spec(balances=())).state.read("chain/issuance", 0))
    chain = DevChain(dev_spec(balances=((account("alice"), Rao(MAX_SUPPLY - staked - 250 * TAO)),)))
    for n in range(2):
        assert chain.send(f"newcomer-{n}", "balances.faucet").code == 0
    with pytest.raises(InvalidError, match="FaucetLimitReached"):
        chain.send("newcomer-2", "balances.faucet")


def test_genesis_balance_below_the_deposit_is_kept() -> None:
    chain = DevChain(dev_spec(balances=((account("alice"), Rao(3)),)))
    chain.skip(3)
    assert free(chain, "alice") == 3
