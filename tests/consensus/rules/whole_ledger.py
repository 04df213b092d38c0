"""The whole state as plain values, and the same under another key: what a swap of keys is measured against."""

from __future__ import annotations

from typing import Any

from yumad.consensus.rules.v1.schema_tables import ERA_SETS, RECORDS, TIMELOCKED
from yumad.consensus.state.state import State

Ledger = dict[str, dict[bytes, Any]]
"""By table or column, by key: bytes. A table's row is its columns in order."""

_BLOBS = (ERA_SETS, RECORDS, TIMELOCKED)


def whole_ledger(state: State) -> Ledger:
    """Every table by key, every other column whole. Which row a key has does not matter, nor the root index's order.

    `neurons/hotkey` names rows: here it names hotkeys. Nonces are left out.
    """
    tables = sorted(name[:-4] for name in state.names() if name.endswith("/key") and name != "accounts/key")
    ledger: Ledger = {}
    for table in tables:
        if table in _BLOBS:
            ledger[table] = dict(state.blobs(table).items())
        else:
            ledger[table] = {key: _row(state, table, row) for key, row in state.key_table(table).items()}
    accounts = zip(state.array("accounts/key"), state.array("accounts/free").tolist(), strict=True)
    ledger["accounts"] = {key.tobytes(): free for key, free in accounts if free}
    ledger["root_index"] = {key.tobytes(): b"" for key in state.array("root_index/coldkey")}
    hotkeys = state.key_table("hotkeys")
    rows = enumerate(state.array("neurons/hotkey").tolist())
    ledger["neurons/hotkey"] = {str(at).encode(): hotkeys.key(row - 1) for at, row in rows if row}
    known = (*(f"{table}/" for table in tables), *(f"{blobs}." for blobs in _BLOBS), "accounts/", "root_index/")
    for name in state.names():
        if not name.startswith(known) and name != "neurons/hotkey":
            ledger[name] = {b"": state.array(name).tobytes()}
    return ledger


def _row(state: State, table: str, row: int) -> dict[str, bytes]:
    """Columns that are not zero. A place in the root index is no matter of the key's."""
    columns = [name for name in state.names(f"{table}/") if not name.endswith(("/key", "/used", "/root_index"))]
    values = {name.removeprefix(f"{table}/"): state.array(name)[row].tobytes() for name in columns}
    return {name: value for name, value in values.items() if any(value)}


def renamed(ledger: Ledger, old: bytes, new: bytes) -> Ledger:
    """The same with one key in place of another, wherever it stands."""

    def swap(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.replace(old, new)
        if isinstance(value, dict):
            return {swap(key): swap(inner) for key, inner in value.items()}
        return value

    return {table: swap(rows) for table, rows in ledger.items()}


def differences(ledger: Ledger, other: Ledger) -> dict[str, dict[bytes, tuple[Any, Any]]]:
    """Where two ledgers differ, by table and key: (value in the first, in the other), None where there is none."""
    found = {}
    for table in sorted({*ledger, *other}):
        first, second = ledger.get(table, {}), other.get(table, {})
        if unlike := {
            key: (first.get(key), second.get(key))
            for key in sorted({*first, *second})
            if first.get(key) != second.get(key)
        }:
            found[table] = unlike
    return found
