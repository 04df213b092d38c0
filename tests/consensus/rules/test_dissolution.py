"""The end of a subnet: who is chosen, who gets what, and that nothing of it is left (DTAO 8.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dev_chain import ADMINS, DevChain, account, check_conservation, dev_spec, event_names, packed, subnet
from stake_world import ALICE, AUTHORITY, BOB, CAROL, HOT, HOT_2, StakeWorld, names
from yumad.consensus.chain_spec import NeuronSpec
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.dtao.safe_float import from_int
from yumad.consensus.rules.v1.markets import read_pool
from yumad.consensus.rules.v1.records import RecordTag
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, adjust_root_claims, root_rates
from yumad.consensus.rules.v1.schema import NEURON_STRIDE, NEURONS, SUBNETS
from yumad.consensus.rules.v1.schema_tables import (
    AUTO_STAKES,
    CHILDKEYS,
    HOTKEY_SUBNETS,
    LOCK_TOTALS,
    LOCKS,
    OF_NETUID,
    OWNER_LIMITS,
    POSITIONS,
    RECORDS,
    ROOT_CLAIMED,
    ROOT_RATES,
    STAKES,
    SUBNET_SWAPS,
    TIMELOCKED,
)
from yumad.consensus.rules.v1.stakes import ROOT, decrease_position, position, position_key, stake_key
from yumad.consensus.rules.v1.subnet_dissolution import INHERITED, dissolve_subnet, prune_victim
from yumad.consensus.rules.v1.subnets import netuids, parameter
from yumad.consensus.rules.v1.timelocked import TimelockedCommit, append_timelocked
from yumad.consensus.rules.v1.weight_commits import mechanism_index
from yumad.consensus.state.state import State
from yumad.consensus.types import Netuid, Rao

NETUID = 2
OF_SUBNET = NETUID.to_bytes(2, "big")
PEER = b"\x00\x24\x08\x01\x12\x20" + bytes(range(32))
TABLES = (
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
"""All tables whose rows belong to a subnet, but the destinations that stay."""

TAGS = (
    RecordTag.AXON,
    RecordTag.PROMETHEUS,
    RecordTag.CERTIFICATE,
    RecordTag.COMMITMENT,
    RecordTag.SUBNET_IDENTITY,
    RecordTag.PENDING_CHILDREN,
)


@pytest.fixture
def world() -> StakeWorld:
    """Subnet 2 with something of everything that a subnet may have."""
    world = StakeWorld()
    state, run = world.state, world.run
    for person, hotkey in (("bob", HOT), ("carol", HOT_2)):
        run(person, "stake.add_stake", hotkey, NETUID, 20 * TAO)
        run(person, "stake.add_stake", AUTHORITY, ROOT, 10 * TAO)
        run(person, "locks.lock_stake", HOT_2, NETUID, TAO)
    run("carol", "locks.set_perpetual_lock", NETUID, True)
    run("bob", "stake.set_coldkey_auto_stake_hotkey", NETUID, HOT)
    run("alice", "stake.set_childkey_take", HOT, NETUID, 100)
    run("alice", "stake.set_children", HOT_2, NETUID, [(1 << 60, HOT)])
    world.set_subnet(NETUID, subtoken_enabled=0)
    run("alice", "stake.set_children", HOT, NETUID, [(1 << 60, account("neuron-3"))])
    world.set_subnet(NETUID, subtoken_enabled=1, max_allowed_uids=64, commit_reveal_weights_enabled=1)
    run("alice", "admin.execute", *world.chain.order("sudo_set_mechanism_count", NETUID, 2, admins=ADMINS))
    run("alice", "subnet.set_activity_cutoff_factor", NETUID, 2_000)
    run("alice", "identity.set_subnet_identity", NETUID, [b"name", *[b""] * 7])
    run("neuron-1", "serving.serve_axon_tls", NETUID, 1, PEER, packed([1]), b"\x01" + bytes(64))
    run("neuron-1", "serving.serve_prometheus", NETUID, 1, PEER)
    run("neuron-1", "identity.set_commitment", NETUID, [(1, b"raw")])
    for mechanism in range(2):
        run("neuron-0", "weights.commit_mechanism_weights", NETUID, mechanism, bytes(32))
        index = mechanism_index(NETUID, mechanism)
        append_timelocked(state, index, 0, TimelockedCommit(HOT, 1, b"sealed", 9))
    state.key_table(SUBNET_SWAPS).open(OF_SUBNET + ALICE)
    state.add("subnets/alpha_out", NETUID, 5 * TAO)
    accrue_root_dividend(state, NETUID, AUTHORITY, 5 * TAO)
    adjust_root_claims(state, AUTHORITY, BOB, TAO)
    world.set_subnet(NETUID, protocol_alpha=3 * TAO, pending_server=7, pending_owner_cut=8, epoch_index=9)
    assert world.adds_up()
    return world


def rows_of(state: State, netuid: int) -> dict[str, int]:
    """How many rows, records and columns a subnet has by their place."""
    prefix = netuid.to_bytes(2, "big")
    found = {name: state.key_table(name).count(OF_NETUID, prefix) for name in TABLES}
    records = [key for key, _ in state.blobs(RECORDS).items()]
    found |= {tag.name: sum(key[:3] == bytes([tag]) + prefix for key in records) for tag in TAGS}
    sealed = [key for key, _ in state.blobs(TIMELOCKED).items()]
    for mechanism in range(2):
        index = mechanism_index(netuid, mechanism).to_bytes(2, "big")
        commits = sum(key[:3] == bytes([RecordTag.WEIGHT_COMMITS]) + index for key in records)
        found[f"commits/{mechanism}"] = commits
        found[f"timelocked/{mechanism}"] = sum(key[:2] == index for key in sealed)
        found[f"columns/{mechanism}"] = len(state.names(f"sn/{netuid}/{mechanism}/"))
    return found


def test_dissolution_leaves_no_row_of_the_subnet(world: StakeWorld) -> None:
    assert all(rows_of(world.state, NETUID).values())
    other = rows_of(world.state, 1)
    events = world.run("alice", "admin.execute", *world.chain.order("sudo_dissolve_network", NETUID))
    assert names(events) == ["NetworkRemoved", "ParameterSet"]
    assert not any(rows_of(world.state, NETUID).values())
    assert rows_of(world.state, 1) == other
    assert world.state.key_table(AUTO_STAKES).count(OF_NETUID, OF_SUBNET) == 1
    for spec in NEURONS:
        rows = world.state.array(spec.name)[NETUID * NEURON_STRIDE : (NETUID + 1) * NEURON_STRIDE]
        assert not rows.any(), spec.name
    kept = {f"subnets/{name}" for name in (*INHERITED, "reused")}
    left = [spec.name for spec in SUBNETS if world.state.array(spec.name)[NETUID].any() and spec.name not in kept]
    assert left == []


def test_dissolution_pays_the_reserve_to_stakers_and_recycles_the_rest(world: StakeWorld) -> None:
    pool, protocol = read_pool(world.state, NETUID), 3 * TAO
    held = {key: [world.held(key, NETUID, hotkey) for hotkey in hotkeys] for key, hotkeys in HOLDINGS.items()}
    total = sum(sum(amounts) for amounts in held.values()) + protocol
    world.set_subnet(NETUID, account=world.number("subnets/account", NETUID) + 77)
    world.state.add("chain/issuance", 0, 77)
    world.state.add("chain/minted", 0, 77)
    free = {key: world.free(key) for key in held}
    issuance, stake = world.number("chain/issuance", 0), world.number("chain/total_stake", 0)
    dissolve_subnet(world.state, world.ctx, NETUID)
    paid = {key: world.free(key) - free[key] for key in held}
    for key, amounts in held.items():
        assert 0 <= paid[key] - sum(pool.tao * amount // total for amount in amounts) <= len(amounts)
    assert world.number("chain/issuance", 0) == issuance + sum(paid.values()) - pool.tao - 77
    assert world.number("chain/total_stake", 0) == stake - pool.tao
    assert world.adds_up()


HOLDINGS = {ALICE: [account(f"neuron-{n}") for n in range(4)], BOB: [HOT], CAROL: [HOT_2]}
"""Who holds stake on subnet 2 behind whom."""


def test_dissolution_shares_the_reserve_as_the_spec_does() -> None:
    """DTAO 12.17, by an order of governance. The subnet is of the genesis: its pool's alpha claims nothing."""
    people = sorted([("alice", 333), ("bob", 333), ("carol", 335)], key=lambda person: account(person[0]))
    neurons = tuple(
        NeuronSpec(account(f"neuron-{n}"), account(person), Rao(alpha), 0, 0, False)
        for n, (person, alpha) in enumerate(people)
    )
    small = subnet(neurons=0, tao_reserve=Rao(1000), started=False)
    chain = DevChain(dev_spec(subnets=(replace(small, neurons=neurons),)))
    chain.state.write("subnets/protocol_alpha", 1, 500)
    chain.state.add("subnets/alpha_out", 1, 500)
    before = {person: free_balance(chain.state, account(person)) for person, _ in people}
    issuance = int(chain.state.read("chain/issuance", 0))
    done = chain.send("alice", "admin.execute", *chain.order("sudo_dissolve_network", 1))
    assert event_names(done.events) == ["NetworkRemoved", "ParameterSet"]
    before["alice"] -= done.fee
    paid = {person: free_balance(chain.state, account(person)) - before[person] for person, _ in people}
    assert paid == {"alice": 222, "bob": 222, "carol": 223}
    assert int(chain.state.read("chain/issuance", 0)) == issuance - 333
    check_conservation(chain)


