"""Authorities in the state: their keys, heartbeats and bonds (CHAIN 1.3, weights and set change)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...authority import AuthoritySet
from ...chain_spec_authorities import possession_digest
from ...signature import verify
from ...types import AccountId, AuthorityKey
from ..interface import BlockContext
from .era_sets import NO_HOTKEY
from .errors import CallError, ErrorCode
from .schema import AUTHORITIES
from .stakes import ROOT, hotkey_stake

if TYPE_CHECKING:
    from ...state.state import State

HEARTBEATS_PER_ERA: Final = 8
"""A heartbeat may be repeated after an eighth of an era, to announce another peer id; more would be free spam."""


def _check_root_stake(state: State, ctx: BlockContext, hotkey: AccountId) -> None:
    if hotkey_stake(state, ROOT, hotkey) < max(ctx.spec.min_authority_weight, 1):
        raise CallError(ErrorCode.NotEnoughRootStake)


def check_registration(
    state: State, ctx: BlockContext, hotkey: AccountId, key: AuthorityKey, possession: bytes
) -> None:
    """Raise CallError unless `hotkey` may register `key`."""
    _check_root_stake(state, ctx, hotkey)
    table = state.key_table(AUTHORITIES)
    own_row = table.find(hotkey)
    used = (state.array("authorities/authority_key"), state.array("authorities/next_key"))
    wanted = np.frombuffer(key, dtype=np.uint8)
    for position, column in enumerate(used):
        for row in np.flatnonzero((column == wanted).all(axis=1)).tolist():
            if row != own_row:
                raise CallError(ErrorCode.AuthorityKeyInUse)
            if position == 0 or state.read("authorities/next_registered_at", row):
                raise CallError(ErrorCode.AuthorityKeyUnchanged)
    if not verify(key, possession_digest(ctx.genesis_hash, hotkey), possession):
        raise CallError(ErrorCode.BadProofOfPossession)


def register_authority(state: State, hotkey: bytes, key: bytes, height: int) -> None:
    """Store a key: at once for a new authority, as replacement of the present one otherwise.

    The old key votes until the new one is old enough, so an authority can change its key without missing an era.
    """
    table = state.key_table(AUTHORITIES)
    packed = np.frombuffer(key, dtype=np.uint8)
    row = table.find(hotkey)
    if row is None:
        row = table.open(hotkey)
        state.write("authorities/authority_key", row, packed)
        state.write("authorities/registered_at", row, height)
    else:
        state.write("authorities/next_key", row, packed)
        state.write("authorities/next_registered_at", row, height)


def check_heartbeat(state: State, ctx: BlockContext, hotkey: AccountId, peer_id: bytes) -> None:
    """Raise CallError unless the hotkey may send a heartbeat now.

    It is free, so stake must stand behind it as for weights (CHAIN 3): one deposit that wanders from hotkey to hotkey
    would otherwise leave any number of them that may each fill blocks for nothing.
    """
    row = state.key_table(AUTHORITIES).find(hotkey)
    if row is None:
        raise CallError(ErrorCode.NotAnAuthority)
    _check_root_stake(state, ctx, hotkey)
    if not peer_id:
        raise CallError(ErrorCode.InvalidPeerId)
    last = int(state.read("authorities/heartbeat_at", row))
    pause = max(1, ctx.spec.era_blocks // HEARTBEATS_PER_ERA)
    if last and (last - 1) // ctx.spec.era_blocks == ctx.era and ctx.height - last < pause:
        raise CallError(ErrorCode.HeartbeatTooSoon)


def record_heartbeat(state: State, hotkey: bytes, peer_id: bytes, height: int) -> None:
    """Note that the hotkey is there, and where."""
    row = state.key_table(AUTHORITIES).open(hotkey)
    state.write("authorities/heartbeat_at", row, height)
    padded = np.frombuffer(peer_id.ljust(state.spec("authorities/peer_id").row_bytes, b"\0"), dtype=np.uint8)
    state.write("authorities/peer_id", row, padded)
    state.write("authorities/peer_id_length", row, len(peer_id))


def bonded_stake(state: State, hotkey: bytes, era: int, unbond_eras: int) -> int:
    """Root stake the hotkey must keep in `era`; 0 where nothing is bonded."""
    row = state.key_table(AUTHORITIES).find(hotkey)
    if row is None or unbond_eras == 0:
        return 0
    last_sat = int(state.read("authorities/last_sat", row)) - 1
    return int(state.read("authorities/bonded_stake", row)) if last_sat >= 0 and era <= last_sat + unbond_eras else 0


def check_bond(state: State, ctx: BlockContext, hotkey: AccountId, netuid: int, alpha: int) -> None:
    """Raise AuthorityBonded if taking `alpha` from a hotkey's stake would leave less root stake than it must keep."""
    if netuid != ROOT:
        return
    left = hotkey_stake(state, ROOT, hotkey) - alpha
    if left < bonded_stake(state, hotkey, ctx.era, ctx.spec.unbond_eras):
        raise CallError(ErrorCode.AuthorityBonded)


def bond_members(
    state: State, ctx: BlockContext, era: int, authorities: AuthoritySet, hotkeys: Sequence[bytes]
) -> None:
    """Bond the members of the set of `era`; `hotkeys` are in their order, NO_HOTKEY where nobody registered the key.

    Each keeps at least the largest weight it has had since it was last free, as far as it has that stake: what was
    slashed, or what only a restart file gave, is nobody's to keep.
    """
    for hotkey, member in zip(hotkeys, authorities.members, strict=True):
        if hotkey == NO_HOTKEY:
            continue
        row = state.key_table(AUTHORITIES).open(hotkey)
        bonded = bonded_stake(state, hotkey, ctx.era, max(ctx.spec.unbond_eras, 1))
        held = min(member.weight, hotkey_stake(state, ROOT, hotkey))
        state.write("authorities/bonded_stake", row, max(bonded, held))
        state.write("authorities/last_sat", row, era + 1)


def describe_authority(state: State, row: int) -> dict[str, Any]:
    """One row of the table for readers: the hotkey as bytes, other keys and the peer id as hexadecimal texts."""
    length = int(state.read("authorities/peer_id_length", row))
    return {
        "hotkey": state.key_table(AUTHORITIES).key(row),
        "authority_key": state.read("authorities/authority_key", row).tobytes().hex(),
        "registered_at": int(state.read("authorities/registered_at", row)),
        "replacement_key": (
            state.read("authorities/next_key", row).tobytes().hex()
            if state.read("authorities/next_registered_at", row)
            else None
        ),
        "heartbeat_at": int(state.read("authorities/heartbeat_at", row)),
        "peer_id": state.read("authorities/peer_id", row).tobytes()[:length].hex(),
        "boundary_stake": int(state.read("authorities/boundary_stake", row)),
        "bonded_stake": int(state.read("authorities/bonded_stake", row)),
        "jailed_until": int(state.read("authorities/jailed_until", row)),
    }
