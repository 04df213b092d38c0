"""The working chain: executing, switching branches, building, finalising, and what a refusal leaves behind."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yumad.consensus.block import Block, Body, tx_root
from yumad.consensus.chain_spec import genesis_authority_set, genesis_hash
from yumad.consensus.chain_spec_toml import load_chain_spec_toml
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.effects import BlockRef
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.state.changes import merge_changes
from yumad.consensus.state.state import State
from yumad.consensus.transaction import encode_transaction, sign_transaction
from yumad.consensus.types import ZERO_HASH, Era, Height, InvalidError, Slot
from yumad.consensus.working_chain import (
    DivergenceError,
    RootMismatchError,
    UnknownParentError,
    WorkingChain,
)

SPEC = load_chain_spec_toml((Path(__file__).parents[1] / "data" / "small_chain.toml").read_text())
GENESIS = genesis_hash(SPEC)
AUTHORITIES = genesis_authority_set(SPEC, GENESIS)
TRANSFER = 0
"""balances.transfer_keep_alive."""

PEOPLE = ("alice", "bob", "carol")


def new_chain(**options):
    state = rules_for(1).build_genesis(SPEC)
    return WorkingChain(SPEC, GENESIS, state, BlockRef(GENESIS, Height(0), Slot(0), ZERO_HASH), **options)


@pytest.fixture
def chain():
    return new_chain()


def transfer(chain, sender="alice", nonce=0, amount=10**9, receiver="bob"):
    return encode_transaction(
        sign_transaction(
            chain.transaction_domain,
            dev_keypair(sender),
            nonce=nonce,
            valid_until=100,
            call=TRANSFER,
            args=(dev_keypair(receiver).public_key, amount),
        )
    )


def build(chain, parent=None, slot=None, candidates=(), proposer=0):
    """A block of era 0 on `parent` (default: the head)."""
    ref = chain.head if parent is None else parent
    slot = ref.slot + 1 if slot is None else slot
    block, _ = chain.build(ref.hash, Slot(slot), Era(0), proposer, AUTHORITIES, candidates)
    return block


def ref_of(block):
    return BlockRef.of(block.header, block.hash)


def balance(state, name):
    row = state.accounts().find(dev_keypair(name).public_key, 1)
    return state.read("accounts/free", row)


# --- building and executing -------------------------------------------------------------------------------------------


def test_built_block_executes_elsewhere_to_the_same_roots(chain):
    block = build(chain, candidates=[transfer(chain)])
    assert len(block.body.transactions) == 1
    other = new_chain()
    outcome = other.execute(block, AUTHORITIES)
    assert outcome == chain.outcome(block.hash)
    assert other.state_at_head().root() == block.header.state_root
    assert other.head == ref_of(block)


def test_execute_of_a_known_block_answers_at_once(chain):
    block = build(chain)
    assert chain.execute(block, AUTHORITIES) is chain.outcome(block.hash)
    assert chain.block(block.hash) == block


def test_build_leaves_out_what_cannot_be_included(chain):
    good, no_nonce, garbage = transfer(chain), transfer(chain, "bob", nonce=5), b"\x00"
    block = build(chain, candidates=[garbage, no_nonce, good, good])
    assert block.body.transactions == (good,)


def test_build_at_a_slot_not_after_the_parents_is_refused_and_changes_nothing(chain):
    first = build(chain, slot=5)
    root = chain.state_at_head().root()
    with pytest.raises(InvalidError, match="slot 5"):
        build(chain, slot=5)
    with pytest.raises(InvalidError, match="era 1"):
        chain.build(first.hash, Slot(6), Era(1), 0, AUTHORITIES, ())
    assert chain.state_at_head().root() == root
    assert chain.head == ref_of(first)


@pytest.mark.parametrize("field", ["state_root", "results_root", "next_authorities_hash"])
def test_block_whose_execution_gives_another_root_is_refused_by_name(chain, field):
    block = build(new_chain(), candidates=[transfer(chain)])
    forged = Block(replace(block.header, **{field: b"x" * 32}), block.body)
    before = chain.state_at_head().root()
    with pytest.raises(RootMismatchError, match=field) as caught:
        chain.execute(forged, AUTHORITIES)
    assert caught.value.field == field
    assert chain.state_at_head().root() == before
    assert chain.head.height == 0
    chain.execute(block, AUTHORITIES)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"height": 2}, "height is 2, expected 1"),
        ({"era": 1}, "era is 1, expected 0"),
        ({"slot": 0}, "slot 0 is not after"),
        ({"rules_version": 2}, "rules_version is 2, expected 1"),
        ({"proposer_index": 4}, "proposer_index is 4"),
        ({"authorities_hash": bytes(32)}, "authorities_hash"),
        ({"tx_root": bytes(32)}, "tx_root"),
        ({"commit_root": bytes(32)}, "commit_root"),
    ],
)
def test_block_in_a_wrong_place_is_refused_with_the_field(chain, changes, names):
    block = build(new_chain())
    with pytest.raises(InvalidError, match=names):
        chain.execute(Block(replace(block.header, **changes), block.body), AUTHORITIES)
    assert chain.head.height == 0


def test_block_with_an_unknown_parent_says_nothing_about_the_block(chain):
    maker = new_chain()
    build(maker)
    second = build(maker)
    with pytest.raises(UnknownParentError):
        chain.execute(second, AUTHORITIES, must_succeed=True)


def test_block_with_an_invalid_transaction_is_refused_and_undone(chain):
    block = build(new_chain(), candidates=[transfer(chain)])
    body = Body(None, (), (*block.body.transactions, transfer(chain, nonce=9)))
    header = replace(block.header, tx_root=tx_root(body))
    before = chain.state_at_head().root()
    with pytest.raises(InvalidError):
        chain.execute(Block(header, body), AUTHORITIES)
    assert chain.state_at_head().root() == before


def test_notarised_block_that_does_not_execute_stops_the_process(chain):
    block = build(new_chain())
    forged = Block(replace(block.header, state_root=b"x" * 32), block.body)
    with pytest.raises(DivergenceError, match="state_root is 7878"):
        chain.execute(forged, AUTHORITIES, must_succeed=True)


class RaisingRules:
    """Rules whose code fails half way, as an unknown bug would."""

    version = 1

    def apply_block(self, state, *_):
        state.write("chain/height", 0, 77)
        raise ZeroDivisionError("a bug")

    select = apply_block


def test_exception_inside_the_rules_rolls_back_and_is_passed_on():
    chain = new_chain(rules=lambda version: RaisingRules())
    before = chain.state_at_head().root()
    block = build(new_chain())
    with pytest.raises(ZeroDivisionError):
        chain.execute(block, AUTHORITIES)
    with pytest.raises(ZeroDivisionError):
        build(chain)
    assert chain.state_at_head().root() == before
    assert not chain.is_pending(block.hash)


# --- branches ---------------------------------------------------------------------------------------------------------


def test_siblings_are_executed_by_switching_branches(chain):
    left = build(chain, candidates=[transfer(chain, amount=1)])
    right = build(chain, parent=chain.finalised, slot=2, candidates=[transfer(chain, amount=2)])
    assert left.header.state_root != right.header.state_root
    assert chain.head == ref_of(right)
    on_left = build(chain, parent=ref_of(left), slot=9)
    assert chain.head == ref_of(on_left)
    assert chain.state_at(right.hash).root() == right.header.state_root
    assert chain.state_at(on_left.hash).root() == on_left.header.state_root


def test_finalised_block_forgets_its_siblings_and_keeps_its_descendants(chain):
    left = build(chain)
    right = build(chain, parent=chain.finalised, slot=2)
    on_left = build(chain, parent=ref_of(left), slot=3)
    on_right = build(chain, parent=ref_of(right), slot=4)
    chain.finalise(left.hash)
    assert chain.is_pending(on_left.hash)
    assert not any(chain.is_pending(block.hash) for block in (left, right, on_right))
    assert chain.is_executed(left.hash)
    assert chain.state_at(on_left.hash).root() == on_left.header.state_root
    with pytest.raises(UnknownParentError):
        build(chain, parent=ref_of(right), slot=9)


def test_finalise_out_of_order_or_of_an_unknown_block_is_refused(chain):
    build(chain)
    second = build(chain)
    with pytest.raises(InvalidError, match="does not stand on the finalised block 0"):
        chain.finalise(second.hash)
    with pytest.raises(InvalidError, match="not executed"):
        chain.finalise(bytes(32))


def test_readers_of_the_finalised_state_do_not_see_the_head(chain):
    before = balance(chain.state_at_finalised(), "alice")
    block = build(chain, candidates=[transfer(chain)])
    assert balance(chain.state_at_finalised(), "alice") == before
    assert balance(chain.state_at_head(), "alice") < before - 10**9
    chain.finalise(block.hash)
    assert balance(chain.state_at_finalised(), "alice") < before - 10**9
    assert chain.state_at_finalised().root() == block.header.state_root


def test_finalised_block_carries_what_storage_needs(chain):
    genesis = rules_for(1).build_genesis(SPEC)
    first, second = build(chain, candidates=[transfer(chain)]), build(chain, candidates=[transfer(chain, nonce=1)])
    done = [chain.finalise(first.hash), chain.finalise(second.hash)]
    assert [item.header for item in done] == [first.header, second.header]
    assert done[1].outcome.transactions[0].code == 0
    merged = merge_changes(item.changes for item in done)
    store = {
        record.name: {n: genesis.chunk(record.name, n) for n in range(-(-record.byte_length // 1024))}
        for record in genesis.columns()
    }
    records = {record.name: record for record in genesis.columns()}
    records.update({record.name: record for record in merged.columns})
    for (name, number), data in merged.chunks.items():
        store[name][number] = data
    loaded = State.from_chunks(records.values(), lambda name: store[name].items(), 1)
    assert loaded.root() == second.header.state_root


def test_chain_goes_on_over_era_boundaries(chain):
    authorities, era = AUTHORITIES, 0
    for height in range(1, 2 * SPEC.era_blocks + 2):
        block, outcome = chain.build(chain.head.hash, Slot(height), Era(era), 0, authorities, ())
        assert (outcome.next_authorities is not None) == (height % SPEC.era_blocks == 0)
        assert (block.header.next_authorities_hash != ZERO_HASH) == (height % SPEC.era_blocks == 0)
        if outcome.next_authorities is not None:
            authorities, era = outcome.next_authorities, era + 1
        chain.finalise(block.hash)
    assert era == 2


# --- memory -----------------------------------------------------------------------------------------------------------


def stored_genesis():
    return rules_for(1).build_genesis(SPEC)


def test_images_above_the_cap_are_dropped_and_made_again_from_the_stored_state():
    chain = new_chain(reload=stored_genesis, max_image_bytes=1)
    blocks = [build(chain, candidates=[transfer(chain, nonce=number)]) for number in range(5)]
    assert chain.state_at_finalised().root() == stored_genesis().root()
    assert chain.state_at(blocks[2].hash).root() == blocks[2].header.state_root
    branch = build(chain, parent=ref_of(blocks[1]), slot=50)
    assert chain.state_at(branch.hash).root() == branch.header.state_root
    done = chain.finalise(blocks[0].hash)
    assert done.changes.chunks
    assert chain.state_at_finalised().root() == blocks[0].header.state_root


def test_stored_state_of_another_height_is_not_built_upon():
    chain = new_chain(reload=lambda: State(rules_version=1), max_image_bytes=1)
    first, _ = build(chain), build(chain)
    with pytest.raises(DivergenceError, match="stored state"):
        chain.finalise(first.hash)


@settings(max_examples=30)
@given(st.data())
def test_any_tree_of_blocks_gives_each_block_the_state_of_its_own_branch(data):
    maker, follower = new_chain(), new_chain(max_image_bytes=4096, reload=stored_genesis)
    nodes, nonces = [maker.finalised], {GENESIS: (0, 0, 0)}
    made = []
    for number in range(data.draw(st.integers(1, 7))):
        parent = data.draw(st.sampled_from(nodes))
        person = data.draw(st.integers(0, 2))
        used = list(nonces[parent.hash])
        payment = transfer(maker, PEOPLE[person], used[person], number + 1, PEOPLE[(person + 1) % 3])
        block = build(maker, parent, parent.slot + 1 + number, [payment])
        assert block.body.transactions == (payment,)
        used[person] += 1
        nodes.append(ref_of(block))
        nonces[block.hash] = tuple(used)
        made.append(block)
    for block in made:
        follower.execute(block, AUTHORITIES)
    for block in data.draw(st.permutations(made)):
        assert follower.state_at(block.hash).root() == block.header.state_root
        assert follower.state_at_finalised().root() == stored_genesis().root()


def test_block_built_without_keeping_is_executed_like_anybodys():
    chain = new_chain()
    parent = chain.finalised
    block, outcome = chain.build(parent.hash, Slot(1), Era(0), 0, AUTHORITIES, [transfer(chain)], keep=False)
    assert not chain.is_pending(block.hash)
    assert chain.head == parent
    assert chain.execute(block, AUTHORITIES) == outcome
