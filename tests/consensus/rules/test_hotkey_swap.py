"""Hotkeys that get another key: the checks in order, what moves, and what must not change on the way (DTAO 9)."""

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, packed, subnet
from ledger_snapshot import all_pools, all_positions, with_hotkey_renamed
from stake_world import ALICE, BOB, CAROL, StakeWorld, names, second_subnet
from yumad.consensus.block import Body
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.children import children_of, parents_of, pending_children, store_pending_children
from yumad.consensus.rules.v1.commitments import commitment_of
from yumad.consensus.rules.v1.dtao.distribution import Relation
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.lock_totals import read_total, total_key
from yumad.consensus.rules.v1.locks import stored_lock
from yumad.consensus.rules.v1.markets import is_system_account
from yumad.consensus.rules.v1.neurons import uid_of
from yumad.consensus.rules.v1.records import RecordTag, get_record
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, owed_dividend, root_rates
from yumad.consensus.rules.v1.schema_tables import AUTO_STAKES, HOTKEY_SUBNETS
from yumad.consensus.rules.v1.stakes import (
    ROOT,
    grow_stake,
    hotkey_owner,
    hotkey_stake,
    position,
    stake_key,
)
from yumad.consensus.rules.v1.subnets import owner_hotkey
from yumad.consensus.rules.v1.takes import delegate_take
from yumad.consensus.rules.v1.weight_commits import append_commit, read_commits
from yumad.consensus.types import U64_MAX, Hash32

SWAP, SWAP_V2 = "keys.swap_hotkey", "keys.swap_hotkey_v2"
N0, N1, N2, N3 = (account(f"neuron-{n}") for n in range(4))
FRESH = account("fresh")
UNKNOWN = account("unknown")
COST, COST_ON_SUBNET = DEV.parameters.key_swap_cost, DEV.parameters.key_swap_on_subnet_cost
INTERVAL = DEV.parameters.hotkey_swap_on_subnet_interval
TX_LIMIT = DEV.parameters.tx_rate_limit
PEER = b"\x00\x24" + bytes(36)

Arrange = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


@pytest.fixture
def world() -> StakeWorld:
    """Bob and alice behind neuron-1 on subnets 1 and 2 and on root, with dividends from subnet 1 not yet claimed."""
    world = StakeWorld()
    for person, netuid in (("bob", 1), ("bob", 2), ("bob", ROOT), ("alice", ROOT), ("carol", 1)):
        world.run(person, "stake.add_stake", N1, netuid, 7 * TAO)
    grow_stake(world.state, 1, N1, 1_234_567)  # shares and stake are not the same number
    world.state.add("subnets/alpha_out", 1, 10 * TAO)
    accrue_root_dividend(world.state, 1, N1, 3 * TAO)
    return world


# --- checks -----------------------------------------------------------------------------------------------------------


def nothing(chain: DevChain) -> None:
    pass


def swapped(old: bytes, new: bytes, netuid: int | None = None) -> Arrange:
    def arrange(chain: DevChain) -> None:
        assert chain.attempt("alice", SWAP, old, new, netuid) == "ok"

    return arrange


def swapped_a_while_ago(chain: DevChain) -> None:
    swapped(N1, FRESH)(chain)
    chain.skip(TX_LIMIT)


def old_enough(chain: DevChain) -> None:
    """A chain on which single-subnet swaps are possible."""
    chain.skip(INTERVAL)


def associated(chain: DevChain) -> None:
    assert chain.attempt("bob", "keys.try_associate_hotkey", account("bob-hot")) == "ok"


def staked_on_root(chain: DevChain) -> None:
    chain.skip(INTERVAL)
    assert chain.attempt("alice", "keys.try_associate_hotkey", FRESH) == "ok"
    assert chain.attempt("bob", "stake.add_stake", FRESH, ROOT, TAO) == "ok"