def test_pools_alpha_of_a_subnet_that_registered_later_claims_its_part_for_nobody() -> None:
    chain = DevChain()
    assert chain.attempt("bob", "subnet.register_network", account("bob/hot")) == "ok"
    assert chain.attempt("bob", "subnet.start_call", 2) == "ok"
    assert chain.attempt("carol", "stake.add_stake", account("bob/hot"), 2, 10 * TAO) == "ok"
    for name in ("first_emission_block", "protocol_alpha"):
        chain.state.write(f"subnets/{name}", 2, 0)
    pool, held = read_pool(chain.state, 2), position(chain.state, 2, account("bob/hot"), CAROL)
    free, issuance = free_balance(chain.state, CAROL), int(chain.state.read("chain/issuance", 0))
    account_of = parameter(chain.state, 2, "account")
    dissolve_subnet(chain.state, chain.context(), 2)
    share = pool.tao * held // (held + pool.alpha)
    assert free_balance(chain.state, CAROL) - free in (share, share + 1)
    assert issuance - int(chain.state.read("chain/issuance", 0)) in (account_of - share, account_of - share - 1)
    check_conservation(chain)


def test_share_worth_nothing_claims_with_itself(world: StakeWorld) -> None:
    """DTAO 13.14: what is left of a share after all its value was taken."""
    state = world.state
    decrease_position(state, NETUID, HOT, BOB, world.held(BOB, NETUID))
    row = state.key_table(POSITIONS).open(position_key(NETUID, HOT, BOB))
    dust = from_int(7 * TAO)
    state.write_wide("positions/share_mantissa", row, dust.mantissa)
    state.write("positions/share_exponent", row, dust.exponent)
    stake = state.key_table(STAKES).open(stake_key(NETUID, HOT))
    state.write("stakes/amount", stake, 0)
    assert world.held(BOB, NETUID) == 0
    free = world.free(BOB)
    dissolve_subnet(state, world.ctx, NETUID)
    assert world.free(BOB) > free


