"""Stake as a plain balance, hotkey ownership, and the bond of authorities (DTAO 6.4, CHAIN 1.3)."""

from dataclasses import replace

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from yumad.consensus.chain_spec_parameters import FeeSchedule
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.stakes import hotkey_owner, hotkey_stake, position
from yumad.consensus.types import Rao

HOT = account("neuron-1")


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


@pytest.mark.parametrize("netuid", [0, 1])
def test_stake_goes_in_and_comes_back_one_to_one(chain: DevChain, netuid: int) -> None:
    before = hotkey_stake(chain.state, netuid, HOT)
    outcome = chain.send("bob", "stake.add_stake", HOT, netuid, 7 * TAO)
    assert event_names(outcome.events) == ["StakeAdded"]
    assert hotkey_stake(chain.state, netuid, HOT) == before + 7 * TAO
    check_conservation(chain)
    fees = outcome.fee
    outcome = chain.send("bob", "stake.remove_stake", HOT, netuid, 7 * TAO)
    assert event_names(outcome.events) == ["StakeRemoved"]
    assert position(chain.state, netuid, HOT, account("bob")) == 0
    assert free_balance(chain.state, account("bob")) == 1000 * TAO - fees - outcome.fee
    check_conservation(chain)


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((HOT, 9, TAO), "SubnetNotExists"),
        ((HOT, 1, 1_999_999), "AmountTooLow"),
        ((HOT, 1, 1000 * TAO), "NotEnoughBalanceToStake"),
        ((account("unknown"), 1, TAO), "HotKeyAccountNotExists"),
    ],
)
def test_add_stake_that_fails_a_check_reports_it(chain: DevChain, args: tuple[object, ...], error: str) -> None:
    assert chain.attempt("bob", "stake.add_stake", *args) == error
    check_conservation(chain)


def test_remove_stake_checks(chain: DevChain) -> None:
    chain.send("bob", "stake.add_stake", HOT, 1, 5 * TAO)
    assert chain.attempt("bob", "stake.remove_stake", HOT, 9, TAO) == "SubnetNotExists"
    assert chain.attempt("bob", "stake.remove_stake", HOT, 1, 0) == "AmountTooLow"
    assert chain.attempt("bob", "stake.remove_stake", HOT, 1, 1000) == "AmountTooLow"
    assert chain.attempt("carol", "stake.remove_stake", HOT, 1, TAO) == "AmountTooLow"
    check_conservation(chain)


def test_remove_stake_of_more_than_there_is_takes_what_there_is(chain: DevChain) -> None:
    chain.send("bob", "stake.add_stake", HOT, 0, 5 * TAO)
    outcome = chain.send("bob", "stake.remove_stake", HOT, 0, 50 * TAO)
    assert outcome.events[0].arguments[-1] == 5 * TAO


def test_remove_stake_earned_beyond_the_reserve_has_no_liquidity(chain: DevChain) -> None:
    assert chain.attempt("alice", "stake.remove_stake", HOT, 1, TAO) == "InsufficientLiquidity"
    check_conservation(chain)


def test_associate_makes_an_unowned_hotkey_mine_and_leaves_an_owned_one(chain: DevChain) -> None:
    outcome = chain.send("bob", "keys.try_associate_hotkey", account("fresh"))
    assert event_names(outcome.events) == ["HotkeyAssociated"]
    outcome = chain.send("carol", "keys.try_associate_hotkey", account("fresh"))
    assert (outcome.code, outcome.events) == (0, ())
    assert hotkey_owner(chain.state, account("fresh")) == account("bob")


def fund_authority(chain: DevChain) -> None:
    assert chain.attempt("alice", "balances.transfer_keep_alive", account("authority-1/cold"), TAO) == "ok"


def test_authority_cannot_take_its_bond_but_may_take_what_is_above_it(chain: DevChain) -> None:
    fund_authority(chain)
    hot = account("authority-1/hot")
    assert chain.attempt("bob", "stake.add_stake", hot, 0, 5 * TAO) == "ok"
    assert chain.attempt("authority-1/cold", "stake.remove_stake", hot, 0, 6 * TAO) == "AuthorityBonded"
    assert chain.attempt("authority-1/cold", "stake.remove_stake", hot, 0, 5 * TAO) == "ok"
    assert chain.attempt("bob", "stake.remove_stake", hot, 0, 5 * TAO) == "AuthorityBonded"
    check_conservation(chain)


def test_bond_ends_when_the_authority_has_been_out_of_the_set_for_the_unbonding_eras(chain: DevChain) -> None:
    fund_authority(chain)
    hot = account("authority-1/hot")
    extra = [f"authority-{n}/hot" for n in (0, 2, 3)]
    for era in range(4):
        if era == 0:  # five heavier newcomers would be needed to drop it from four; jail does it at once
            mark = chain.state.begin()
            row = chain.state.key_table("authorities").find(hot)
            chain.state.write("authorities/jailed_until", row, 100)
            chain.state.commit(mark)
        chain.block(*(chain.sign(name, "authority.heartbeat", b"p") for name in extra))
        expected = "AuthorityBonded" if era <= 2 else "ok"  # last sat in era 0, unbond_eras is 2
        assert chain.attempt("authority-1/cold", "stake.remove_stake", hot, 0, 50 * TAO) == expected, era
        chain.skip_to((era + 1) * chain.spec.era_blocks)


def test_position_too_small_to_keep_an_account_alive_stays_where_fees_are_nothing() -> None:
    tiny = (*subnet().neurons[:1], replace(subnet().neurons[1], coldkey=account("pauper"), stake=Rao(499)))
    spec = dev_spec(fees=FeeSchedule(Rao(0), Rao(0)), subnets=(replace(subnet(), neurons=tiny),))
    chain = DevChain(spec)
    chain.send("bob", "stake.add_stake", account("neuron-0"), 1, TAO)
    assert chain.attempt("pauper", "stake.remove_stake", account("neuron-1"), 1, TAO) == "ExistentialDeposit"
    check_conservation(chain)
