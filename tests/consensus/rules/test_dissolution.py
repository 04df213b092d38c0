"""The end of a subnet: who has to go, who is paid, what is left of it and what the next one inherits (DTAO 8.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from failed_calls import failure
from yumad.consensus.chain_spec import NeuronSpec, SubnetSpec
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.children import set_children
from yumad.consensus.rules.v1.dtao.distribution import Relation
from yumad.consensus.rules.v1.dtao.units import DYNAMIC
from yumad.consensus.rules.v1.locks import add_lock
from yumad.consensus.rules.v1.markets import read_pool, spot
from yumad.consensus.rules.v1.records import RecordTag, put_record
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, adjust_root_claims
from yumad.consensus.rules.v1.schema import NEURON_STRIDE, NEURONS, SUBNETS
from yumad.consensus.rules.v1.schema_tables import (
    AUTO_STAKES,
    CHILDKEYS,
    HOTKEY_SUBNETS,
    LOCK_TOTALS,
    LOCKS,
    OWNER_LIMITS,
    POSITIONS,
    RECORDS,
    ROOT_CLAIMED,
    ROOT_RATES,
    STAKES,
    SUBNET_SWAPS,
)
from yumad.consensus.rules.v1.stakes import ROOT, position, stake_key
from yumad.consensus.rules.v1.subnet_dissolution import INHERITED, prune_victim
from yumad.consensus.rules.v1.subnets import global_parameter, mechanism_index, netuids, parameter, subnet_exists
from yumad.consensus.rules.v1.timelocked import TimelockedCommit, append_timelocked, timelocked_commits
from yumad.consensus.types import Netuid, Rao

ALICE, BOB, CAROL = account("alice"), account("bob"), account("carol")
N0, N1, N2 = (account(f"neuron-{n}") for n in range(3))
AUTHORITY = account("authority-1/hot")
NEW = account("new/hot")
IMMUNITY = DEV.parameters.network_immunity_period
PEOPLE = ("alice", "bob", "carol")

OF_A_SUBNET = (
    STAKES,
    POSITIONS,
    ROOT_RATES,
    ROOT_CLAIMED,
    CHILDKEYS,
    HOTKEY_SUBNETS,
    LOCKS,
    LOCK_TOTALS,
    OWNER_LIMITS,
    SUBNET_SWAPS,
)
"""Keyed tables whose rows go with their subnet: all whose key starts with a netuid, but for auto-stake destinations."""


def number(chain: DevChain, name: str, netuid: int = 1) -> int:
    return int(chain.state.read(f"subnets/{name}", netuid))


def held_by(*stakes: tuple[str, str, int], **fields: Any) -> SubnetSpec:
    """Subnet 1, not started so that it stays as it is: (hotkey, coldkey, stake) of each neuron."""
    neurons = tuple(NeuronSpec(account(hot), account(cold), Rao(stake), 0, 0, False) for hot, cold, stake in stakes)
    owned = {"owner_hotkey": account(stakes[0][0]), "owner_coldkey": account(stakes[0][1])} if stakes else {}
    return replace(subnet(), **{"neurons": neurons, "started": False, **owned, **fields})


THREE = (("neuron-0", "alice", 333), ("neuron-1", "bob", 333), ("neuron-2", "carol", 335))


def small_pot(**fields: Any) -> DevChain:
    """The subnet of DTAO 12.17: a pot of 1000 rao, claims of 333, 333 and 335, and 500 of the protocol."""
    chain = DevChain(dev_spec(subnets=(held_by(*THREE, tao_reserve=Rao(1000), **fields),)))
    chain.state.write("subnets/protocol_alpha", 1, 500)
    chain.state.write("subnets/alpha_out", 1, 333 + 333 + 335 + 500)
    return chain


def paid_out(chain: DevChain) -> list[int]:
    """What alice, bob and carol gain by the dissolution; fees apart."""
    before = [free_balance(chain.state, account(person)) for person in PEOPLE]
    outcome = chain.send("alice", "admin.execute", *chain.order("sudo_dissolve_network", 1))
    assert outcome.code == 0
    assert event_names(outcome.events) == ["NetworkRemoved", "ParameterSet"]
    after = [free_balance(chain.state, account(person)) for person in PEOPLE]
    check_conservation(chain)
    return [now - then + fee for now, then, fee in zip(after, before, (outcome.fee, 0, 0), strict=True)]


# --- who is paid ------------------------------------------------------------------------------------------------------


def test_12_17_dissolution_shares_the_pot_by_claims_and_recycles_the_protocols_part() -> None:
    chain = small_pot()
    recycled = int(chain.state.read("chain/recycled", 0))
    assert paid_out(chain) == [222, 222, 223]
    emission = 10**9  # nobody earns: the block's whole emission is recycled as well
    assert int(chain.state.read("chain/recycled", 0)) - recycled == 333 + emission


def test_claim_of_the_protocol_includes_the_pools_alpha_unless_the_subnet_is_of_the_genesis() -> None:
    """DTAO 13.33: what the owner locked is in the pool, and is not refunded."""
    chain = small_pot(alpha_reserve=Rao(501))  # claims of 2002
    chain.state.write("subnets/registered_at", 1, 1)
    before = int(chain.state.read("chain/recycled", 0))
    assert sum(paid_out(chain)) == 166 + 166 + 167 + 1
    assert int(chain.state.read("chain/recycled", 0)) - before == 500 + 10**9


def test_equal_remainders_get_their_rao_in_the_order_of_hotkeys() -> None:
    chain = small_pot(alpha_reserve=Rao(499))  # claims of 2000: every remainder is 1000, two rao are left over
    chain.state.write("subnets/registered_at", 1, 1)
    first_two = sorted((N0, N1, N2))[:2]
    floors = {N0: 166, N1: 166, N2: 167}
    assert paid_out(chain) == [floor + (hotkey in first_two) for hotkey, floor in floors.items()]


def test_dissolution_recycles_what_lay_beside_the_reserve() -> None:
    """DTAO 13.18: fees of registrations and what limited purchases could not use."""
    chain = small_pot()
    chain.state.add("subnets/account", 1, 77)
    for name in ("issuance", "minted"):
        chain.state.add(f"chain/{name}", 0, 77)
    before = int(chain.state.read("chain/recycled", 0))
    assert paid_out(chain) == [222, 222, 223]
    assert int(chain.state.read("chain/recycled", 0)) - before == 333 + 77 + 10**9


def test_dissolution_of_a_subnet_without_claims_recycles_everything() -> None:
    chain = DevChain(dev_spec(subnets=(held_by(tao_reserve=Rao(5 * TAO)),)))
    before = int(chain.state.read("chain/recycled", 0))
    assert paid_out(chain) == [0, 0, 0]
    assert int(chain.state.read("chain/recycled", 0)) - before == 6 * TAO


def test_share_below_the_existential_deposit_of_an_unknown_coldkey_is_recycled() -> None:
    chain = DevChain(dev_spec(subnets=(held_by(*THREE, ("neuron-3", "dave", 499), tao_reserve=Rao(1500)),)))
    assert paid_out(chain) == [333, 333, 335]
    assert free_balance(chain.state, account("dave")) == 0


def test_share_of_the_existential_deposit_opens_an_account() -> None:
    chain = DevChain(dev_spec(subnets=(held_by(*THREE, ("neuron-3", "dave", 500), tao_reserve=Rao(1501)),)))
    assert paid_out(chain) == [333, 333, 335]
    assert free_balance(chain.state, account("dave")) == 500


def test_position_worth_nothing_counts_with_its_share() -> None:
    """DTAO 13.14."""
    chain = small_pot()
    row = chain.state.key_table(STAKES).find(stake_key(1, N0))
    chain.state.write("stakes/amount", row, 0)
    assert position(chain.state, 1, N0, ALICE) == 0
    assert paid_out(chain) == [222, 222, 223]


def test_coldkey_with_several_positions_is_paid_for_each() -> None:
    stakes = (("neuron-0", "alice", 333), ("neuron-1", "bob", 333), ("neuron-2", "bob", 335))
    chain = DevChain(dev_spec(subnets=(held_by(*stakes, tao_reserve=Rao(1001)),)))
    assert paid_out(chain) == [333, 333 + 335, 0]


def test_total_stake_falls_by_the_pot() -> None:
    chain = small_pot()
    before = int(chain.state.read("chain/total_stake", 0))
    paid_out(chain)
    assert int(chain.state.read("chain/total_stake", 0)) == before - 1000


def test_unclaimed_root_dividends_of_the_subnet_are_lost() -> None:
    """DTAO 13.33."""
    chain = furnished()
    staked = position(chain.state, ROOT, AUTHORITY, account("authority-1/cold"))
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    chain.skip(1)
    assert position(chain.state, ROOT, AUTHORITY, account("authority-1/cold")) == staked
    assert rows(chain, ROOT_RATES, 1) == rows(chain, ROOT_CLAIMED, 1) == 0


# --- what is left -----------------------------------------------------------------------------------------------------


def furnished() -> DevChain:
    """Subnets 1 and 2, not started, with a row in every table that a subnet can have one in."""
    first = replace(subnet(), started=False)
    second = replace(first, netuid=Netuid(2), tao_reserve=Rao(500 * TAO))
    chain = DevChain(dev_spec(subnets=(first, second)))
    chain.state.write("global/num_root_claim", 0, 0)
    for netuid in (1, 2):
        _furnish(chain, netuid)
    check_conservation(chain)
    return chain


def _furnish(chain: DevChain, netuid: int) -> None:
    state, prefix = chain.state, netuid.to_bytes(2, "big")
    state.add("subnets/alpha_out", netuid, TAO)
    assert accrue_root_dividend(state, netuid, AUTHORITY, TAO) is not None
    adjust_root_claims(state, AUTHORITY, account("authority-1/cold"), 10 * TAO)
    set_children(state, chain.context(), N1, netuid, [Relation(1 << 63, N2)])
    add_lock(state, netuid, ALICE, N1, TAO // 10, 1)
    row = state.key_table(HOTKEY_SUBNETS).open(stake_key(netuid, N0))
    state.write("hotkey_subnets/childkey_take", row, 5)
    state.write("owner_limits/changed_at", state.key_table(OWNER_LIMITS).open(prefix + b"\x00\x01"), 1)
    state.write("subnet_swaps/block", state.key_table(SUBNET_SWAPS).open(stake_key(netuid, ALICE)), 1)
    auto = state.key_table(AUTO_STAKES).open(stake_key(netuid, BOB))
    state.write("auto_stakes/hotkey", auto, list(N1))
    for tag in TAGS:
        put_record(state, tag, netuid, N1, b"x")
    for mechanism in range(2):
        index = mechanism_index(netuid, mechanism)
        put_record(state, RecordTag.WEIGHT_COMMITS, index, N1, b"x")
        append_timelocked(state, index, 7, TimelockedCommit(N1, 1, b"x", 5))


TAGS = (
    RecordTag.AXON,
    RecordTag.PROMETHEUS,
    RecordTag.CERTIFICATE,
    RecordTag.COMMITMENT,
    RecordTag.SUBNET_IDENTITY,
    RecordTag.PENDING_CHILDREN,
)
"""Records that belong to a subnet."""


def rows(chain: DevChain, table: str, netuid: int) -> int:
    """Rows of a keyed table that belong to a subnet."""
    return len([key for key, _ in chain.state.key_table(table).items() if key[:2] == netuid.to_bytes(2, "big")])


def blobs(chain: DevChain, netuid: int) -> tuple[int, int]:
    """Records and timelocked commits of a subnet, those of its second mechanism included."""
    indices = [mechanism_index(netuid, mechanism) for mechanism in range(2)]
    owned = [bytes([tag]) + netuid.to_bytes(2, "big") for tag in TAGS]
    owned += [bytes([RecordTag.WEIGHT_COMMITS]) + index.to_bytes(2, "big") for index in indices]
    records = chain.state.blobs(RECORDS)
    return (
        sum(len(records.keys_from(prefix, 35)) for prefix in owned),
        sum(len(bucket) for index in indices for _, bucket in timelocked_commits(chain.state, index)),
    )


@pytest.mark.parametrize("table", OF_A_SUBNET)
def test_rows_of_a_dissolved_subnet_are_gone_and_those_of_others_stay(table: str) -> None:
    chain = furnished()
    assert rows(chain, table, 1) == rows(chain, table, 2) > 0
    kept = rows(chain, table, 2)
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    assert (rows(chain, table, 1), rows(chain, table, 2)) == (0, kept)


def test_records_and_commits_of_a_dissolved_subnet_are_gone_and_those_of_others_stay() -> None:
    chain = furnished()
    assert blobs(chain, 1) == blobs(chain, 2) == (8, 2)
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    assert (blobs(chain, 1), blobs(chain, 2)) == ((0, 0), (8, 2))


def test_numbers_and_neurons_of_a_dissolved_subnet_are_zero_and_its_mechanisms_gone() -> None:
    chain = furnished()
    others = {record.spec.name: record.root for record in chain.state.columns() if record.spec.name.startswith("sn/2/")}
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    for spec in SUBNETS:
        if spec.name.removeprefix("subnets/") not in (*INHERITED, "reused"):
            assert not chain.state.array(spec.name)[1].any(), spec.name
    for spec in NEURONS:
        assert not chain.state.array(spec.name)[NEURON_STRIDE : 2 * NEURON_STRIDE].any(), spec.name
    assert not chain.state.names("sn/1/")
    assert {r.spec.name: r.root for r in chain.state.columns() if r.spec.name.startswith("sn/")} == others
    assert not subnet_exists(chain.state, 1) and netuids(chain.state) == [2]


def test_destinations_of_mining_income_stay_for_the_next_subnet() -> None:
    chain = furnished()
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    assert rows(chain, AUTO_STAKES, 1) == 1


def test_next_subnet_of_the_number_inherits_six_settings_and_no_other() -> None:
    chain = furnished()
    chosen = {
        "recycle_or_burn": 1,
        "owner_cut_enabled": 0,
        "root_claim_threshold": 7,
        "min_non_immune_uids": 3,
        "min_allowed_uids": 2,
        "min_childkey_take": 9,
    }
    others = {"kappa": 5, "tempo": 77, "fee_rate": 100, "transfer_toggle": 0, "emission_enabled": 0, "burn": 5}
    for name, value in {**chosen, **others}.items():
        chain.state.write(f"subnets/{name}", 1, value)
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    assert chain.attempt("bob", "subnet.register_network", NEW) == "ok"
    assert sorted(chosen) == sorted(INHERITED)
    assert {name: number(chain, name) for name in chosen} == chosen
    assert {name: number(chain, name) for name in others} == {
        **{name: int(getattr(DEV.hyperparameters, name)) for name in others}
    }
    check_conservation(chain)


def test_subnet_of_a_new_number_inherits_nothing() -> None:
    chain = furnished()
    assert chain.attempt("bob", "subnet.register_network", NEW) == "ok"
    assert {name: number(chain, name, 3) for name in INHERITED} == {
        name: int(getattr(DEV.hyperparameters, name)) for name in INHERITED
    }


def test_chain_goes_on_after_a_dissolution_and_a_registration_in_its_place() -> None:
    chain = DevChain()
    chain.skip(25)
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    chain.skip(12)
    assert chain.attempt("bob", "subnet.register_network", NEW) == "ok"
    assert chain.attempt("bob", "subnet.start_call", 1) == "ok"
    assert chain.attempt("alice", "stake.add_stake", NEW, 1, 10 * TAO) == "ok"
    chain.skip(25)
    assert [epoch.netuid for outcome in chain.outcomes[-25:] for epoch in outcome.epochs] == [1, 1]
    check_conservation(chain)


@pytest.mark.parametrize("netuid", [ROOT, 2, 1 << 16])
def test_dissolution_of_root_or_of_what_does_not_exist_fails(netuid: int) -> None:
    chain = DevChain()
    assert failure(chain, "alice", "admin.execute", *chain.order("sudo_dissolve_network", netuid)) == "SubnetNotExists"


def test_owner_cannot_dissolve_its_subnet() -> None:
    chain = DevChain()
    dissolve = chain.order("sudo_dissolve_network", 1)[0]
    assert failure(chain, "alice", "subnet.owner_order", dissolve, [1]) == "AdminCallUnknown"


# --- who has to go ----------------------------------------------------------------------------------------------------


def several(count: int = 3) -> DevChain:
    return DevChain(dev_spec(subnets=tuple(replace(subnet(), netuid=Netuid(n + 1)) for n in range(count))))


@pytest.mark.parametrize(
    ("prices", "registered", "stable", "victim"),
    [
        ((3, 1, 2), (5, 5, 5), (), 2),  # the lowest moving price
        ((1, 1, 1), (5, 4, 6), (), 2),  # of equals the oldest
        ((1, 1, 1), (5, 4, 4), (), 2),  # of equally old ones the lowest number
        ((3, 1, 2), (5, 90, 5), (), 3),  # an immune one is passed over
        ((3, 1, 2), (90, 90, 90), (), None),
        ((3, 0, 2), (5, 5, 5), (2,), 3),  # a stable one's price reads as 1, whatever is stored
        (((1 << 32) + 1, 0, (1 << 32) + 1), (5, 5, 5), (2,), 2),
    ],
)
def test_victim_is_the_cheapest_then_the_oldest_then_the_lowest_that_is_not_immune(
    prices: tuple[int, ...], registered: tuple[int, ...], stable: tuple[int, ...], victim: int | None
) -> None:
    state = several().state
    for netuid, (price, at) in enumerate(zip(prices, registered, strict=True), start=1):
        state.write_wide("subnets/moving_price", netuid, price)
        state.write("subnets/registered_at", netuid, at)
    for netuid in stable:
        state.write("subnets/subnet_mechanism", netuid, 0)
    assert prune_victim(state, 100 - 1) == victim


def test_immunity_ends_after_its_period() -> None:
    state = several(1).state
    state.write("subnets/registered_at", 1, 7)
    assert [prune_victim(state, 7 + IMMUNITY + later) for later in (-1, 0)] == [None, 1]


def full_chain() -> DevChain:
    """Two subnets where there may be two; alpha of subnet 2 costs half as much and it is nobody's friend."""
    first = replace(subnet(), started=False)
    second = replace(first, netuid=Netuid(2), tao_reserve=Rao(500 * TAO), moving_price=1 << 31)
    chain = DevChain(dev_spec(subnets=(first, second)))
    chain.state.write("global/subnet_limit", 0, 2)
    chain.skip(IMMUNITY - 1)
    return chain


