"""A swap of keys changes the key and nothing else: the whole ledger before and after, to the byte (DTAO 9).

What cannot be told by a name alone is listed with each test: the price, the dates of the swap, and what an account
that gave its estate away keeps.
"""

from __future__ import annotations

import pytest
from dev_chain import account
from stake_world import ALICE, BOB, CAROL, StakeWorld
from whole_ledger import differences, renamed, whole_ledger
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.children import store_pending_children
from yumad.consensus.rules.v1.coldkey_swap import announced_swap, coldkey_hash
from yumad.consensus.rules.v1.commitments import publish
from yumad.consensus.rules.v1.dtao.distribution import Relation
from yumad.consensus.rules.v1.locks import add_lock
from yumad.consensus.rules.v1.neurons import place_neuron
from yumad.consensus.rules.v1.records import RecordTag
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, write_claimed
from yumad.consensus.rules.v1.serving import serve, store_certificate
from yumad.consensus.rules.v1.stakes import ROOT, grow_stake, position_key
from yumad.consensus.rules.v1.weight_commits import append_commit
from yumad.consensus.types import AccountId, Hash32

N0, N1, N2, N3 = (account(f"neuron-{n}") for n in range(4))
FRESH, HEIR = account("fresh"), account("heir")
PEER = b"\x00\x24" + bytes(36)
COST = int(DEV.parameters.key_swap_cost)
COST_ON_SUBNET = int(DEV.parameters.key_swap_on_subnet_cost)
HALF = 1 << 63


