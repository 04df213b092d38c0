"""Authority sets of recent eras in the state, with the hotkey behind each member (CHAIN 1.3, evidence)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ... import cbor
from ...authority import AuthoritySet, authority_set_from_value, encode_authority_set
from ...types import AccountId
from .schema import ERA_SETS

if TYPE_CHECKING:
    from ...state.state import State

_ERA_SET_BYTES: Final = 16_384
"""100 members of 44 bytes, as many hotkeys of 32, and the seed."""

NO_HOTKEY: Final = bytes(32)
"""Stands for the hotkey of a member that came with a restart file and is registered by nobody."""


def era_key(era: int) -> bytes:
    """Key of `era_sets`."""
    return era.to_bytes(4, "big")


def write_era_set(state: State, era: int, authorities: AuthoritySet, hotkeys: Sequence[bytes]) -> None:
    """Keep the set of an era, the newest one, with the hotkey behind each member."""
    value = cbor.encode([encode_authority_set(authorities), b"".join(hotkeys)])
    state.blobs(ERA_SETS).put(era_key(era), value, max_bytes=_ERA_SET_BYTES)
    state.write("chain/authorities_hash", 0, np.frombuffer(authorities.hash, dtype=np.uint8))


def read_era_set(state: State, era: int) -> tuple[AuthoritySet, tuple[AccountId, ...]] | None:
    """The set of an era and the hotkeys in the order of its members; None for an era not kept."""
    value = state.blobs(ERA_SETS).get(era_key(era))
    if value is None:
        return None
    encoded, joined = cbor.decode(value, max_bytes=_ERA_SET_BYTES)
    authorities = authority_set_from_value(cbor.decode(encoded, max_bytes=_ERA_SET_BYTES))
    return authorities, tuple(AccountId(joined[at : at + 32]) for at in range(0, len(joined), 32))


def era_hotkeys(state: State, era: int) -> tuple[AccountId, ...]:
    """Hotkeys of an era's members, in order; empty for an era not kept."""
    value = state.blobs(ERA_SETS).get(era_key(era))
    if value is None:
        return ()
    joined = cbor.decode(value, max_bytes=_ERA_SET_BYTES)[1]
    return tuple(AccountId(joined[at : at + 32]) for at in range(0, len(joined), 32))


def forget_era_set(state: State, era: int) -> None:
    """Drop the set of an era, if it is kept: nothing of that era can be punished any more."""
    if era >= 0 and state.blobs(ERA_SETS).get(era_key(era)) is not None:
        state.blobs(ERA_SETS).delete(era_key(era))