def with_free_balance(chain: DevChain, balance: int) -> None:
    """Leave alice with so much, once the fee of the next call is paid."""
    fee = chain.spec.fees.of(0x0601, len(chain.sign("alice", SWAP, N1, FRESH, None)))
    own = chain.spec.fees.of(0x0000, len(chain.sign("alice", "balances.transfer_keep_alive", BOB, 900 * TAO)))
    free = int(chain.state.read("accounts/free", chain.state.accounts().find(ALICE, chain.height)))
    amount = free - balance - int(fee) - int(own)
    assert chain.attempt("alice", "balances.transfer_keep_alive", BOB, amount) == "ok"


def a_rao_too_poor(chain: DevChain) -> None:
    with_free_balance(chain, COST + chain.spec.existential_deposit - 1)


def too_poor_for_one_subnet(chain: DevChain) -> None:
    chain.skip(INTERVAL)
    with_free_balance(chain, COST_ON_SUBNET)


SYSTEM = b"modlsubtensr" + (1).to_bytes(2, "little") + bytes(18)

FAILURES: list[tuple[str, Arrange, str, tuple[Any, ...]]] = [
    ("NonAssociatedColdKey", nothing, "bob", (N1, N1, 9)),
    ("NonAssociatedColdKey", nothing, "alice", (UNKNOWN, FRESH, None)),
    ("NonAssociatedColdKey", associated, "alice", (N1, account("bob-hot"), None)),
    ("NewHotKeyIsSameWithOld", nothing, "alice", (N1, N1, 9)),
    ("SubnetNotExists", nothing, "alice", (N1, N2, 9)),
    ("HotKeyAlreadyRegisteredInSubNet", nothing, "alice", (N1, N2, None)),
    ("HotKeyAlreadyRegisteredInSubNet", swapped(N1, FRESH), "alice", (N2, N3, 1)),
    ("HotKeySetTxRateLimitExceeded", swapped(N1, FRESH), "alice", (FRESH, N1, None)),
    ("NewHotKeyNotCleanForRootSwap", staked_on_root, "alice", (N1, FRESH, None)),
    ("NewHotKeyNotCleanForRootSwap", staked_on_root, "alice", (N1, FRESH, ROOT)),
    ("HotKeySwapOnSubnetIntervalNotPassed", swapped_a_while_ago, "alice", (N2, N1, None)),
    ("HotKeySwapOnSubnetIntervalNotPassed", nothing, "alice", (N1, FRESH, 1)),
    ("NotEnoughBalanceToPaySwapHotKey", a_rao_too_poor, "alice", (N1, FRESH, None)),
    ("NotEnoughBalanceToPaySwapHotKey", too_poor_for_one_subnet, "alice", (N1, FRESH, 1)),
    ("HotkeyIsAuthority", nothing, "authority-0/cold", (account("authority-0/hot"), FRESH, None)),
]


@pytest.mark.parametrize("call", [SWAP, SWAP_V2])
@pytest.mark.parametrize(
    ("error", "arrange", "signer", "args"),
    FAILURES,
    ids=[f"{error}-{number}" for number, (error, *_) in enumerate(FAILURES)],
)
def test_call_that_fails_a_check_reports_it(
    call: str, error: str, arrange: Arrange, signer: str, args: tuple[Any, ...]
) -> None:
    funded = (*dev_spec().balances, (account("authority-0/cold"), TAO))
    chain = DevChain(dev_spec(balances=tuple(sorted(funded))))
    arrange(chain)
    assert chain.attempt(signer, call, *args, *([True] if call == SWAP_V2 else [])) == error
    check_conservation(chain)


def test_swap_to_the_address_of_a_subnets_account_is_refused(chain: DevChain) -> None:
    assert is_system_account(SYSTEM)
    assert chain.attempt("alice", SWAP, N1, SYSTEM, None) == "CannotUseSystemAccount"
    assert chain.attempt("alice", SWAP_V2, N1, SYSTEM, None, True) == "CannotUseSystemAccount"


