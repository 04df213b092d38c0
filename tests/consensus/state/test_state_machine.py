"""Any sequence of writes, resizes, columns, tables and nested scopes: undo is the identity and caches follow."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from yumad.consensus.state.accounts import ACCOUNT_COLUMNS, ACCOUNTS
from yumad.consensus.state.blobs import blob_columns
from yumad.consensus.state.column import ColumnSpec
from yumad.consensus.state.key_table import KeyTable
from yumad.consensus.state.state import State
from yumad.consensus.transaction import MORTALITY

EXTRA = [ColumnSpec(f"sn/{number}/weights", "<u2", (number * 100 + 1,)) for number in range(1, 4)]
NUMBERS, ROWS = "numbers", "rows"
MAX_ROWS = 700
MAX_SCOPES = 6

accounts = st.integers(1, 8).map(lambda number: number.to_bytes(32, "big"))
keys = st.integers(0, 6).map(lambda number: number.to_bytes(2, "big"))
blob_keys = st.sampled_from([b"a", b"b", b"long key"])


def contents(state):
    return {name: (state.spec(name), state.array(name).tobytes()) for name in state.names()}


def rebuilt(state):
    chunks = {
        record.name: [(n, state.chunk(record.name, n)) for n in range(-(-record.byte_length // 1024))]
        for record in state.columns()
    }
    return State.from_chunks(state.columns(), chunks.__getitem__, state.rules_version)


def chunks_of(raw):
    return {at // 1024: raw[at : at + 1024].ljust(1024, b"\0") for at in range(0, len(raw), 1024)}


class StateMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.state = State(
            [
                ColumnSpec(NUMBERS, "<u8"),
                ColumnSpec(ROWS, "<i4", (3,)),
                *ACCOUNT_COLUMNS,
                ColumnSpec("accounts/free", "<u8"),
                *KeyTable.columns("hotkeys", 2, (ColumnSpec("hotkeys/stake", "<u8"),)),
                *blob_columns("blobs"),
            ]
        )
        self.height = 1
        self.blobs = {}
        self.keys = {}
        self.scopes = []

    def _index(self, name, data):
        rows = self.state.rows(name)
        kind = data.draw(st.sampled_from(["row", "slice", "rows"]))
        if kind == "row":
            return data.draw(st.integers(0, rows - 1))
        if kind == "slice":
            start = data.draw(st.integers(0, rows))
            return slice(start, data.draw(st.integers(start, rows)))
        return np.array(sorted(data.draw(st.sets(st.integers(0, rows - 1), max_size=5))), dtype=np.int64)

    @rule(name=st.sampled_from([NUMBERS, ROWS]), data=st.data(), value=st.integers(0, 2**31 - 1))
    def write(self, name, data, value):
        if self.state.rows(name):
            self.state.write(name, self._index(name, data), value)

    @rule(name=st.sampled_from([NUMBERS, ROWS]), rows=st.integers(0, MAX_ROWS))
    def resize(self, name, rows):
        self.state.resize(name, rows)

    @rule(value=st.integers(0, 2**64 - 1))
    def append(self, value):
        self.state.append(NUMBERS, value)

    @rule(spec=st.sampled_from(EXTRA), rows=st.integers(0, 5))
    def add_or_remove_column(self, spec, rows):
        if self.state.has(spec.name):
            self.state.remove_column(spec.name)
        else:
            self.state.add_column(spec, rows)
            if rows:
                self.state.write(spec.name, rows - 1, 3)

    @rule(key=blob_keys, value=st.binary(max_size=700))
    def put_blob(self, key, value):
        self.state.blobs("blobs").put(key, value)
        self.blobs[key] = value

    @rule(key=blob_keys)
    def delete_blob(self, key):
        if self.blobs.pop(key, None) is not None:
            self.state.blobs("blobs").delete(key)

    @rule(key=keys, stake=st.integers(1, 9))
    def open_key(self, key, stake):
        self.state.write("hotkeys/stake", self.state.key_table("hotkeys").open(key), stake)
        self.keys[key] = stake

    @rule(key=keys)
    def release_key(self, key):
        if self.keys.pop(key, None) is not None:
            self.state.key_table("hotkeys").release(key)

    @rule(several=st.lists(keys, max_size=4))
    def release_keys(self, several):
        present = [key for key in several if key in self.keys]
        self.state.key_table("hotkeys").release_all(present)
        for key in present:
            self.keys.pop(key, None)

    @rule(key=keys, new=keys)
    def rename_key(self, key, new):
        if key in self.keys:
            self.state.key_table("hotkeys").rename(key, new)
            self.keys[new] = self.keys.pop(key)

    @rule(key=accounts)
    def open_account(self, key):
        row = self.state.accounts().open(key, self.height)
        self.state.add("accounts/nonce", row, 1)

    @rule(key=accounts)
    def reap_account(self, key):
        table = self.state.accounts()
        row = table.find(key, self.height)
        if row is not None and not table.is_reaped(row):
            table.reap(row, self.height)

    @rule(blocks=st.sampled_from([1, MORTALITY // 2, MORTALITY + 1]))
    def pass_blocks(self, blocks):
        self.height += blocks

    @precondition(lambda self: len(self.scopes) < MAX_SCOPES)
    @rule()
    def begin(self):
        saved = (contents(self.state), self.state.root(), dict(self.blobs), dict(self.keys), self.height)
        self.state.begin()
        self.scopes.append(saved)

    @precondition(lambda self: self.scopes)
    @rule(data=st.data())
    def rollback(self, data):
        depth = data.draw(st.integers(0, len(self.scopes) - 1))
        before, root, self.blobs, self.keys, self.height = self.scopes[depth]
        self.state.rollback(self.state.open_scopes()[depth])
        del self.scopes[depth:]
        assert contents(self.state) == before
        assert self.state.root() == root

    @precondition(lambda self: self.scopes)
    @rule(data=st.data())
    def commit(self, data):
        depth = data.draw(st.integers(0, len(self.scopes) - 1))
        self.state.commit(self.state.open_scopes()[depth])
        del self.scopes[depth:]

    @precondition(lambda self: self.scopes)
    @rule()
    def settle(self):
        self.state.settle(self.state.open_scopes()[0])
        del self.scopes[0]

    @precondition(lambda self: self.scopes)
    @rule(data=st.data())
    def view_of_a_scope_shows_its_start(self, data):
        depth = data.draw(st.integers(0, len(self.scopes) - 1))
        before, root, blobs, _, height = self.scopes[depth]
        past = self.state.view(self.state.open_scopes()[depth])
        assert contents(past) == before
        assert past.root() == root
        assert past.blobs("blobs").items() == sorted(blobs.items())
        assert past.accounts().items(height) == rebuilt(past).accounts().items(height)

    @precondition(lambda self: self.scopes)
    @rule(data=st.data())
    def changes_since_a_scope_lead_from_its_start_to_now(self, data):
        depth = data.draw(st.integers(0, len(self.scopes) - 1))
        store = {name: chunks_of(raw) for name, (_, raw) in self.scopes[depth][0].items()}
        changes = self.state.changes_since(self.state.open_scopes()[depth])
        for name in changes.removed:
            del store[name]
        for record in changes.columns:
            count = -(-record.byte_length // 1024)
            store[record.name] = {n: c for n, c in store.get(record.name, {}).items() if n < count}
        for (name, number), chunk in changes.chunks.items():
            store[name][number] = chunk
        loaded = State.from_chunks(self.state.columns(), lambda name: store[name].items(), 1)
        assert loaded.root() == self.state.root()

    @rule()
    def loaded_state_allocates_like_this_one(self):
        twin, mark = rebuilt(self.state), self.state.begin()
        for number in (50, 51, 52):
            key = number.to_bytes(32, "big")
            assert self.state.accounts().open(key, self.height) == twin.accounts().open(key, self.height)
            assert self.state.key_table("hotkeys").open(key[-2:]) == twin.key_table("hotkeys").open(key[-2:])
        self.state.blobs("blobs").put(b"new", bytes(600))
        twin.blobs("blobs").put(b"new", bytes(600))
        assert self.state.root() == twin.root()
        self.state.rollback(mark)

    @invariant()
    def tables_hold_what_was_put(self):
        assert self.state.blobs("blobs").items() == sorted(self.blobs.items())
        held = [(key, self.state.read("hotkeys/stake", row)) for key, row in self.state.key_table("hotkeys").items()]
        assert held == sorted(self.keys.items())

    @invariant()
    def root_equals_the_rebuilt_one(self):
        assert self.state.root() == rebuilt(self.state).root()

    @invariant()
    def tables_stay_parallel(self):
        lengths = {self.state.rows(name) for name in self.state.names(f"{ACCOUNTS}/")}
        assert len(lengths) == 1


class TableMachine(RuleBasedStateMachine):
    """Only keyed rows and scopes, with few keys and large steps in height, so that rows are reused and undone often."""

    def __init__(self):
        super().__init__()
        self.state = State([*ACCOUNT_COLUMNS, *KeyTable.columns("hotkeys", 2)])
        self.heights = []
        self.height = 1

    @rule(number=st.integers(1, 3))
    def toggle_account(self, number):
        table, key = self.state.accounts(), number.to_bytes(32, "big")
        row = table.find(key, self.height)
        if row is None or table.is_reaped(row):
            self.state.add("accounts/nonce", table.open(key, self.height), 1)
        else:
            table.reap(row, self.height)

    @rule(number=st.integers(1, 3))
    def toggle_key(self, number):
        table, key = self.state.key_table("hotkeys"), number.to_bytes(2, "big")
        if table.find(key) is None:
            table.open(key)
        else:
            table.release(key)

    @rule(blocks=st.sampled_from([1, MORTALITY + 1]))
    def pass_blocks(self, blocks):
        self.height += blocks

    @precondition(lambda self: len(self.heights) < MAX_SCOPES)
    @rule()
    def begin(self):
        self.state.begin()
        self.heights.append(self.height)

    @precondition(lambda self: self.heights)
    @rule()
    def rollback(self):
        self.height = self.heights.pop()
        self.state.rollback(self.state.open_scopes()[-1])

    @precondition(lambda self: self.heights)
    @rule()
    def settle(self):
        self.state.settle(self.state.open_scopes()[0])
        del self.heights[0]

    @invariant()
    def loaded_tables_answer_and_allocate_alike(self):
        twin = rebuilt(self.state)
        assert self.state.key_table("hotkeys").items() == twin.key_table("hotkeys").items()
        assert self.state.accounts().items(self.height) == twin.accounts().items(self.height)

    @rule()
    def loaded_tables_allocate_alike(self):
        twin, mark = rebuilt(self.state), self.state.begin()
        for number in range(50, 54):
            key = number.to_bytes(32, "big")
            assert self.state.accounts().open(key, self.height) == twin.accounts().open(key, self.height)
            assert self.state.key_table("hotkeys").open(key[-2:]) == twin.key_table("hotkeys").open(key[-2:])
        self.state.rollback(mark)


StateMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestStateMachine = StateMachine.TestCase

TableMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestTableMachine = TableMachine.TestCase
