"""Keyed rows, blobs and accounts: lookups, reuse of rows, and the memory of reaped accounts."""

import numpy as np
import pytest
from yumad.consensus.state.accounts import ACCOUNT_COLUMNS, REAPED
from yumad.consensus.state.blobs import BLOCK_BYTES, MAX_BLOB_BYTES, MAX_KEY_BYTES, blob_columns
from yumad.consensus.state.column import ColumnSpec
from yumad.consensus.state.key_table import KeyTable
from yumad.consensus.state.state import State
from yumad.consensus.transaction import MORTALITY
from yumad.consensus.types import AccountId, InvalidError


def account(number):
    return number.to_bytes(32, "big")


@pytest.fixture
def state():
    return State(
        [
            *ACCOUNT_COLUMNS,
            ColumnSpec("accounts/free", "<u8"),
            *KeyTable.columns("hotkeys", 4, (ColumnSpec("hotkeys/stake", "<u8"),)),
            *blob_columns("names"),
        ]
    )


# --- key tables -------------------------------------------------------------------------------------------------------


def test_opened_key_is_found_and_iterated_in_key_order(state):
    table = state.key_table("hotkeys")
    rows = {key: table.open(key) for key in (b"bbbb", b"aaaa", b"cccc")}
    assert rows == {b"bbbb": 0, b"aaaa": 1, b"cccc": 2}
    assert table.items() == [(b"aaaa", 1), (b"bbbb", 0), (b"cccc", 2)]
    assert table.open(b"aaaa") == 1
    assert table.key(2) == b"cccc"
    assert table.find(b"dddd") is None


def test_released_rows_are_zeroed_and_reused_lowest_first(state):
    table = state.key_table("hotkeys")
    for key in (b"aaaa", b"bbbb", b"cccc", b"dddd"):
        state.write("hotkeys/stake", table.open(key), 9)
    table.release(b"cccc")
    table.release(b"bbbb")
    assert state.array("hotkeys/stake").tolist() == [9, 0, 0, 9]
    assert [table.open(key) for key in (b"eeee", b"ffff", b"gggg")] == [1, 2, 4]


def test_keys_released_together_leave_what_releasing_each_leaves(state):
    table = state.key_table("hotkeys")
    keys = [bytes([letter]) * 4 for letter in b"badce"]
    for number, key in enumerate(keys, start=1):
        state.write("hotkeys/stake", table.open(key), number)
    assert table.count(((0, 1),), b"a") == 1
    before = state.root()
    mark = state.begin()
    for key in keys[:4]:
        table.release(key)
    one_by_one = state.root()
    state.rollback(mark)
    assert state.root() == before
    mark = state.begin()
    table.release_all([*keys[:4], keys[0]])
    assert state.root() == one_by_one
    assert table.items() == [(b"eeee", 4)]
    assert table.count(((0, 1),), b"a") == 0
    state.rollback(mark)
    assert state.root() == before
    assert [table.find(key) for key in keys] == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidError):
        table.release_all([b"bbbb", b"none"])
    assert state.root() == before


def test_key_of_another_width_or_unknown_is_refused(state):
    with pytest.raises(InvalidError, match="keys of 4 bytes"):
        state.key_table("hotkeys").open(b"abc")
    with pytest.raises(InvalidError, match="has no key"):
        state.key_table("hotkeys").release(b"aaaa")


def test_renamed_row_keeps_its_place_and_columns(state):
    table = state.key_table("hotkeys")
    for key, stake in ((b"aaaa", 1), (b"bbbb", 2), (b"cccc", 3)):
        state.write("hotkeys/stake", table.open(key), stake)
    assert table.matching(((0, 1),), b"b") == [b"bbbb"]
    table.rename(b"bbbb", b"dddd")
    table.rename(b"aaaa", b"aaaa")
    assert table.items() == [(b"aaaa", 0), (b"cccc", 2), (b"dddd", 1)]
    assert (table.matching(((0, 1),), b"b"), table.matching(((0, 1),), b"d")) == ([], [b"dddd"])
    assert state.array("hotkeys/stake").tolist() == [1, 2, 3]
    assert KeyTable(state, "hotkeys").items() == table.items()


def test_renamed_row_takes_the_place_of_the_one_that_had_the_key(state):
    table = state.key_table("hotkeys")
    for key, stake in ((b"aaaa", 1), (b"bbbb", 2)):
        state.write("hotkeys/stake", table.open(key), stake)
    table.rename(b"bbbb", b"aaaa")
    assert table.items() == [(b"aaaa", 1)]
    assert state.array("hotkeys/stake").tolist() == [0, 2]
    assert table.open(b"cccc") == 0