def test_next_swap_needs_more_blocks_than_the_limit(chain: DevChain) -> None:
    swapped(N1, FRESH)(chain)
    assert chain.command("sudo_set_tx_rate_limit", INTERVAL + 5) == "ok"
    chain.skip(INTERVAL + 3)
    assert chain.attempt("alice", SWAP, N2, N1, None) == "HotKeySetTxRateLimitExceeded"  # exactly the limit later
    assert chain.attempt("alice", SWAP, N2, N1, None) == "ok"


def test_limit_of_zero_lets_two_swaps_stand_in_one_block(chain: DevChain) -> None:
    assert chain.command("sudo_set_tx_rate_limit", 0) == "ok"
    assert chain.attempt("alice", "keys.try_associate_hotkey", FRESH) == "ok"
    there = chain.sign("alice", SWAP, FRESH, UNKNOWN, None)
    back = chain.sign("alice", SWAP, UNKNOWN, account("third"), None, nonce=chain.nonce("alice") + 1)
    assert [outcome.code for outcome in chain.block(there, back).transactions] == [0, 0]


def test_first_swap_on_one_subnet_waits_for_a_chain_older_than_the_interval(chain: DevChain) -> None:
    """Gotcha 27: 0 + interval < block also for the first."""
    chain.skip(INTERVAL - 1)
    assert chain.attempt("alice", SWAP, N1, FRESH, 1) == "HotKeySwapOnSubnetIntervalNotPassed"
    assert chain.attempt("alice", SWAP, N1, FRESH, 1) == "ok"


def test_whole_swap_counts_only_where_the_key_is_a_member_or_has_children() -> None:
    """One where it is merely a child or has stake is not counted, and a swap there stays possible."""
    chain = DevChain(dev_spec(subnets=(subnet(), second_subnet())))
    chain.skip(INTERVAL)
    assert chain.attempt("alice", "keys.try_associate_hotkey", FRESH) == "ok"
    assert chain.attempt("bob", "stake.add_stake", FRESH, 2, TAO) == "ok"
    assert chain.attempt("alice", SWAP, N1, account("other"), 2) == "ok"
    chain.skip(TX_LIMIT)
    assert chain.attempt("alice", SWAP, FRESH, account("third"), None) == "ok"  # no member of subnet 2
    chain.skip(TX_LIMIT)
    assert chain.attempt("alice", SWAP, N2, account("fourth"), None) == "HotKeySwapOnSubnetIntervalNotPassed"


@pytest.mark.parametrize(("netuid", "cost"), [(None, COST), (1, COST_ON_SUBNET)])
def test_price_is_recycled(chain: DevChain, netuid: int | None, cost: int) -> None:
    chain.skip(INTERVAL)
    mark = chain.state.begin()
    chain.rules.apply_block(chain.state, chain.context(), Body(None, (), ()), False)
    without = int(chain.state.read("chain/recycled", 0))
    chain.state.rollback(mark)
    swapped(N1, FRESH, netuid)(chain)
    assert int(chain.state.read("chain/recycled", 0)) == without + cost
    check_conservation(chain)


# --- identity and stake -----------------------------------------------------------------------------------------------


def test_whole_swap_names_both_keys(chain: DevChain) -> None:
    outcome = chain.send("alice", SWAP, N1, FRESH, None)
    assert event_names(outcome.events) == ["HotkeySwapped"]
    assert outcome.events[0].arguments == (ALICE, N1, FRESH)
    assert hotkey_owner(chain.state, FRESH) == hotkey_owner(chain.state, N1) == ALICE


def test_swap_on_one_subnet_names_it_and_leaves_the_others() -> None:
    chain = DevChain(dev_spec(subnets=(subnet(), second_subnet())))
    chain.skip(INTERVAL)
    outcome = chain.send("alice", SWAP, N1, FRESH, 2)
    assert event_names(outcome.events) == ["HotkeySwappedOnSubnet"]
    assert outcome.events[0].arguments == (ALICE, N1, FRESH, 2)
    assert (uid_of(chain.state, 1, N1), uid_of(chain.state, 2, N1)) == (1, None)
    assert (uid_of(chain.state, 1, FRESH), uid_of(chain.state, 2, FRESH)) == (None, 1)
    assert hotkey_stake(chain.state, 1, N1) > 0
    assert hotkey_stake(chain.state, 2, N1) == 0
    check_conservation(chain)