def edge(world: StakeWorld, netuid: int, parent: bytes, child: bytes) -> None:
    row = world.state.key_table("childkeys").open(position_key(netuid, parent, child))
    world.state.write("childkeys/proportion", row, HALF // 2)


def full_world(hotkey: AccountId) -> StakeWorld:
    """Everything that may hang on a hotkey hangs on this one, and on its owner alice."""
    world = StakeWorld()
    state, height = world.state, 1
    for person, netuid in (("alice", ROOT), ("bob", ROOT), ("alice", 1), ("bob", 1), ("carol", 1), ("bob", 2)):
        world.run(person, "stake.add_stake", hotkey, netuid, 7 * TAO)
    for netuid in (1, 2):
        grow_stake(state, netuid, hotkey, 1_234_567)  # shares and stake are not the same number
        state.add("subnets/alpha_out", netuid, 10 * TAO)
        accrue_root_dividend(state, netuid, hotkey, 3 * TAO)
        write_claimed(state, netuid, hotkey, BOB, 99)
        write_claimed(state, netuid, hotkey, ALICE, 77)
        edge(world, netuid, hotkey, N2)
        edge(world, netuid, N3, hotkey)
        store_pending_children(state, netuid, hotkey, 50, [Relation(5, N2)])
        store_pending_children(state, netuid, N2, 51, [Relation(6, N3), Relation(7, hotkey)])
        for person in ("alice", "bob"):
            world.run(person, "stake.set_coldkey_auto_stake_hotkey", netuid, hotkey)
        serve(state, RecordTag.AXON, netuid, hotkey, height=height, version=1, peer_id=PEER, protocols=(1, 2))
        serve(state, RecordTag.PROMETHEUS, netuid, hotkey, height=height, version=1, peer_id=PEER)
        store_certificate(state, netuid, hotkey, b"\1certificate")
        publish(state, netuid, hotkey, [(1, b"metadata")], 0, height)
        append_commit(state, netuid, 0, hotkey, Hash32(bytes([netuid]) * 32), height)
        world.run("alice", "stake.set_childkey_take", hotkey, netuid, 500)
    for coldkey, locked_on in ((ALICE, hotkey), (BOB, hotkey)):
        add_lock(state, 1, coldkey, locked_on, TAO, height)
    world.run("carol", "locks.set_perpetual_lock", 1, True)
    add_lock(state, 1, CAROL, hotkey, TAO, height)
    place_neuron(state, ROOT, 0, hotkey, height)
    world.run("alice", "stake.decrease_take", hotkey, 700)
    world.run("alice", "stake.set_auto_parent_delegation_enabled", hotkey, False)
    world.run("alice", "identity.set_identity", [b"Alice", *[b""] * 6])
    world.run("alice", "root.set_root_claim_type", 2, [2])
    world.run("alice", "locks.set_reject_locked_alpha", False)
    world.run("alice", "locks.set_perpetual_lock", 2, True)
    assert world.adds_up()
    return world


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


@pytest.mark.parametrize("hotkey", [N0, N1], ids=["owner hotkey", "other hotkey"])
def test_swapped_hotkey_leaves_the_ledger_as_it_was_under_another_name(hotkey: AccountId) -> None:
    world = full_world(hotkey)
    before = whole_ledger(world.state)
    world.run("alice", "keys.swap_hotkey", hotkey, FRESH, None)
    after = whole_ledger(world.state)
    expected = renamed(before, hotkey, FRESH)
    found = differences(expected, after)
    issued = world.number("chain/issuance", 0)
    assert found.pop("accounts") == {ALICE: (after["accounts"][ALICE] + COST, after["accounts"][ALICE])}
    assert found.pop("chain/issuance") == {b"": (u64(issued + COST), u64(issued))}
    assert found.pop("chain/recycled") == {b"": (u64(world.number("chain/recycled", 0) - COST), u64(COST))}
    assert found.pop("hotkeys") == {hotkey: (None, {"owner": ALICE})}  # the old key stays alice's, with nothing
    assert after["coldkeys"][ALICE] == expected["coldkeys"][ALICE] | {"hotkey_swapped_at": u64(1)}
    assert list(found.pop("coldkeys")) == [ALICE]
    swaps = {netuid.to_bytes(2, "big") + ALICE: (None, {"block": u64(1)}) for netuid in (ROOT, 1, 2)}
    assert found.pop("subnet_swaps") == swaps
    assert found == {}
    assert world.adds_up()


def test_hotkey_swapped_there_and_back_leaves_the_ledger_as_it_was() -> None:
    world = full_world(N1)
    world.state.write("global/tx_rate_limit", 0, 0)
    before = whole_ledger(world.state)
    world.run("alice", "keys.swap_hotkey", N1, FRESH, None)
    table = world.state.key_table("subnet_swaps")
    for key, _ in table.items():
        table.release(key)
    world.run("alice", "keys.swap_hotkey", FRESH, N1, None)
    assert sorted(differences(before, whole_ledger(world.state))) == [
        "accounts",
        "chain/issuance",
        "chain/recycled",
        "coldkeys",
        "hotkeys",
        "subnet_swaps",
    ]


def test_hotkey_swapped_on_one_subnet_keeps_its_name_elsewhere() -> None:
    world = full_world(N1)
    before = whole_ledger(world.state)
    world.chain.height = DEV.parameters.hotkey_swap_on_subnet_interval  # the interval is over, nothing has happened
    world.run("alice", "keys.swap_hotkey", N1, FRESH, 2)
    found = differences(before, whole_ledger(world.state))
    assert found.pop("hotkeys") == {FRESH: (None, {"owner": ALICE})}
    assert found.pop("neurons/hotkey") == {str(2 * 256 + 1).encode(): (N1, FRESH)}
    for name in ("accounts", "chain/issuance", "chain/recycled", "coldkeys", "subnet_swaps"):
        found.pop(name)
    here = {"auto_stakes", "childkeys", "hotkey_subnets", "positions", "records", "stakes"}
    assert set(found) == here
    for table in here:
        subnets = [int.from_bytes(key[1:3] if table == "records" else key[:2], "big") for key in found[table]]
        assert set(subnets) == {2}, table
    assert world.adds_up()


def test_hotkey_that_keeps_its_stake_moves_all_but_that() -> None:
    world = full_world(N1)
    before = whole_ledger(world.state)
    world.run("alice", "keys.swap_hotkey_v2", N1, FRESH, None, True)
    after = whole_ledger(world.state)
    for table in ("positions", "stakes", "root_rates", "root_claimed"):
        assert after[table] == before[table]
    moved = renamed(before, N1, FRESH)
    for table in ("auto_stakes", "childkeys", "hotkey_subnets", "locks", "lock_totals", "records", "neurons/hotkey"):
        assert after[table] == moved[table] != before[table]
    assert world.adds_up()


@pytest.mark.parametrize("coldkey", ["alice", "bob", "carol"])
def test_swapped_coldkey_leaves_the_ledger_as_it_was_under_another_name(coldkey: str) -> None:
    world = full_world(N1)
    old = account(coldkey)
    world.run(coldkey, "keys.announce_coldkey_swap", coldkey_hash(HEIR))
    world.state.write("global/coldkey_swap_announcement_delay", 0, 0)
    world.state.write("chain/height", 0, 1)  # accounts are reaped from block 1 on
    before = whole_ledger(world.state)
    world.run(coldkey, "keys.swap_coldkey_announced", HEIR)
    after = whole_ledger(world.state)
    found = differences(renamed(before, old, HEIR), after)
    announcement = {"swap_announced_at": u64(1), "swap_hash": coldkey_hash(HEIR)}
    chosen = after["coldkeys"][HEIR]
    assert found.pop("coldkeys") == {old: (None, {}), HEIR: (chosen | announcement, chosen)}
    assert found == {}
    assert announced_swap(world.state, HEIR) is announced_swap(world.state, old) is None
    assert world.adds_up()
