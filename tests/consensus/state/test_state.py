"""State: what a write may do, what it refuses, and what the root commits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.domains import Domain, digest
from yumad.consensus.state.changes import merge_changes
from yumad.consensus.state.column import (
    ColumnSpec,
    StateOverflowError,
    record_from_value,
    record_to_value,
)
from yumad.consensus.state.merkle import merkle_root
from yumad.consensus.state.proof import make_proof, verify_chunk_proof
from yumad.consensus.state.state import State
from yumad.consensus.types import InvalidError, MalformedError

NUMBERS = ColumnSpec("numbers", "<u8")
SIGNED = ColumnSpec("signed", "<i2")
PAIRS = ColumnSpec("pairs", "<u2", (8,))
WIDE = ColumnSpec("wide", "<u8", (2,))
ODD = ColumnSpec("odd", "u1", (600,))
"""Rows straddle chunks."""


@pytest.fixture
def state():
    made = State([NUMBERS, SIGNED, PAIRS, WIDE, ODD], rules_version=1)
    for name in made.names():
        made.resize(name, 10)
    return made


def test_read_of_a_number_gives_a_python_int(state):
    state.write("numbers", 3, 2**64 - 1)
    assert state.read("numbers", 3) == 2**64 - 1
    assert type(state.read("numbers", 3)) is int


@pytest.mark.parametrize(
    ("name", "value"), [("numbers", 2**64), ("numbers", -1), ("signed", 32768), ("signed", -32769)]
)
def test_write_of_a_number_that_does_not_fit_is_refused_and_never_wraps(state, name, value):
    with pytest.raises(StateOverflowError, match=name):
        state.write(name, 0, value)
    with pytest.raises(StateOverflowError, match=name):
        state.write(name, slice(0, 2), [0, value])
    assert state.read(name, 0) == 0


def test_write_of_an_array_of_another_integer_type_checks_its_range(state):
    state.write("pairs", 0, np.arange(8, dtype=np.int64))
    assert state.read("pairs", 0).tolist() == list(range(8))
    with pytest.raises(StateOverflowError):
        state.write("pairs", 0, np.full(8, 65536, dtype=np.int64))


@pytest.mark.parametrize("value", [1.0, [0.5], np.ones(3), "1", [None]])
def test_write_of_anything_but_integers_is_refused(state, value):
    with pytest.raises(InvalidError, match="holds integers"):
        state.write("numbers", 0, value)


@pytest.mark.parametrize(
    "index",
    [-1, 10, slice(0, 11), slice(0, 4, 2), np.array([3, 2]), np.array([1, 1]), np.array([-1]), np.array([10]), True],
)
def test_write_outside_the_rows_or_out_of_order_is_refused(state, index):
    with pytest.raises(InvalidError, match="numbers"):
        state.write("numbers", index, 1)


def test_write_of_a_part_of_a_row_leaves_the_rest(state):
    state.write("pairs", (2, slice(1, 3)), [7, 8])
    assert state.read("pairs", 2).tolist() == [0, 7, 8, 0, 0, 0, 0, 0]


def test_arrays_handed_out_cannot_be_written(state):
    with pytest.raises(ValueError, match="read-only"):
        state.array("numbers")[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        state.read("pairs", 0)[0] = 1


def test_read_outside_the_rows_names_column_and_row(state):
    with pytest.raises(InvalidError, match="numbers has 10 rows, row 10"):
        state.read("numbers", 10)
    with pytest.raises(InvalidError, match="no column 'nothing'"):
        state.read("nothing", 0)


def test_append_gives_the_first_new_row(state):
    assert state.append("numbers", 5) == 10
    assert state.append("pairs", np.ones((3, 8), dtype="<u2")) == 10
    assert state.rows("pairs") == 13
    assert state.add("numbers", 10, -2) == 3


@given(st.integers(-(2**127), 2**127 - 1))
def test_wide_signed_number_is_read_as_written(value):
    state = State([WIDE])
    state.resize("wide", 1)
    state.write_wide("wide", 0, value, signed=True)
    assert state.read_wide("wide", 0, signed=True) == value
    assert state.array("wide")[0].tolist() == [(value >> 0) & (2**64 - 1), (value >> 64) & (2**64 - 1)]


@pytest.mark.parametrize(("value", "signed"), [(2**128, False), (-1, False), (2**127, True), (-(2**127) - 1, True)])
def test_wide_number_that_does_not_fit_its_limbs_is_refused(state, value, signed):
    with pytest.raises(StateOverflowError, match="wide"):
        state.write_wide("wide", 0, value, signed=signed)


# --- the root ---------------------------------------------------------------------------------------------------------


def plain_root(state):
    """CHAIN 4.2 written down once more, without any cache."""
    records = []
    for name in state.names():
        spec, raw = state.spec(name), state.array(name).tobytes()
        padded = raw + bytes(-len(raw) % 1024)
        root = merkle_root([padded[at : at + 1024] for at in range(0, len(padded), 1024)])
        records.append([name.encode(), spec.dtype.encode(), list(spec.row_shape), len(raw), root])
    return digest(Domain.COLUMNS, cbor.encode([state.rules_version, records]))


def test_root_is_the_hash_of_the_canonical_list_of_columns(state):
    state.write("odd", 4, np.arange(600).astype(np.uint8))
    assert state.root() == plain_root(state)
    state.write("odd", 1, 9)
    state.append("numbers", 77)
    assert state.root() == plain_root(state)


def test_root_with_many_columns_has_the_wider_array_head():
    state = State([ColumnSpec(f"c{number:03}", "u1") for number in range(300)], rules_version=70_000)
    assert state.root() == plain_root(state)


@pytest.mark.parametrize("rows", [0, 23, 24, 255, 256, 65_535, 65_536])
def test_committed_bytes_of_a_record_are_its_canonical_encoding(rows):
    state = State([ColumnSpec("bytes", "u1"), ColumnSpec("wide", "<u8", (3, 2))])
    state.resize("bytes", rows)
    assert state.root() == plain_root(state)


def test_root_tells_a_zero_row_from_no_row(state):
    before = state.root()
    state.resize("numbers", 11)
    assert state.root() != before
    state.resize("numbers", 10)
    assert state.root() == before


def test_root_commits_the_rules_version():
    assert State([NUMBERS], rules_version=1).root() != State([NUMBERS], rules_version=2).root()


def test_root_does_not_depend_on_the_order_of_adding_columns():
    assert State([NUMBERS, PAIRS]).root() == State([PAIRS, NUMBERS]).root()


# --- scopes -----------------------------------------------------------------------------------------------------------


def test_rollback_restores_values_lengths_and_columns(state):
    state.write("numbers", 1, 11)
    before = state.root()
    mark = state.begin()
    state.write("numbers", 1, 12)
    state.write("pairs", np.array([1, 5]), 3)
    state.resize("odd", 2)
    state.resize("odd", 30)
    state.remove_column("signed")
    state.add_column(ColumnSpec("sn/15/weights", "<u2", (4,)), rows=3)
    assert state.root() != before
    state.rollback(mark)
    assert state.root() == before == plain_root(state)
    assert state.read("numbers", 1) == 11


def test_commit_of_an_inner_scope_is_undone_with_the_outer_one(state):
    before = state.root()
    outer = state.begin()
    inner = state.begin()
    state.write("numbers", 0, 5)
    state.commit(inner)
    assert state.read("numbers", 0) == 5
    state.rollback(outer)
    assert state.root() == before


def test_commit_of_the_outermost_scope_frees_its_images(state):
    mark = state.begin()
    state.write("odd", slice(0, 10), 7)
    assert state.journal_bytes() > 6000
    state.commit(mark)
    assert state.journal_bytes() == 0
    with pytest.raises(InvalidError, match="not open"):
        state.rollback(mark)


def test_rollback_frees_the_images_of_its_scope_alone(state):
    state.begin()
    state.write("numbers", 0, 1)
    held = state.journal_bytes()
    inner = state.begin()
    state.write("odd", slice(0, 10), 7)
    state.write_wide("wide", 0, 9)
    assert state.journal_bytes() > held
    state.rollback(inner)
    assert state.journal_bytes() == held > 0


def test_settle_makes_the_oldest_scope_permanent_while_the_next_stays_open(state):
    first = state.begin()
    state.write("numbers", 0, 1)
    after_first = state.root()
    state.begin()
    state.write("numbers", 0, 2)
    state.settle(first)
    (second,) = state.open_scopes()
    assert second.depth == 0
    state.rollback(second)
    assert state.root() == after_first
    assert state.journal_bytes() == 0


def test_settle_of_an_inner_scope_is_refused(state):
    state.begin()
    inner = state.begin()
    with pytest.raises(InvalidError, match="outermost"):
        state.settle(inner)


def test_view_of_an_earlier_mark_is_exact_and_read_only(state):
    before, root = state.array("numbers").tolist(), state.root()
    mark = state.begin()
    state.write("numbers", 2, 9)
    state.resize("pairs", 3)
    state.remove_column("signed")
    state.add_column(ColumnSpec("fresh", "u1"), rows=2)
    past = state.view(mark)
    assert past.array("numbers").tolist() == before
    assert past.root() == root
    assert past.has("signed")
    assert not past.has("fresh")
    assert state.read("numbers", 2) == 9
    with pytest.raises(InvalidError, match="read-only view"):
        past.write("numbers", 0, 1)
    with pytest.raises(InvalidError, match="read-only view"):
        past.begin()


# --- changes, storage, proofs -----------------------------------------------------------------------------------------


def reloaded(store, records):
    return State.from_chunks(
        records, lambda name: [(number, data) for (column, number), data in store.items() if column == name], 1
    )


def full_store(state):
    return {
        (record.name, number): state.chunk(record.name, number)
        for record in state.columns()
        for number in range(-(-record.byte_length // 1024))
    }


def test_from_chunks_gives_the_same_root(state):
    state.write("odd", 5, 3)
    assert reloaded(full_store(state), state.columns()).root() == state.root()


def test_from_chunks_with_a_chunk_behind_the_end_is_refused(state):
    with pytest.raises(InvalidError, match="chunk 99"):
        State.from_chunks(state.columns(), lambda name: [(99, bytes(1024))], 1)


def test_changes_of_blocks_applied_to_a_store_give_the_state(state):
    store, batch = full_store(state), []
    records = {record.name: record for record in state.columns()}
    for block in range(6):
        mark = state.begin()
        state.write("numbers", block, block + 1)
        state.resize("odd", 3 if block % 2 else 12)
        state.write("odd", 2, block)
        if block == 1:
            state.remove_column("pairs")
        if block == 3:
            state.add_column(PAIRS, rows=200)
            state.write("pairs", 150, 4)
        if block == 4:
            state.add_column(ColumnSpec("brief", "<u4"), rows=5)
        if block == 5:
            state.remove_column("brief")
        batch.append(state.changes_since(mark))
    merged = merge_changes(batch)
    assert merged.removed == ("brief",)
    store.update(merged.chunks)
    records.update({record.name: record for record in merged.columns})
    for name in merged.removed:
        records.pop(name, None)
    kept = {key: data for key, data in store.items() if key[1] < -(-records[key[0]].byte_length // 1024)}
    assert reloaded(kept, records.values()).root() == state.root()


def test_changes_of_a_column_cut_and_grown_again_hold_the_zeros(state):
    state.write("odd", slice(0, 10), 7)
    store = full_store(state)
    mark = state.begin()
    state.resize("odd", 1)
    state.resize("odd", 10)
    changes = state.changes_since(mark)
    assert reloaded({**store, **changes.chunks}, state.columns()).root() == state.root()


def test_changes_list_only_touched_chunks(state):
    state.resize("numbers", 1000)
    mark = state.begin()
    state.write("numbers", 130, 1)
    changes = state.changes_since(mark)
    assert [record.name for record in changes.columns] == ["numbers"]
    assert list(changes.chunks) == [("numbers", 1)]


@given(st.integers(1, 5000), st.data())
def test_proof_of_any_chunk_verifies_and_of_altered_bytes_does_not(rows, data):
    state = State([NUMBERS, PAIRS])
    state.resize("numbers", rows)
    state.write("numbers", slice(0, rows), np.arange(rows, dtype="<u8"))
    number = data.draw(st.integers(0, (rows * 8 - 1) // 1024))
    proof = make_proof(state, "numbers", number)
    verify_chunk_proof(proof, state.root())
    altered = bytes([proof.chunk[0] ^ 1]) + proof.chunk[1:]
    with pytest.raises(InvalidError, match="does not hash"):
        verify_chunk_proof(replaced(proof, chunk=altered), state.root())
    with pytest.raises(InvalidError):
        verify_chunk_proof(replaced(proof, path=(*proof.path, proof.columns[0].root)), state.root())
    with pytest.raises(InvalidError, match="state root"):
        verify_chunk_proof(replaced(proof, rules_version=2), state.root())


def replaced(proof, **fields):
    from dataclasses import replace

    return replace(proof, **fields)


def test_column_record_round_trips_and_refuses_half_rows(state):
    record = state.columns()[0]
    assert record_from_value(record_to_value(record)) == record
    with pytest.raises(InvalidError, match="whole rows"):
        record_from_value([b"numbers", b"<u8", [], 9, bytes(32)])
    with pytest.raises(InvalidError, match="dtype"):
        record_from_value([b"numbers", b"<f8", [], 8, bytes(32)])
    with pytest.raises(MalformedError):
        record_from_value([b"numbers", b"<u8", [], 8])


def test_changes_name_as_removed_only_columns_that_stood_at_the_mark(state):
    mark = state.begin()
    state.add_column(ColumnSpec("passing", "<u2"))
    state.remove_column("passing")
    state.remove_column("signed")
    state.add_column(SIGNED)
    state.remove_column("signed")
    assert state.changes_since(mark).removed == ("signed",)