def test_uid_keeps_weights_bonds_and_last_update(chain: DevChain) -> None:
    assert chain.attempt("neuron-1", "weights.set_weights", 1, packed([2]), packed([9]), 0) == "ok"
    rows = [chain.state.array(f"sn/1/0/{name}")[1].tolist() for name in ("weights", "last_update", "bonds")]
    swapped(N1, FRESH)(chain)
    assert (uid_of(chain.state, 1, FRESH), uid_of(chain.state, 1, N1)) == (1, None)
    assert rows == [chain.state.array(f"sn/1/0/{name}")[1].tolist() for name in ("weights", "last_update", "bonds")]


def test_all_stake_moves_with_its_shares(world: StakeWorld) -> None:
    positions, pools = all_positions(world.state), all_pools(world.state)
    assert names(world.run("alice", SWAP, N1, FRESH, None)) == ["HotkeySwapped"]
    assert all_positions(world.state) == with_hotkey_renamed(positions, N1, FRESH)
    assert all_pools(world.state) == {(n, FRESH if h == N1 else h): pool for (n, h), pool in pools.items()}


def test_root_dividends_follow_the_root_stake(world: StakeWorld) -> None:
    [(netuid, rate)] = root_rates(world.state, N1)
    owed = [owed_dividend(world.state, netuid, N1, holder, rate) for holder in (ALICE, BOB)]
    assert min(owed) > 0
    world.run("alice", SWAP, N1, FRESH, None)
    assert root_rates(world.state, N1) == []
    assert root_rates(world.state, FRESH) == [(netuid, rate)]
    assert [owed_dividend(world.state, netuid, FRESH, holder, rate) for holder in (ALICE, BOB)] == owed


def test_swap_on_another_subnet_leaves_root_dividends(world: StakeWorld) -> None:
    world.chain.skip(INTERVAL)
    rates = root_rates(world.state, N1)
    world.run("alice", SWAP, N1, FRESH, 1)
    assert root_rates(world.state, N1) == rates
    assert root_rates(world.state, FRESH) == []


def test_stake_that_is_kept_stays_with_its_dividends(world: StakeWorld) -> None:
    positions, rates = all_positions(world.state), root_rates(world.state, N1)
    world.run("alice", SWAP_V2, N1, FRESH, None, True)
    assert all_positions(world.state) == positions
    assert (root_rates(world.state, N1), root_rates(world.state, FRESH)) == (rates, [])
    assert uid_of(world.state, 1, FRESH) == 1


def test_v2_without_keeping_stake_does_what_the_first_version_does() -> None:
    roots = []
    for call, more in ((SWAP, ()), (SWAP_V2, (False,))):
        world = StakeWorld()
        world.run("alice", call, N1, FRESH, None, *more)
        roots.append(world.state.root())
    assert roots[0] == roots[1]


def test_key_whose_root_stake_left_cannot_give_its_rates_to_one_that_has_stake(world: StakeWorld) -> None:
    """Its rates would count for stake that never earned them."""
    for person, holder in (("bob", BOB), ("alice", ALICE)):
        world.run(person, "stake.remove_stake", N1, ROOT, world.held(holder, ROOT, N1))
    assert hotkey_stake(world.state, ROOT, N1) == 0
    assert root_rates(world.state, N1) != []
    world.run("alice", "keys.try_associate_hotkey", FRESH)
    world.run("carol", "stake.add_stake", FRESH, ROOT, 50 * TAO)
    assert world.attempt("alice", SWAP, N1, FRESH, None) == "NewHotKeyNotCleanForRootSwap"


