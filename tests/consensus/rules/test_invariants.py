"""Every invariant of the ledger notices what it is there for, and rules that check themselves stop for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from dev_chain import DevChain, account, dev_spec
from yumad.consensus.block import Body
from yumad.consensus.rules.checked import BrokenInvariantError, checked_rules_for
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.stakes import increase_position, position_key, stake_key
from yumad.consensus.state.state import State
from yumad.consensus.types import Rao

HOTKEY = account("neuron-0")


def _more_free(state: State) -> None:
    row = state.accounts().find(account("alice"), 1)
    assert row is not None
    state.add("accounts/free", row, 1)


def _more_minted(state: State) -> None:
    state.add("chain/minted", 0, 1)


def _too_much_issued(state: State) -> None:
    for name in ("chain/issuance", "chain/minted", "chain/burned"):
        state.add(name, 0, 22 * 10**15)


def _reserve_not_held(state: State) -> None:
    state.add("subnets/tao_reserve", 1, 1)


def _weight_out_of_bounds(state: State) -> None:
    state.write("subnets/quote_weight", 1, 10**16 - 1)


def _alpha_above_its_cap(state: State) -> None:
    state.write("subnets/alpha_out", 1, 22 * 10**15)


def _root_numbers_apart(state: State) -> None:
    state.add("subnets/alpha_out", 0, 1)


def _stake_not_outstanding(state: State) -> None:
    increase_position(state, 1, HOTKEY, account("bob"), 10**15)


def _pending_not_outstanding(state: State) -> None:
    state.write("subnets/pending_owner_cut", 1, 10**15)


def _claims_not_outstanding(state: State) -> None:
    row = state.key_table("root_rates").open(stake_key(1, account("authority-0/hot")))
    state.write_wide("root_rates/rate", row, 10**6 << 32)


def _stake_on_no_subnet(state: State) -> None:
    increase_position(state, 7, HOTKEY, account("bob"), 1)


def _holders_own_more_than_the_pool(state: State) -> None:
    row = state.key_table("positions").find(position_key(1, HOTKEY, account("alice")))
    assert row is not None
    state.write("positions/share_exponent", row, state.read("positions/share_exponent", row) + 1)


def _share_without_a_pool(state: State) -> None:
    state.key_table("stakes").release(stake_key(1, HOTKEY))


def _empty_share(state: State) -> None:
    state.key_table("positions").open(position_key(1, HOTKEY, account("bob")))


def _empty_pool(state: State) -> None:
    state.key_table("stakes").open(stake_key(1, account("bob")))


def _stranger_in_the_root_index(state: State) -> None:
    state.append("root_index/coldkey", np.zeros(32, dtype=np.uint8))


def _lost_place_in_the_root_index(state: State) -> None:
    state.write("coldkeys/root_index", state.key_table("coldkeys").open(account("bob")), 1)


def _gap_in_the_uids(state: State) -> None:
    state.write("neurons/hotkey", 256 + 1, 0)


def _hotkey_twice(state: State) -> None:
    state.write("neurons/hotkey", 256 + 1, state.read("neurons/hotkey", 256))


def _own_child(state: State) -> None:
    state.key_table("childkeys").open(position_key(1, HOTKEY, HOTKEY))


def _more_than_everything_given(state: State) -> None:
    for name in ("alice", "bob"):
        row = state.key_table("childkeys").open(position_key(1, HOTKEY, account(name)))
        state.write("childkeys/proportion", row, (1 << 64) - 1)


def _lock_on_a_stranger(state: State) -> None:
    row = state.key_table("locks").open(stake_key(1, account("bob")))
    state.write("locks/mass", row, 1)


def _owners_locks_apart(state: State) -> None:
    state.key_table("lock_totals").open(b"\x00\x01\x00" + HOTKEY)


PLANTED: list[tuple[Callable[[State], None], str]] = [
    (_more_free, "is not free"),
    (_more_minted, "is not minted"),
    (_too_much_issued, "is above 21000000000000000"),
    (_reserve_not_held, "its reserve is"),
    (_weight_out_of_bounds, "quote weight of"),
    (_alpha_above_its_cap, "alpha outstanding"),
    (_root_numbers_apart, "expected the same number"),
    (_stake_not_outstanding, "exceed the outstanding alpha"),
    (_pending_not_outstanding, "exceed the outstanding alpha"),
    (_claims_not_outstanding, "exceed the outstanding alpha"),
    (_stake_on_no_subnet, "which does not exist"),
    (_holders_own_more_than_the_pool, "its holders own"),
    (_share_without_a_pool, "is in no pool"),
    (_empty_share, "is zero"),
    (_empty_pool, "is empty"),
    (_stranger_in_the_root_index, "is not there"),
    (_lost_place_in_the_root_index, "in a root index of"),
    (_gap_in_the_uids, "are not occupied"),
    (_hotkey_twice, "a hotkey twice"),
    (_own_child, "its own child"),
    (_more_than_everything_given, "parts of 2^64-1"),
    (_lock_on_a_stranger, "which is unknown"),
    (_owners_locks_apart, "in the aggregate"),
]


@pytest.fixture
def chain() -> DevChain:
    """A chain without a faucet, whose issuance is capped."""
    return DevChain(dev_spec(faucet_amount=Rao(0)))


def test_invariants_hold_of_genesis_and_after_blocks(chain: DevChain) -> None:
    assert broken_invariants(chain.state, chain.spec) == []
    chain.skip(25)
    assert broken_invariants(chain.state, chain.spec) == []


@pytest.mark.parametrize(("plant", "words"), PLANTED, ids=[plant.__name__.strip("_") for plant, _ in PLANTED])
def test_invariants_notice(chain: DevChain, plant: Callable[[State], None], words: str) -> None:
    plant(chain.state)
    assert any(words in failure for failure in broken_invariants(chain.state, chain.spec))


def test_checked_rules_stop_at_a_block_that_leaves_the_ledger_broken(chain: DevChain) -> None:
    rules = checked_rules_for(1)
    _more_free(chain.state)
    with pytest.raises(BrokenInvariantError, match="after block 1: issuance"):
        rules.apply_block(chain.state, chain.context(), Body(None, (), ()))