def test_share_that_its_owner_cannot_receive_is_recycled() -> None:
    neurons = (NeuronSpec(HOT, account("nobody"), Rao(TAO), 0, 0, False),)
    base = replace(subnet(neurons=0, tao_reserve=Rao(499), started=False), neurons=neurons)
    for reserve, paid in ((499, 0), (500, 500)):
        chain = DevChain(dev_spec(subnets=(replace(base, tao_reserve=Rao(reserve)),)))
        dissolve_subnet(chain.state, chain.context(), 1)
        assert free_balance(chain.state, account("nobody")) == paid
        check_conservation(chain)


def test_dissolution_loses_root_dividends_nobody_claimed(world: StakeWorld) -> None:
    staked = [position(world.state, ROOT, AUTHORITY, key) for key in (BOB, CAROL)]
    dissolve_subnet(world.state, world.ctx, NETUID)
    assert root_rates(world.state, AUTHORITY) == []
    assert [position(world.state, ROOT, AUTHORITY, key) for key in (BOB, CAROL)] == staked


def test_chain_goes_on_after_a_subnet_is_dissolved() -> None:
    chain = DevChain(dev_spec(subnets=(subnet(), replace(subnet(), netuid=Netuid(2)))))
    chain.skip(3)
    assert chain.command("sudo_dissolve_network", 2) == "ok"
    chain.skip(12)
    assert [epoch.netuid for outcome in chain.outcomes[3:] for epoch in outcome.epochs] == [1]
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    issuance = int(chain.state.read("chain/issuance", 0))
    chain.skip(3)
    assert int(chain.state.read("chain/issuance", 0)) == issuance  # DTAO 13.4: nobody earns
    check_conservation(chain)