def test_holders_buy_into_the_stake_that_is_behind_the_new_key(world: StakeWorld) -> None:
    world.run("alice", "keys.try_associate_hotkey", FRESH)
    world.run("carol", "stake.add_stake", FRESH, 1, 5 * TAO)
    grow_stake(world.state, 1, FRESH, 7_654_321)
    world.state.add("subnets/alpha_out", 1, 7_654_321)
    before = {holder: world.held(holder, 1, N1) + world.held(holder, 1, FRESH) for holder in (ALICE, BOB, CAROL)}
    whole = hotkey_stake(world.state, 1, N1) + hotkey_stake(world.state, 1, FRESH)
    world.run("alice", SWAP, N1, FRESH, None)
    assert hotkey_stake(world.state, 1, FRESH) == whole
    assert hotkey_stake(world.state, 1, N1) == 0
    assert [key for key in all_positions(world.state) if key[1] == N1] == []
    for holder, held in before.items():
        assert held - 1 <= world.held(holder, 1, FRESH) <= held + 1


def test_shares_that_are_worth_nothing_give_way_to_the_stake_that_comes(world: StakeWorld) -> None:
    world.run("alice", "keys.try_associate_hotkey", FRESH)
    world.run("carol", "stake.add_stake", FRESH, 1, 5 * TAO)
    world.state.add("subnets/alpha_out", 1, -world.held(CAROL, 1, FRESH))
    pool_row = world.state.key_table("stakes").find(stake_key(1, FRESH))
    assert pool_row is not None
    world.state.write("stakes/amount", pool_row, 0)
    before = {holder: world.held(holder, 1, N1) for holder in (ALICE, BOB, CAROL)}
    world.run("alice", SWAP, N1, FRESH, None)
    assert {holder: world.held(holder, 1, FRESH) for holder in before} == before


def test_swap_there_and_back_gives_the_stake_that_was(world: StakeWorld) -> None:
    positions = all_positions(world.state)
    world.run("alice", SWAP, N1, FRESH, None)
    world.state.write("coldkeys/hotkey_swapped_at", world.state.key_table("coldkeys").open(ALICE), 0)
    for key, _ in world.state.key_table("subnet_swaps").items():
        world.state.key_table("subnet_swaps").release(key)
    world.run("alice", SWAP, FRESH, N1, None)
    assert all_positions(world.state) == positions


# --- what else a hotkey has -------------------------------------------------------------------------------------------


def test_what_it_published_follows(chain: DevChain) -> None:
    axon = (1, 1, PEER, packed([]))
    chain.block(
        chain.sign("neuron-1", "serving.serve_axon_tls", *axon, b"\1key"),
        chain.sign("neuron-1", "serving.serve_prometheus", *axon[:3], nonce=1),
        chain.sign("neuron-1", "identity.set_commitment", 1, [[1, b"data"]], nonce=2),
    )
    tags = (RecordTag.AXON, RecordTag.PROMETHEUS, RecordTag.CERTIFICATE, RecordTag.COMMITMENT)
    published = [get_record(chain.state, tag, 1, N1) for tag in tags]
    assert None not in published
    swapped(N1, FRESH)(chain)
    assert [get_record(chain.state, tag, 1, FRESH) for tag in tags] == published
    assert [get_record(chain.state, tag, 1, N1) for tag in tags] == [None] * 4
    assert commitment_of(chain.state, 1, FRESH) is not None


def test_space_used_for_commitments_follows(chain: DevChain) -> None:
    assert chain.attempt("neuron-1", "identity.set_commitment", 1, [[1, b"data"]]) == "ok"
    swapped(N1, FRESH)(chain)
    row = chain.state.key_table(HOTKEY_SUBNETS).find(stake_key(1, FRESH))
    assert row is not None
    assert chain.state.read("hotkey_subnets/commitment_space", row) == 100