def test_undone_renaming_leaves_index_and_columns_as_they_were(state):
    table = state.key_table("hotkeys")
    for key, stake in ((b"aaaa", 1), (b"bbbb", 2)):
        state.write("hotkeys/stake", table.open(key), stake)
    assert table.matching(((0, 1),), b"a") == [b"aaaa"]
    root, mark = state.root(), state.begin()
    table.rename(b"aaaa", b"cccc")
    table.rename(b"cccc", b"bbbb")
    state.rollback(mark)
    assert table.items() == [(b"aaaa", 0), (b"bbbb", 1)]
    assert (table.matching(((0, 1),), b"a"), table.matching(((0, 1),), b"c")) == ([b"aaaa"], [])
    assert state.root() == root
    assert table.open(b"dddd") == 2


def test_renaming_an_unknown_key_or_to_another_width_is_refused(state):
    table = state.key_table("hotkeys")
    with pytest.raises(InvalidError, match="has no key"):
        table.rename(b"aaaa", b"bbbb")
    table.open(b"aaaa")
    with pytest.raises(InvalidError, match="keys of 4 bytes"):
        table.rename(b"aaaa", b"bb")
    assert table.items() == [(b"aaaa", 0)]


def test_undone_opening_and_release_leave_the_index_as_it_was(state):
    table = state.key_table("hotkeys")
    table.open(b"aaaa")
    mark = state.begin()
    table.release(b"aaaa")
    table.open(b"bbbb")
    state.rollback(mark)
    assert table.items() == [(b"aaaa", 0)]
    assert table.open(b"cccc") == 1


def test_reused_row_of_an_undone_opening_is_free_again(state):
    table = state.key_table("hotkeys")
    for key in (b"aaaa", b"bbbb"):
        table.open(key)
    table.release(b"aaaa")
    mark = state.begin()
    assert table.open(b"cccc") == 0
    state.rollback(mark)
    assert table.open(b"dddd") == 0


def test_all_zero_key_is_a_key_like_any_other(state):
    table = state.key_table("hotkeys")
    table.open(bytes(4))
    assert State.key_table(state, "hotkeys").find(bytes(4)) == 0


def test_table_made_and_removed_inside_an_undone_scope_starts_anew(state):
    mark = state.begin()
    for spec in KeyTable.columns("sn/15/keys", 2):
        state.add_column(spec)
    state.key_table("sn/15/keys").open(b"ab")
    state.rollback(mark)
    for spec in KeyTable.columns("sn/15/keys", 2):
        state.add_column(spec)
    assert state.key_table("sn/15/keys").find(b"ab") is None


# --- blobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5000, MAX_BLOB_BYTES])
def test_blob_of_any_length_is_read_as_written(state, length):
    value = bytes(np.arange(length).astype(np.uint8))
    state.blobs("names").put(b"key", value)
    assert state.blobs("names").get(b"key") == value
    assert state.blobs("names").get(b"other") is None


def test_blob_replaced_and_deleted_frees_its_blocks(state):
    blobs = state.blobs("names")
    empty = state.root()
    blobs.put(b"a", b"x" * 1000)
    blobs.put(b"b", b"y" * 1000)
    rows = state.rows("names.heap/next")
    blobs.put(b"a", b"z" * 900)
    assert state.rows("names.heap/next") == rows
    assert blobs.items() == [(b"a", b"z" * 900), (b"b", b"y" * 1000)]
    blobs.delete(b"a")
    blobs.delete(b"b")
    assert blobs.items() == []
    assert not state.array("names.heap/data").any()
    assert not state.array("names.heap/next").any()
    assert state.root() != empty  # lengths stay: rows are kept for reuse


def test_blob_too_long_or_with_a_bad_key_is_refused(state):
    blobs = state.blobs("names")
    with pytest.raises(InvalidError, match="at most 10"):
        blobs.put(b"a", bytes(11), max_bytes=10)
    for key in (b"", bytes(MAX_KEY_BYTES + 1)):
        with pytest.raises(InvalidError, match="blob key"):
            blobs.put(key, b"")
    with pytest.raises(InvalidError, match="no blob"):
        blobs.delete(b"a")


def test_blob_keys_that_differ_only_in_trailing_zeros_are_different(state):
    blobs = state.blobs("names")
    blobs.put(b"a", b"1")
    blobs.put(b"a\0", b"2")
    assert blobs.items() == [(b"a", b"1"), (b"a\0", b"2")]


# --- accounts ---------------------------------------------------------------------------------------------------------


def test_reaped_account_keeps_its_nonce_while_its_transactions_could_be_valid(state):
    accounts = state.accounts()
    row = accounts.open(account(1), 10)
    state.write("accounts/nonce", row, 7)
    accounts.reap(row, 10)
    last = 10 + MORTALITY
    assert accounts.find(account(1), last) == row
    assert accounts.nonce(account(1), last) == 7
    assert accounts.find(account(1), last + 1) is None
    assert accounts.nonce(account(1), last + 1) == 0


