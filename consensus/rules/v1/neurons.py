"""Neurons of a subnet: who holds which uid, registration, and the choice of whom to replace (YUMA section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...types import AccountId, Uid
from .schema import HOTKEYS, NEURON_STRIDE, NEURONS, mechanism_columns
from .subnets import neuron_count, owner, owner_hotkey, parameter

if TYPE_CHECKING:
    from typing import Any

    from ...state.state import State


def neuron_row(netuid: int, uid: int) -> int:
    """Row of a neuron in `neurons/…`."""
    return netuid * NEURON_STRIDE + uid


def neuron_array(state: State, netuid: int, name: str) -> NDArray[Any]:
    """Column `neurons/<name>` of one subnet, shape (n,), read-only."""
    first = netuid * NEURON_STRIDE
    return state.array(f"neurons/{name}")[first : first + neuron_count(state, netuid)]


def uid_of(state: State, netuid: int, hotkey: bytes) -> Uid | None:
    """The hotkey's uid in a subnet, or None."""
    row = state.key_table(HOTKEYS).find(hotkey)
    if row is None:
        return None
    found = np.flatnonzero(neuron_array(state, netuid, "hotkey") == row + 1)
    return Uid(int(found[0])) if len(found) else None


def hotkey_of(state: State, netuid: int, uid: int) -> AccountId:
    """The hotkey that holds a uid."""
    row = int(state.read("neurons/hotkey", neuron_row(netuid, uid)))
    return AccountId(state.key_table(HOTKEYS).key(row - 1))


def hotkeys_of(state: State, netuid: int) -> list[AccountId]:
    """Hotkeys of a subnet by uid."""
    return _accounts_of(state, netuid, "hotkeys/key")


def owners_of(state: State, netuid: int) -> list[AccountId]:
    """The coldkey behind each uid of a subnet."""
    return _accounts_of(state, netuid, "hotkeys/owner")


def has_neuron(state: State, coldkey: bytes) -> bool:
    """Whether a coldkey owns a hotkey with a uid anywhere. Columns are compared: it may own thousands of hotkeys."""
    rows = state.array("neurons/hotkey")
    owners = state.array("hotkeys/owner")[rows[rows > 0].astype(np.int64) - 1]
    return bool((owners == np.frombuffer(coldkey, dtype=np.uint8)).all(axis=1).any())


def _accounts_of(state: State, netuid: int, column: str) -> list[AccountId]:
    """A 32-byte column of the hotkey table for every uid, gathered at once: an epoch asks for 256 of them."""
    rows = neuron_array(state, netuid, "hotkey").astype(np.int64) - 1
    packed = state.array(column)[rows].tobytes()
    return [AccountId(packed[at : at + 32]) for at in range(0, len(packed), 32)]


def choose_slot(state: State, netuid: int, block: int) -> Uid | None:
    """The uid a newcomer gets: the next one, or that of the neuron to replace; None if nobody may go (YUMA 6.3)."""
    count = neuron_count(state, netuid)
    if count < parameter(state, netuid, "max_allowed_uids"):
        return Uid(count)
    protected = immortal_uids(state, netuid)
    emission = neuron_array(state, netuid, "emission").tolist()
    registered = neuron_array(state, netuid, "registered_at").tolist()
    immunity = parameter(state, netuid, "immunity_period")
    immune: list[int] = []
    exposed: list[int] = []
    for uid in range(count):
        if uid not in protected:
            (immune if block - registered[uid] < immunity else exposed).append(uid)

    def order(uid: int) -> tuple[int, int, int]:
        return emission[uid], registered[uid], uid

    if exposed and len(exposed) > parameter(state, netuid, "min_non_immune_uids"):
        return Uid(min(exposed, key=order))
    return Uid(min(immune, key=order)) if immune else None


def immortal_uids(state: State, netuid: int) -> list[int]:
    """Uids that are never replaced: the owner coldkey's oldest, the owner hotkey always among them."""
    coldkey, first_hotkey = owner(state, netuid), owner_hotkey(state, netuid)
    registered = neuron_array(state, netuid, "registered_at").tolist()
    owned = [uid for uid, holder in enumerate(owners_of(state, netuid)) if holder == coldkey]
    limit = parameter(state, netuid, "immune_owner_uids_limit")
    kept = sorted(owned, key=lambda uid: (registered[uid], uid))[:limit]
    owner_uid = uid_of(state, netuid, first_hotkey)
    if owner_uid is not None and owner_uid not in kept:
        kept = [int(owner_uid), *kept][:limit]
    return kept


def place_neuron(state: State, netuid: int, uid: int, hotkey: bytes, block: int) -> None:
    """Give `uid` to a hotkey of the table: appended at n, or in place of whoever held it (YUMA 6.4)."""
    row = state.key_table(HOTKEYS).find(hotkey)
    assert row is not None, "registration associates the hotkey first"
    if uid == neuron_count(state, netuid):
        _append(state, netuid, uid)
    else:
        _clear(state, netuid, uid)
    at = neuron_row(netuid, uid)
    state.write("neurons/hotkey", at, row + 1)
    state.write("neurons/registered_at", at, block)
    state.write("neurons/active", at, 1)
    for mechanism in range(parameter(state, netuid, "mechanism_count")):
        state.write(f"sn/{netuid}/{mechanism}/last_update", uid, block)


def _append(state: State, netuid: int, uid: int) -> None:
    state.write("subnets/neurons", netuid, uid + 1)
    for mechanism in range(parameter(state, netuid, "mechanism_count")):
        for spec in mechanism_columns(netuid, mechanism):
            state.resize(spec.name, uid + 1)


def _clear(state: State, netuid: int, uid: int) -> None:
    """Take a uid from its holder: its own rows go, weights of others on it become 0 and keep their place.

    Bonds of others stay; the next epoch's column mask removes them (YUMA 3.11).
    """
    for spec in NEURONS:
        state.write(spec.name, neuron_row(netuid, uid), 0)
    for mechanism in range(parameter(state, netuid, "mechanism_count")):
        prefix = f"sn/{netuid}/{mechanism}"
        state.write(f"{prefix}/incentive", uid, 0)
        for rows in ("weight", "bond"):
            state.write(f"{prefix}/{rows}_count", uid, 0)
            state.write(f"{prefix}/{rows}s", uid, 0)
        counts, pairs = state.array(f"{prefix}/weight_count"), state.array(f"{prefix}/weights")
        stored = np.arange(pairs.shape[1], dtype=np.int64) < counts[:, None]
        for source, place in zip(*np.nonzero(stored & (pairs[:, :, 0] == uid)), strict=True):
            state.write(f"{prefix}/weights", (int(source), int(place), 1), 0)
