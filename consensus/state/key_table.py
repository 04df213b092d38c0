"""Rows found by key: a dense table whose index is derived from its committed columns (CHAIN 4.2, DESIGN section 7).

A table `t` is the columns `t/key` (u1, key_bytes), `t/used` (u1) and any further columns `t/…` of the same length. A
row in use has used = 1; a free row is all zeros. Rows are reused lowest first. The dictionary key -> row and the heap
of free rows are caches: they follow the columns through every undo, and a loaded state builds them on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..types import InvalidError
from .column import ColumnSpec

if TYPE_CHECKING:
    from .state import State

Part: TypeAlias = "tuple[tuple[int, int], ...]"
"""Ranges of a key's bytes, joined: what rows are grouped by."""


class FreeRows:
    """Lowest-first supply of rows. Entries may be stale or doubled; `take` asks the columns before it believes one."""

    __slots__ = ("_heap",)

    def __init__(self, rows: Sequence[int]) -> None:
        self._heap = list(rows)
        heapify(self._heap)

    def offer(self, row: int) -> None:
        """`row` may be free (from now on, or again after an undo)."""
        heappush(self._heap, row)

    def take(self, is_free: Callable[[int], bool]) -> int | None:
        """The lowest free row, or None. The caller marks it used at once."""
        while self._heap:
            row = heappop(self._heap)
            if is_free(row):
                return row
        return None


