"""The payout of an epoch on a state, in the order of DTAO 4.5, and its record and explanation to the unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dev_chain import DevChain, account, dev_spec, subnet
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.dtao.distribution import HotkeyEmission
from yumad.consensus.rules.v1.dtao.economy import Pending
from yumad.consensus.rules.v1.dtao.units import Alpha
from yumad.consensus.rules.v1.epoch_record import EpochRecord, decode_record, encode_record
from yumad.consensus.rules.v1.explanation import UnexplainedError, explain_neuron, explain_subnet, rerun
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.payout import PaymentKind, Payout, pay_epoch
from yumad.consensus.rules.v1.schema_tables import AUTO_STAKES
from yumad.consensus.rules.v1.stakes import associate_hotkey, increase_position, position, stake_key
from yumad.consensus.state.state import State
from yumad.consensus.types import AccountId, InvalidError, Rao

NETUID = 1
OWNER, OWNER_HOTKEY = account("alice"), account("neuron-0")
MINER, MINER_OWNER = account("miner/hot"), account("miner/cold")
VALIDATOR, VALIDATOR_OWNER = account("validator/hot"), account("validator/cold")
NOMINATOR = account("nominator")


@pytest.fixture
def state() -> State:
    """Subnet 1 of alice; a miner and a validator of others, the latter with a nominator who holds three quarters."""
    state = DevChain(dev_spec()).state
    associate_hotkey(state, MINER, MINER_OWNER)
    associate_hotkey(state, VALIDATOR, VALIDATOR_OWNER)
    increase_position(state, NETUID, VALIDATOR, VALIDATOR_OWNER, 100 * TAO)
    increase_position(state, NETUID, VALIDATOR, NOMINATOR, 300 * TAO)
    state.add("subnets/alpha_out", NETUID, 500 * TAO)
    return state


def pay(state: State, *, incentives: dict[AccountId, int], dividends: dict[AccountId, int], **pending: int) -> Payout:
    """Pay an epoch in which those earned that."""
    parts = {name: Alpha(amount) for name, amount in pending.items()}
    emissions = [
        HotkeyEmission(hotkey, Alpha(incentives.get(hotkey, 0)), Alpha(dividends.get(hotkey, 0)))
        for hotkey in sorted({**incentives, **dividends})
    ]
    return pay_epoch(state, NETUID, Pending(**parts), emissions, height=10)


def paid(payout: Payout) -> dict[PaymentKind, int]:
    """Amounts by kind."""
    found: dict[PaymentKind, int] = {}
    for payment in payout.payments:
        found[payment.kind] = found.get(payment.kind, 0) + payment.amount
    return found


def test_payout_gives_the_owner_its_cut_on_the_owner_hotkey(state: State) -> None:
    before = position(state, NETUID, OWNER_HOTKEY, OWNER)
    pay(state, incentives={}, dividends={}, owner_cut=7 * TAO)
    assert position(state, NETUID, OWNER_HOTKEY, OWNER) == before + 7 * TAO


def test_payout_of_a_subnet_without_owner_lets_the_cut_vanish(state: State) -> None:
    state.write("subnets/owner", NETUID, 0)
    assert pay(state, incentives={}, dividends={}, owner_cut=7 * TAO).payments == ()


def test_payout_pays_incentive_to_the_miners_coldkey(state: State) -> None:
    pay(state, incentives={MINER: 5 * TAO}, dividends={}, server=5 * TAO)
    assert position(state, NETUID, MINER, MINER_OWNER) == 5 * TAO


def test_payout_sends_incentive_where_the_coldkey_stakes_automatically(state: State) -> None:
    row = state.key_table(AUTO_STAKES).open(stake_key(NETUID, MINER_OWNER))
    state.write("auto_stakes/hotkey", row, np.frombuffer(VALIDATOR, dtype=np.uint8))
    payout = pay(state, incentives={MINER: 5 * TAO}, dividends={}, server=5 * TAO)
    assert position(state, NETUID, VALIDATOR, MINER_OWNER) == 5 * TAO
    assert position(state, NETUID, MINER, MINER_OWNER) == 0
    assert len(payout.events) == 1


@pytest.mark.parametrize("recycles", [False, True])
def test_payout_withholds_the_owners_incentive_and_counts_it_as_burned(state: State, recycles: bool) -> None:
    """DTAO 13.8 and 13.9: burned alpha stays outstanding, recycled does not; MinerBurned counts both."""
    state.write("subnets/recycle_or_burn", NETUID, int(recycles))
    outstanding = int(state.read("subnets/alpha_out", NETUID))
    pay(state, incentives={OWNER_HOTKEY: TAO, MINER: 3 * TAO}, dividends={}, server=4 * TAO)
    assert int(state.read("subnets/alpha_out", NETUID)) == outstanding - recycles * TAO
    assert int(state.read("subnets/alpha_burned", NETUID)) == (not recycles) * TAO
    assert int(state.read("subnets/miner_burned", NETUID)) == 1 << 30


def test_payout_without_incentive_has_burned_nothing(state: State) -> None:
    state.write("subnets/miner_burned", NETUID, 1 << 31)
    pay(state, incentives={}, dividends={VALIDATOR: TAO}, server=TAO, validator=TAO)
    assert int(state.read("subnets/miner_burned", NETUID)) == 0


def test_payout_gives_validators_the_miners_part_when_nobody_mined(state: State) -> None:
    amounts = paid(pay(state, incentives={}, dividends={VALIDATOR: TAO}, server=TAO, validator=TAO))
    assert amounts[PaymentKind.TAKE] + amounts[PaymentKind.NOMINATORS] in (2 * TAO, 2 * TAO - 1)


def test_payout_splits_a_dividend_into_take_and_growth(state: State) -> None:
    """18 % of 100 is a purchase of the owner, the rest grows everybody, who hold a quarter and three quarters."""
    payout = pay(state, incentives={MINER: TAO}, dividends={VALIDATOR: TAO}, validator=100 * TAO, server=TAO)
    take = paid(payout)[PaymentKind.TAKE]
    assert take == 17_999_542_225  # 100 TAO x (773074452 / 2^32): 11796 of 65535, floored to 32 bits
    [growth] = payout.growths
    gains = dict(growth.gains())
    assert gains[NOMINATOR] + gains[VALIDATOR_OWNER] <= growth.amount
    assert position(state, NETUID, VALIDATOR, NOMINATOR) == 300 * TAO + gains[NOMINATOR]


def test_payout_keeps_the_owner_hotkeys_dividends(state: State) -> None:
    """DTAO 13.36: only incentives are withheld."""
    before = position(state, NETUID, OWNER_HOTKEY, OWNER)
    pay(state, incentives={}, dividends={OWNER_HOTKEY: TAO}, validator=TAO)
    assert position(state, NETUID, OWNER_HOTKEY, OWNER) - before in (TAO, TAO - 1)


def test_payout_of_dividends_nobody_earned_is_paid_to_nobody(state: State) -> None:
    payout = pay(state, incentives={MINER: TAO}, dividends={}, validator=TAO, server=TAO)
    assert paid(payout) == {PaymentKind.INCENTIVE: TAO}


# --- records and explanations -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain() -> DevChain:
    """Fifty blocks with weights of two validators on two miners of other owners."""
    neurons = subnet().neurons
    others = tuple(
        replace(neuron, coldkey=account(f"miner-{uid}"), hotkey=account(f"miner-{uid}/hot"), stake=Rao(0))
        for uid, neuron in enumerate(neurons[2:])
    )
    chain = DevChain(dev_spec(subnets=(replace(subnet({"weights_set_rate_limit": 0}), neurons=neurons[:2] + others),)))
    chain.block(
        chain.sign("neuron-0", "weights.set_weights", 1, b"\2\0\3\0", b"\xff\xff\xff\x7f", 0),
        chain.sign("neuron-1", "weights.set_weights", 1, b"\2\0\3\0\1\0", b"\xff\xff\xff\xff\0\1", 0),
    )
    chain.skip(50)
    return chain


@pytest.fixture(scope="module")
def records(chain: DevChain) -> list[EpochRecord]:
    found = [epoch.record for outcome in chain.outcomes for epoch in outcome.epochs]
    assert len(found) == 5
    return [record for record in found if isinstance(record, EpochRecord)]


def test_record_survives_its_encoding(records: list[EpochRecord]) -> None:
    for record in records:
        data = encode_record(record)
        assert encode_record(decode_record(data)) == data


def test_explanation_adds_up_for_every_uid_of_every_epoch(records: list[EpochRecord]) -> None:
    for record in map(decode_record, map(encode_record, records)):
        run = rerun(record)
        explained = [explain_neuron(run, uid) for uid in range(4)]
        whole = explain_subnet(run)
        owner_cut = record.payout.pending.owner_cut
        earned = sum(one["earned"] for one in explained) - owner_cut * (owner_cut > 0)
        assert earned + whole["left_over"] == whole["epoch_total"]
        for one in explained:
            staked = sum(part["staked"] + part["claimable"] for part in one["coldkeys"])
            rounding = sum(payment["rounding"] for payment in one["payments"])
            assert staked + rounding == one["earned"]


def test_explanation_shows_weights_before_and_after_clipping(records: list[EpochRecord]) -> None:
    miner = explain_neuron(rerun(records[-1]), 3)
    [mechanism] = miner["mechanisms"]
    assert [entry["uid"] for entry in mechanism["received"]] == [0, 1]
    assert all(entry["clipped"] == min(entry["weight"], mechanism["consensus"]) for entry in mechanism["received"])
    assert mechanism["rank"] > 0
    assert mechanism["server"] > 0


def test_explanation_of_an_altered_record_is_refused(records: list[EpochRecord]) -> None:
    record = records[-1]
    case = record.inputs[0]
    richer = replace(record, inputs=(replace(case, alpha_stake=case.alpha_stake + np.uint64(TAO)),))
    with pytest.raises(UnexplainedError, match="run again gives"):
        rerun(richer)


def test_explanation_of_a_uid_that_was_not_there_is_refused(records: list[EpochRecord]) -> None:
    with pytest.raises(InvalidError, match="had 4 neurons"):
        explain_neuron(rerun(records[-1]), 4)


def test_chain_with_payouts_adds_up(chain: DevChain) -> None:
    assert broken_invariants(chain.state, chain.spec) == []