def test_account_revived_in_time_goes_on_with_its_nonce(state):
    accounts = state.accounts()
    row = accounts.open(account(1), 10)
    state.write("accounts/nonce", row, 7)
    accounts.reap(row, 10)
    assert accounts.is_reaped(row)
    assert accounts.open(account(1), 10 + MORTALITY) == row
    assert not accounts.is_reaped(row)
    assert accounts.nonce(account(1), 10 + MORTALITY) == 7


def test_row_is_reused_from_the_block_after_mortality_lowest_first(state):
    accounts = state.accounts()
    for number in range(4):
        state.write("accounts/free", accounts.open(account(number), 1), 5)
    accounts.reap(2, 3)
    accounts.reap(0, 4)
    assert accounts.open(account(10), 3 + MORTALITY) == 4
    assert accounts.open(account(11), 3 + MORTALITY + 1) == 2
    assert accounts.open(account(12), 4 + MORTALITY + 1) == 0
    assert state.read("accounts/free", 2) == 0
    assert accounts.find(account(2), 5) is None


def test_forgotten_account_starts_again_at_nonce_zero(state):
    accounts = state.accounts()
    for number in (1, 2):
        state.write("accounts/nonce", accounts.open(account(number), 1), 9)
        accounts.reap(number - 1, 1)
    later = 2 + MORTALITY
    assert accounts.open(account(2), later) == 0
    assert accounts.nonce(account(2), later) == 0
    # Its old row 1 still bears the same key; a loaded state must not take it for the account.
    loaded = copy_of(state)
    assert loaded.accounts().find(account(2), later) == 0
    assert loaded.accounts().open(account(3), later) == 1
    assert loaded.accounts().find(account(2), later) == 0
    assert accounts.open(account(3), later) == 1
    assert accounts.find(account(2), later) == 0


def test_rows_freed_at_a_height_that_was_undone_are_young_again(state):
    accounts = state.accounts()
    accounts.open(account(1), 1)
    accounts.reap(0, 5)
    mark = state.begin()
    assert accounts.open(account(2), 6 + MORTALITY) == 0
    state.rollback(mark)
    assert accounts.find(account(1), 5 + MORTALITY) == 0
    assert accounts.open(account(2), 5 + MORTALITY) == 1
    assert accounts.open(account(3), 6 + MORTALITY) == 0


def test_row_seen_free_at_an_undone_height_is_not_lost(state):
    accounts = state.accounts()
    for number in (1, 2):
        accounts.open(account(number), 1)
        accounts.reap(number - 1, 5)
    mark = state.begin()
    assert accounts.open(account(3), 6 + MORTALITY) == 0
    state.rollback(mark)
    assert accounts.open(account(4), 5 + MORTALITY) == 2
    assert [accounts.open(account(number), 6 + MORTALITY) for number in (5, 6, 7)] == [0, 1, 3]


def test_reaping_twice_or_before_block_one_is_refused(state):
    accounts = state.accounts()
    accounts.open(account(1), 1)
    with pytest.raises(InvalidError, match="before block 1"):
        accounts.reap(0, 0)
    accounts.reap(0, 1)
    with pytest.raises(InvalidError, match="already"):
        accounts.reap(0, 2)


def test_accounts_of_a_view_are_those_of_that_height(state):
    accounts = state.accounts()
    accounts.open(account(1), 1)
    mark = state.begin()
    accounts.open(account(2), 1)
    accounts.reap(0, 1)
    past = state.view(mark)
    assert past.accounts().find(account(2), 1) is None
    assert past.read(REAPED, 0) == 0
    assert [key for key, _ in past.accounts().items(1)] == [account(1)]


def copy_of(state):
    chunks = {
        record.name: [(number, state.chunk(record.name, number)) for number in range(-(-record.byte_length // 1024))]
        for record in state.columns()
    }
    return State.from_chunks(state.columns(), chunks.__getitem__, state.rules_version)


def test_view_uses_the_index_of_its_state_also_when_nobody_has_built_that_yet():
    state = State([*ACCOUNT_COLUMNS], rules_version=1)
    state.accounts().open(AccountId(bytes([1]) * 32), 1)
    loaded = State.from_chunks(
        state.columns(), lambda name: [(0, state.chunk(name, 0))] if state.rows(name) else [], rules_version=1
    )
    first, second = loaded.view(), loaded.view()
    assert first.accounts().find(bytes([1]) * 32, 2) == 0
    assert first.accounts()._rows is second.accounts()._rows is loaded.accounts()._rows