class KeyTable:
    """Index of one keyed table; made by `State.key_table`."""

    __slots__ = ("_free", "_groups", "_key", "_key_bytes", "_rows", "_state", "_used", "name")

    def __init__(self, state: State, name: str, rows: dict[bytes, int] | None = None) -> None:
        self.name = name
        self._state = state
        self._key, self._used = f"{name}/key", f"{name}/used"
        self._key_bytes = state.spec(self._key).row_bytes
        used = state.array(self._used)
        if rows is None:
            packed, width = state.array(self._key).tobytes(), self._key_bytes
            rows = {packed[row * width : row * width + width]: row for row in np.flatnonzero(used).tolist()}
        self._rows = rows
        self._free = FreeRows(np.flatnonzero(used == 0).tolist())
        self._groups: dict[Part, dict[bytes, dict[bytes, None]]] = {}
        """For each part that was asked for: its value -> keys. Built at first use, then kept in step."""

    @staticmethod
    def columns(name: str, key_bytes: int, parallel: Sequence[ColumnSpec] = ()) -> tuple[ColumnSpec, ...]:
        """Columns of a table with keys of `key_bytes` bytes; `parallel` are its data columns, named `name/…`."""
        if any(not spec.name.startswith(f"{name}/") for spec in parallel):
            raise InvalidError(f"every column of table {name} is named {name}/…")
        return (ColumnSpec(f"{name}/key", "u1", (key_bytes,)), ColumnSpec(f"{name}/used", "u1"), *parallel)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, key: bytes) -> int | None:
        """Row of `key`, or None."""
        return self._rows.get(key)

    def key(self, row: int) -> bytes:
        """Key of a row in use."""
        return bytes(self._state.read(self._key, row).tobytes())

    def items(self) -> list[tuple[bytes, int]]:
        """(key, row) of all rows in use, in key order: the order of every iteration in the rules."""
        return sorted(self._rows.items())

    def matching(self, part: Part, value: bytes) -> list[bytes]:
        """Keys in use whose `part` is `value`, ascending."""
        return sorted(self._group(part, value))

    def count(self, part: Part, value: bytes) -> int:
        """How many keys in use have `value` for `part`."""
        return len(self._group(part, value))

    def _group(self, part: Part, value: bytes) -> Mapping[bytes, None]:
        groups = self._groups.get(part)
        if groups is None:
            groups = self._groups[part] = {}
            for key in self._rows:
                groups.setdefault(_part_of(key, part), {})[key] = None
        return groups.get(value, {})

    def open(self, key: bytes) -> int:
        """Row of `key`, allocated with zeros if it has none. Raises InvalidError for a key of the wrong width."""
        row = self._rows.get(key)
        if row is not None:
            return row
        if len(key) != self._key_bytes:
            raise InvalidError(f"table {self.name} has keys of {self._key_bytes} bytes, not {len(key)}")
        row = self._free.take(self._is_free)
        if row is None:
            row = self._state.rows(self._key)
            for name in self._state.names(f"{self.name}/"):
                self._state.resize(name, row + 1)
        self._state.write(self._key, row, np.frombuffer(key, dtype=np.uint8))
        self._state.write(self._used, row, 1)
        self._enter(key, row)
        self._state.on_undo(self._undo_open, (key, row))
        return row

    def release(self, key: bytes) -> None:
        """Free the row of `key`: all its columns become zero. Raises InvalidError if there is none."""
        row = self._rows.pop(key, None)
        if row is None:
            raise InvalidError(f"table {self.name} has no key {key.hex()}")
        self._leave_groups(key)
        for name in self._state.names(f"{self.name}/"):
            self._state.write(name, row, 0)
        self._free.offer(row)
        self._state.on_undo(self._undo_release, (key, row))

    def release_all(self, keys: Iterable[bytes]) -> None:
        """Free the rows of many keys, each column written once. Raises InvalidError if one is not there."""
        released = [(key, self._rows.get(key)) for key in dict.fromkeys(keys)]
        unknown = [key for key, row in released if row is None]
        if unknown:
            raise InvalidError(f"table {self.name} has no key {unknown[0].hex()}")
        rows = np.array(sorted(self._rows[key] for key, _ in released), dtype=np.int64)
        if not len(rows):
            return
        for name in self._state.names(f"{self.name}/"):
            self._state.write(name, rows, 0)
        for key, _ in released:
            row = self._rows.pop(key)
            self._leave_groups(key)
            self._free.offer(row)
            self._state.on_undo(self._undo_release, (key, row))

    def rename(self, key: bytes, new: bytes) -> None:
        """Let the row of `key` be found under `new`, in place of a row that is there; its other columns stay.

        Raises InvalidError for an unknown key and for a new one of the wrong width.
        """
        if key not in self._rows:
            raise InvalidError(f"table {self.name} has no key {key.hex()}")
        if len(new) != self._key_bytes:
            raise InvalidError(f"table {self.name} has keys of {self._key_bytes} bytes, not {len(new)}")
        if key == new:
            return
        if new in self._rows:
            self.release(new)
        row = self._rows.pop(key)
        self._leave_groups(key)
        self._state.write(self._key, row, np.frombuffer(new, dtype=np.uint8))
        self._enter(new, row)
        self._state.on_undo(self._undo_rename, (key, new, row))

    def for_view(self, past: State) -> KeyTable:
        """The same index over an earlier state with an unchanged key column (reading only)."""
        table = KeyTable(past, self.name, self._rows)
        table._groups = self._groups
        return table

    def _enter(self, key: bytes, row: int) -> None:
        self._rows[key] = row
        for part, groups in self._groups.items():
            groups.setdefault(_part_of(key, part), {})[key] = None

    def _leave_groups(self, key: bytes) -> None:
        for part, groups in self._groups.items():
            value = _part_of(key, part)
            group = groups[value]
            del group[key]
            if not group:
                del groups[value]

    def _is_free(self, row: int) -> bool:
        return row < self._state.rows(self._used) and self._state.read(self._used, row) == 0

    def _undo_open(self, opened: tuple[bytes, int]) -> None:
        key, row = opened
        del self._rows[key]
        self._leave_groups(key)
        self._free.offer(row)

    def _undo_rename(self, renamed: tuple[bytes, bytes, int]) -> None:
        key, new, row = renamed
        del self._rows[new]
        self._leave_groups(new)
        self._enter(key, row)

    def _undo_release(self, released: tuple[bytes, int]) -> None:
        self._enter(*released)


def _part_of(key: bytes, part: Part) -> bytes:
    return b"".join(key[start:stop] for start, stop in part)