def test_subnet_beyond_the_limit_takes_the_place_of_the_victim() -> None:
    chain = full_chain()
    before = [free_balance(chain.state, account(person)) for person in PEOPLE]
    outcome = chain.send("bob", "subnet.register_network", NEW)
    assert event_names(outcome.events)[0] == "NetworkRemoved"
    assert (outcome.events[0].arguments, outcome.events[-1].arguments) == ((2,), (2, DYNAMIC))
    assert netuids(chain.state) == [1, 2]
    cost = global_parameter(chain.state, "network_min_lock_cost")
    after = [free_balance(chain.state, account(person)) for person in PEOPLE]
    gains = [now - then for now, then in zip(after, before, strict=True)]
    assert gains == [500 * TAO, -outcome.fee - cost, 0]  # alice held all the alpha of subnet 2
    check_conservation(chain)


def test_price_of_the_victim_is_not_in_the_median_of_the_newcomer() -> None:
    chain = full_chain()
    assert chain.attempt("bob", "subnet.register_network", NEW) == "ok"
    pool = read_pool(chain.state, 2)
    assert pool.alpha == pool.tao == 100 * TAO
    assert spot(chain.state, 2) == spot(chain.state, 1) == 1 << 64


def test_registration_that_fails_after_the_choice_of_a_victim_leaves_it_alone() -> None:
    chain = full_chain()
    texts = [b"x" * 257, *[b""] * 7]
    assert failure(chain, "bob", "subnet.register_network_with_identity", NEW, texts) == "InvalidIdentity"
    assert parameter(chain.state, 2, "tao_reserve") == 500 * TAO