def test_hash_commits_follow(chain: DevChain) -> None:
    append_commit(chain.state, 1, 0, N1, Hash32(bytes(32)), 1)
    [commit] = read_commits(chain.state, 1, N1)
    swapped(N1, FRESH)(chain)
    assert (read_commits(chain.state, 1, FRESH), read_commits(chain.state, 1, N1)) == ([commit], [])


def test_take_and_the_choice_about_new_subnets_follow(chain: DevChain) -> None:
    assert chain.attempt("alice", "stake.decrease_take", N1, 500) == "ok"
    chain.state.write("hotkeys/no_auto_parent", chain.state.key_table("hotkeys").open(N1), 1)
    swapped(N1, FRESH)(chain)
    assert delegate_take(chain.state, FRESH) == 500
    assert delegate_take(chain.state, N1) == delegate_take(chain.state, UNKNOWN)
    row = chain.state.key_table("hotkeys").find(FRESH)
    assert row is not None
    assert chain.state.read("hotkeys/no_auto_parent", row) == 1
    assert chain.attempt("alice", "stake.increase_take", FRESH, 501) == "DelegateTxRateLimitExceeded"


def test_take_stays_when_only_one_subnet_is_swapped(chain: DevChain) -> None:
    old_enough(chain)
    assert chain.attempt("alice", "stake.decrease_take", N1, 500) == "ok"
    swapped(N1, FRESH, 1)(chain)
    assert delegate_take(chain.state, N1) == 500


def test_childkey_take_follows_on_its_subnet(chain: DevChain) -> None:
    chain.skip(INTERVAL)
    assert chain.attempt("alice", "stake.set_childkey_take", N1, 1, 700) == "ok"
    swapped(N1, FRESH, 1)(chain)
    row = chain.state.key_table(HOTKEY_SUBNETS).find(stake_key(1, FRESH))
    assert row is not None
    assert chain.state.read("hotkey_subnets/childkey_take", row) == 700


def test_mining_income_goes_to_the_new_key_on_the_swapped_subnet_only() -> None:
    chain = DevChain(dev_spec(subnets=(subnet(), second_subnet())))
    chain.skip(INTERVAL)
    for netuid in (1, 2):
        assert chain.attempt("bob", "stake.set_coldkey_auto_stake_hotkey", netuid, N1) == "ok"
        assert chain.attempt("carol", "stake.set_coldkey_auto_stake_hotkey", netuid, N2) == "ok"
    swapped(N1, FRESH, 2)(chain)
    table = chain.state.key_table(AUTO_STAKES)
    chosen = {key: chain.state.read("auto_stakes/hotkey", row).tobytes() for key, row in table.items()}
    assert chosen == {
        stake_key(1, BOB): N1,
        stake_key(2, BOB): FRESH,
        stake_key(1, CAROL): N2,
        stake_key(2, CAROL): N2,
    }


def test_owner_hotkey_role_follows(chain: DevChain) -> None:
    swapped(N0, FRESH)(chain)
    assert owner_hotkey(chain.state, 1) == FRESH
    check_conservation(chain)


def test_lock_on_the_owners_hotkey_stays_in_the_owners_aggregate(chain: DevChain) -> None:
    assert chain.attempt("bob", "stake.add_stake", N0, 1, 10 * TAO) == "ok"
    assert chain.attempt("bob", "locks.lock_stake", N0, 1, 5 * TAO) == "ok"
    key = total_key(chain.state, 1, N0, perpetual=False)
    before = read_total(chain.state, key, chain.height)
    swapped(N0, FRESH)(chain)
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None and lock.hotkey == FRESH
    assert total_key(chain.state, 1, FRESH, perpetual=False) == key
    assert read_total(chain.state, key, chain.height) == before


# --- children ---------------------------------------------------------------------------------------------------------


def edge(chain: DevChain, parent: bytes, child: bytes, proportion: int = U64_MAX) -> None:
    row = chain.state.key_table("childkeys").open(stake_key(1, parent) + child)
    chain.state.write("childkeys/proportion", row, proportion)