# --- the next subnet of this number -----------------------------------------------------------------------------------


def test_next_subnet_of_the_number_inherits_six_settings_and_nothing_else(world: StakeWorld) -> None:
    settings = {
        "recycle_or_burn": 1,
        "owner_cut_enabled": 0,
        "root_claim_threshold": 123,
        "min_non_immune_uids": 3,
        "min_allowed_uids": 1,
        "min_childkey_take": 77,
    }
    world.set_subnet(NETUID, **settings, kappa=5, tempo=77, reveal_period_epochs=9)
    dissolve_subnet(world.state, world.ctx, NETUID)
    world.run("bob", "subnet.register_network", account("bob/hot"))
    assert {name: world.number(f"subnets/{name}", NETUID) for name in settings} == settings
    chosen = DEV.hyperparameters
    rest = {name: world.number(f"subnets/{name}", NETUID) for name in ("kappa", "tempo", "reveal_period_epochs")}
    assert rest == {name: getattr(chosen, name) for name in rest}
    assert world.of_subnet(NETUID, "neurons", "mechanism_count", "epoch_index", "protocol_alpha") == [1, 1, 0, 0]
    assert world.state.key_table(AUTO_STAKES).count(OF_NETUID, OF_SUBNET) == 1


def test_first_subnet_of_a_number_inherits_nothing(world: StakeWorld) -> None:
    world.run("bob", "subnet.register_network", account("bob/hot"))
    assert world.number("subnets/min_allowed_uids", 3) == DEV.hyperparameters.min_allowed_uids == 4


# --- who has to go ----------------------------------------------------------------------------------------------------

IMMUNITY = DEV.parameters.network_immunity_period


@pytest.mark.parametrize(
    ("prices", "registered", "victim"),
    [
        ((5, 4, 6), (0, 0, 0), 2),
        ((5, 5, 5), (9, 7, 8), 2),
        ((5, 5, 5), (8, 7, 7), 2),
        ((5, 5, 4), (9, 9, 11), 1),
        ((5, 0, 0), (10, 11, 12), 1),
        ((1, 1, 1), (11, 12, 13), None),
    ],
)
def test_victim_has_the_lowest_price_then_age_then_number_and_is_not_immune(
    prices: tuple[int, ...], registered: tuple[int, ...], victim: int | None
) -> None:
    chain = DevChain(dev_spec(subnets=tuple(replace(subnet(), netuid=Netuid(n)) for n in (1, 2, 3))))
    for netuid, price, at in zip((1, 2, 3), prices, registered, strict=True):
        chain.state.write_wide("subnets/moving_price", netuid, price)
        chain.state.write("subnets/registered_at", netuid, at)
    assert prune_victim(chain.state, 10 + IMMUNITY) == victim


def test_new_subnet_at_the_limit_takes_the_place_of_the_victim() -> None:
    chain = DevChain(dev_spec(subnets=tuple(replace(subnet(), netuid=Netuid(n)) for n in (1, 2, 3))))
    chain.state.write("global/subnet_limit", 0, 3)
    chain.skip(IMMUNITY - 2)
    assert chain.attempt("bob", "subnet.register_network", account("bob/hot")) == "SubnetLimitReached"
    chain.state.write_wide("subnets/moving_price", 2, 0)
    chain.state.write("subnets/first_emission_block", 2, 0)
    outcome = chain.send("bob", "subnet.register_network", account("bob/hot"))
    assert event_names(outcome.events)[0] == "NetworkRemoved"
    assert outcome.events[-1].arguments[0] == 2
    assert netuids(chain.state) == [1, 2, 3]
    assert [parameter(chain.state, 2, name) for name in ("registered_at", "neurons", "alpha_out")] == [IMMUNITY, 1, 0]
    check_conservation(chain)


def test_new_subnet_below_the_limit_takes_the_lowest_free_number() -> None:
    chain = DevChain(dev_spec(subnets=tuple(replace(subnet(), netuid=Netuid(n)) for n in (1, 3))))
    assert chain.attempt("bob", "subnet.register_network", account("bob/hot")) == "ok"
    assert netuids(chain.state) == [1, 2, 3]
