"""The account table: 32-byte key -> dense row, and what is remembered of an account that was reaped (CHAIN 3, 4.2).

Columns `accounts/key`, `accounts/nonce` and `accounts/reaped` (height of reaping, 0 for a living account), and whatever
further columns `accounts/…` the rules declare. A reaped row keeps its nonce for the MORTALITY blocks in which a
transaction of it could still be valid; an account revived earlier goes on with its nonce. From the block after, the row
is free and is reused lowest first, starting at nonce 0. Which rows are free follows from the committed columns and the
height, so there is no free list to commit.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

import numpy as np

from ..transaction import MORTALITY
from ..types import U64_MAX, AccountId, InvalidError
from .column import ColumnSpec

if TYPE_CHECKING:
    from .state import State

ACCOUNTS: Final = "accounts"

KEY: Final = "accounts/key"
NONCE: Final = "accounts/nonce"
REAPED: Final = "accounts/reaped"

ACCOUNT_COLUMNS: Final = (
    ColumnSpec(KEY, "u1", (32,)),
    ColumnSpec(NONCE, "<u8"),
    ColumnSpec(REAPED, "<u8"),
)
"""The table's own columns; the rules add balances and the like beside them."""


class AccountTable:
    """Index of the accounts; made by `State.accounts`. `height` is always that of the block being executed."""

    __slots__ = ("_expired", "_reaped", "_rows", "_state")

    def __init__(self, state: State, _name: str = ACCOUNTS, rows: dict[bytes, int] | None = None) -> None:
        self._state = state
        reaped = state.array(REAPED)
        if rows is None:
            # A key that came back after it was forgotten may still stand in its old row: the living row, else the one
            # reaped last, is the account. u64 max puts the living ones behind all others, and later entries win.
            order = np.argsort(np.where(reaped == 0, np.uint64(U64_MAX), reaped), kind="stable")
            packed = state.array(KEY).tobytes()
            rows = {packed[row * 32 : row * 32 + 32]: row for row in order.tolist()}
        self._rows = rows
        """Every row's key, expired ones too until their row is reused."""
        self._reaped = [(int(reaped[row]), row) for row in np.flatnonzero(reaped).tolist()]
        """Heap of (height of reaping, row); may hold stale entries, which `_allocate` checks against the columns."""
        heapify(self._reaped)
        self._expired: list[int] = []
        """Heap of rows that were free at some height; a rolled-back height may make one young again."""

    def find(self, key: AccountId | bytes, height: int) -> int | None:
        """Row of an account that lives, or is reaped but still remembered at `height`; None otherwise."""
        row = self._rows.get(key)
        return None if row is None or self._is_free(row, height) else row

    def is_reaped(self, row: int) -> bool:
        """Whether the row belongs to a reaped account."""
        return bool(self._state.read(REAPED, row) != 0)

    def key(self, row: int) -> AccountId:
        """Key of a row."""
        return AccountId(self._state.read(KEY, row).tobytes())

    def nonce(self, key: AccountId | bytes, height: int) -> int:
        """The next nonce of an account, 0 for one that is unknown or forgotten."""
        row = self.find(key, height)
        return 0 if row is None else int(self._state.read(NONCE, row))

    def items(self, height: int) -> list[tuple[AccountId, int]]:
        """(key, row) of all accounts that live or are remembered, in key order."""
        return [(AccountId(key), row) for key, row in sorted(self._rows.items()) if not self._is_free(row, height)]

    def __len__(self) -> int:
        """Rows with a key, free ones included."""
        return len(self._rows)

    def open(self, key: AccountId | bytes, height: int) -> int:
        """Row of a living account: the one it has, the one it had (with its nonce), or a new one of zeros."""
        row = self.find(key, height)
        if row is None:
            return self._allocate(key, height)
        if self.is_reaped(row):
            self._change_reaped(row, 0)
        return row

    def reap(self, row: int, height: int) -> None:
        """Mark an account that has nothing left as reaped at `height` (>= 1). Its key and nonce stay for now."""
        if height < 1:
            raise InvalidError("no account is reaped before block 1")
        if self.is_reaped(row):
            raise InvalidError(f"account {self.key(row).hex()} is reaped already")
        self._change_reaped(row, height)

    def for_view(self, past: State) -> AccountTable:
        """The same index over an earlier state with an unchanged key column (reading only)."""
        return AccountTable(past, ACCOUNTS, self._rows)

    def _is_free(self, row: int, height: int) -> bool:
        reaped = self._state.read(REAPED, row)
        return bool(reaped != 0 and reaped + MORTALITY < height)

    def _change_reaped(self, row: int, height: int) -> None:
        before = self._state.read(REAPED, row)
        self._state.write(REAPED, row, height)
        self._remember_reaped(row, height)
        self._state.on_undo(self._remember_again, (row, before))

    def _remember_reaped(self, row: int, height: int) -> None:
        if height:
            heappush(self._reaped, (height, row))

    def _remember_again(self, undone: tuple[int, int]) -> None:
        self._remember_reaped(*undone)

    def _lowest_free(self, height: int) -> int | None:
        state, rows = self._state, self._state.rows(REAPED)
        while self._reaped and self._reaped[0][0] + MORTALITY < height:
            heappush(self._expired, heappop(self._reaped)[1])
        while self._expired:
            row = heappop(self._expired)
            if row >= rows:
                continue
            if self._is_free(row, height):
                return row
            self._remember_reaped(row, state.read(REAPED, row))
        return None

    def _allocate(self, key: AccountId | bytes, height: int) -> int:
        if len(key) != 32:
            raise InvalidError(f"an account has a key of 32 bytes, not {len(key)}")
        state = self._state
        row = self._lowest_free(height)
        old: bytes | None = None
        if row is None:
            row = state.rows(KEY)
            for name in state.names(f"{ACCOUNTS}/"):
                state.resize(name, row + 1)
        else:
            old = bytes(self.key(row))
            for name in state.names(f"{ACCOUNTS}/"):
                if name not in (KEY, REAPED):
                    state.write(name, row, 0)
            self._change_reaped(row, 0)
        state.write(KEY, row, np.frombuffer(key, dtype=np.uint8))
        before = self._rows.get(key)
        if old is not None and old != key and self._rows.get(old) == row:
            del self._rows[old]
        else:
            old = None
        self._rows[bytes(key)] = row
        state.on_undo(self._undo_allocate, (bytes(key), before, old, row))
        return row

    def _undo_allocate(self, allocated: tuple[bytes, int | None, bytes | None, int]) -> None:
        key, before, old, row = allocated
        if before is None:
            del self._rows[key]
        else:
            self._rows[key] = before
        if old is not None:
            self._rows[old] = row