def test_edges_at_both_ends_follow(chain: DevChain) -> None:
    edge(chain, N1, N2, 5)
    edge(chain, N3, N1, 6)
    swapped(N1, FRESH)(chain)
    assert children_of(chain.state, 1, FRESH) == [Relation(5, N2)]
    assert parents_of(chain.state, 1, FRESH) == [Relation(6, N3)]
    assert children_of(chain.state, 1, N1) == parents_of(chain.state, 1, N1) == []


def test_edge_between_both_keys_is_dropped(chain: DevChain) -> None:
    edge(chain, N1, FRESH)
    swapped(N1, FRESH)(chain)
    assert children_of(chain.state, 1, FRESH) == parents_of(chain.state, 1, FRESH) == []
    check_conservation(chain)


def test_waiting_sets_follow_at_both_ends(chain: DevChain) -> None:
    store_pending_children(chain.state, 1, N1, 99, [Relation(5, N2)])
    store_pending_children(chain.state, 1, N3, 98, [Relation(6, N1), Relation(7, N2)])
    swapped(N1, FRESH)(chain)
    assert pending_children(chain.state, 1, FRESH) == (99, [Relation(5, N2)])
    assert pending_children(chain.state, 1, N1) is None
    assert pending_children(chain.state, 1, N3) == (98, [Relation(6, FRESH), Relation(7, N2)])


@pytest.mark.parametrize(
    ("parent", "children"),
    [(N1, [FRESH]), (FRESH, [N1]), (N3, [N1, FRESH])],
    ids=["own-child", "own-parent", "named-twice"],
)
def test_waiting_set_that_would_make_no_sense_is_dropped(chain: DevChain, parent: bytes, children: list[Any]) -> None:
    store_pending_children(chain.state, 1, parent, 99, [Relation(1, child) for child in children])
    swapped(N1, FRESH)(chain)
    assert [pending_children(chain.state, 1, key) for key in (N1, N3, FRESH)] == [None] * 3


def test_waiting_set_stays_well_formed_when_the_bytes_of_the_old_key_occur_across_two_children(chain: DevChain) -> None:
    """Children need no owner, so a hotkey can be chosen that lies across two of them in the stored form."""
    first, second = account("c1"), account("c2")
    children = [Relation(5, first), Relation(6, second)]
    store_pending_children(chain.state, 1, N3, 99, children)
    stored = get_record(chain.state, RecordTag.PENDING_CHILDREN, 1, N3)
    assert stored is not None
    at = stored.index(first) + 16
    crafted = stored[at : at + 32]
    assert chain.attempt("alice", "keys.try_associate_hotkey", crafted) == "ok"
    store_pending_children(chain.state, 1, crafted, 99, children)
    swapped(crafted, FRESH)(chain)
    assert pending_children(chain.state, 1, FRESH) == (99, children)


# --- afterwards -------------------------------------------------------------------------------------------------------


def test_chain_goes_on_soundly_after_swaps(chain: DevChain) -> None:
    assert chain.attempt("bob", "stake.add_stake", N1, 1, 10 * TAO) == "ok"
    assert chain.attempt("bob", "stake.add_stake", N1, ROOT, 10 * TAO) == "ok"
    chain.skip(INTERVAL)
    swapped(N1, FRESH)(chain)
    chain.skip(TX_LIMIT)
    assert chain.attempt("alice", SWAP_V2, FRESH, N1, ROOT, True) == "ok"
    chain.skip(INTERVAL)
    assert position(chain.state, 1, FRESH, BOB) > 0
    assert broken_invariants(chain.state, chain.spec) == []
    check_conservation(chain)


UNREACHABLE: dict[tuple[str, str], str] = {
    (call, "InsufficientLiquidity"): "a pool with value and shares so few that a purchase gives none needs shares below"
    " any exponent that trades leave"
    for call in (SWAP, SWAP_V2)
}
