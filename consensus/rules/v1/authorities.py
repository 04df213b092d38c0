"""Authorities in the state: keys, heartbeats, bonds, participation, evidence and the boundary (CHAIN 1.3).

The choice of the next set itself is pure and stands in `set_change`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ... import cbor
from ...authority import MAX_AUTHORITIES, AuthoritySet, authority_set_from_value, encode_authority_set, era_seed
from ...certificate import Certificate, signers_weight, verify_certificate
from ...chain_spec_authorities import possession_digest
from ...evidence import Evidence, is_offence, make_evidence, verify_evidence
from ...signature import verify
from ...statement import Kind
from ...types import AccountId, AuthorityKey, Era, Hash32, InvalidError, Rao
from ..interface import BlockContext, Event
from .balances import burn
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .schema import AUTHOR, AUTHORITIES, BLOCK_HASH_RING, ERA_SETS, IN_CERTIFICATE
from .set_change import Candidate, next_members, next_set
from .stakes import ROOT, cut_hotkey_stake, hotkey_stake

if TYPE_CHECKING:
    from ...state.state import State

MILLION: Final = 1_000_000

_ERA_SET_BYTES: Final = 16_384
"""100 members of 44 bytes, as many hotkeys of 34, and the seed."""

CERTIFICATE_DEPTH: Final = 2
"""Heights between a block and the certificate of an ancestor in its body: late finalize votes have arrived by then."""

NO_HOTKEY: Final = bytes(32)
"""Stands for the hotkey of a member that came with a restart file and is registered by nobody."""

HEARTBEATS_PER_ERA: Final = 8
"""A heartbeat may be repeated after an eighth of an era, to announce another peer id; more would be free spam."""


# --- sets of eras -----------------------------------------------------------------------------------------------------


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


# --- registration, heartbeat, bond ------------------------------------------------------------------------------------


def check_registration(
    state: State, ctx: BlockContext, hotkey: AccountId, key: AuthorityKey, possession: bytes
) -> None:
    """Raise CallError unless `hotkey` may register `key`."""
    if hotkey_stake(state, ROOT, hotkey) < max(ctx.spec.min_authority_weight, 1):
        raise CallError(ErrorCode.NotEnoughRootStake)
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
    """Raise CallError unless the hotkey may send a heartbeat now."""
    row = state.key_table(AUTHORITIES).find(hotkey)
    if row is None:
        raise CallError(ErrorCode.NotAnAuthority)
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


# --- what a block says about its authorities --------------------------------------------------------------------------


def adopt_authorities(state: State, ctx: BlockContext) -> None:
    """Make the state's set of this era the one that votes.

    They differ only after a restart file, which replaces the set of the running era from outside (CHAIN 1.3,
    partitions). Participation starts anew with it. A member whose key nobody registered has no hotkey: its fees are
    burned.
    """
    expected = np.frombuffer(ctx.authorities.hash, dtype=np.uint8)
    if np.array_equal(state.read("chain/authorities_hash", 0), expected):
        return
    registered = {
        state.read("authorities/authority_key", row).tobytes(): hotkey
        for hotkey, row in state.key_table(AUTHORITIES).items()
    }
    hotkeys = [registered.get(member.key, NO_HOTKEY) for member in ctx.authorities.members]
    write_era_set(state, ctx.era, ctx.authorities, hotkeys)
    state.write("era/participation", slice(0, MAX_AUTHORITIES), 0)


def note_author(state: State, ctx: BlockContext) -> None:
    """The proposer made a block of this era."""
    _note(state, (ctx.proposer_index,), AUTHOR)


def _note(state: State, indices: Sequence[int], flag: int) -> None:
    column = state.array("era/participation")
    for index in indices:
        before = int(column[index])
        if not before & flag:
            state.write("era/participation", index, before | flag)


def note_block_hash(state: State, ctx: BlockContext) -> None:
    """Remember the parent's hash, and the boundary block's for the seed of a later era."""
    parent = np.frombuffer(ctx.parent_hash, dtype=np.uint8)
    state.write("chain/block_hashes", (ctx.height - 1) % BLOCK_HASH_RING, parent)
    if ctx.era > 0 and (ctx.height - 1) % ctx.spec.era_blocks == 0:
        state.write("chain/boundary_hash", 0, parent)


def _height_of(state: State, block_hash: Hash32, height: int) -> int | None:
    """Height of a recent ancestor of the block at `height`, by its hash."""
    ring = state.array("chain/block_hashes")
    for slot in np.flatnonzero((ring == np.frombuffer(block_hash, dtype=np.uint8)).all(axis=1)).tolist():
        back = (height - 1 - slot) % BLOCK_HASH_RING
        found = height - 1 - back
        if found >= 1:
            return int(found)
    return None


def apply_certificate(state: State, ctx: BlockContext, certificate: Certificate, *, skip_signatures: bool) -> None:
    """Count the participation that a body's finality certificate proves (CHAIN 1.3, header and idle).

    Raises InvalidError unless it finalises a block of this era at least two heights back that is above every block
    counted before, with a quorum of this era's set.
    """
    statement = certificate.statement
    if statement.kind is not Kind.FINALIZE or statement.era != ctx.era:
        raise InvalidError(f"the body's certificate is not a finality certificate of era {ctx.era}")
    height = _height_of(state, statement.block_hash, ctx.height)
    if height is None or height > ctx.height - CERTIFICATE_DEPTH or (height - 1) // ctx.spec.era_blocks != ctx.era:
        raise InvalidError(
            f"the body's certificate is not for a block of era {ctx.era} at least {CERTIFICATE_DEPTH} heights back"
        )
    counted = int(state.read("chain/certificate_height", 0))
    if height <= counted:
        raise InvalidError(f"the body's certificate is for height {height}, height {counted} was counted already")
    if skip_signatures:
        if signers_weight(certificate, ctx.authorities) < ctx.authorities.quorum:
            raise InvalidError("the body's certificate has no quorum")
    else:
        verify_certificate(ctx.vote_domain, certificate, ctx.authorities)
    state.write("chain/certificate_height", 0, height)
    _note(state, certificate.signers, IN_CERTIFICATE)


def apply_evidence(state: State, ctx: BlockContext, evidence: Evidence, *, skip_signatures: bool) -> Event:
    """Take up one piece of evidence: the hotkey is punished at this era's boundary.

    Raises InvalidError for evidence of an era whose set is not kept, for statements that are no offence or not that
    signer's, and for an offence already covered: one punished, or any other up to the jailing that it leads to.
    """
    era = evidence.first.statement.era
    kept = read_era_set(state, era) if era <= ctx.era else None
    if kept is None:
        raise InvalidError(f"evidence of era {era}, whose authority set is not kept")
    authorities, hotkeys = kept
    if skip_signatures:
        index = evidence.first.index
        canonical = make_evidence(evidence.first, evidence.second) == evidence
        if not is_offence(evidence.first, evidence.second) or not canonical or index >= len(hotkeys):
            raise InvalidError("the evidence shows no offence")
    else:
        verify_evidence(ctx.vote_domain, evidence, authorities)
    hotkey, key = hotkeys[evidence.first.index], authorities.members[evidence.first.index].key
    if hotkey == NO_HOTKEY:
        raise InvalidError(f"authority {key.hex()} has no hotkey that could be punished")
    row = state.key_table(AUTHORITIES).open(hotkey)
    if era < int(state.read("authorities/punished_through", row)):
        raise InvalidError(f"the offence of hotkey {hotkey.hex()} in era {era} is punished or covered already")
    state.write("authorities/punished_through", row, ctx.era + 1)
    return event(EventKind.EvidenceAccepted, hotkey, key, era)


# --- boundary ---------------------------------------------------------------------------------------------------------


def close_era(state: State, ctx: BlockContext) -> tuple[AuthoritySet, list[Event]]:
    """What the boundary block does after its transactions: punish, choose the next set, start a new count.

    The seed of era e+1 comes from the boundary block of era e-1, whose hash the present era's first block carries.
    """
    events = _punish(state, ctx)
    candidates = _candidates(state, ctx)
    members = next_members(candidates, ctx.spec.min_authority_weight, ctx.spec.min_set)
    upcoming = Era(ctx.era + 1)
    boundary = Hash32(state.read("chain/boundary_hash", 0).tobytes()) if ctx.era > 0 else None
    authorities = next_set(members, ctx.authorities, era_seed(ctx.genesis_hash, upcoming, boundary))
    hotkeys = [c.hotkey for c in members] if members else list(era_hotkeys(state, ctx.era))
    write_era_set(state, upcoming, authorities, hotkeys)
    forgotten = ctx.era - ctx.spec.evidence_eras
    if forgotten >= 0 and state.blobs(ERA_SETS).get(era_key(forgotten)) is not None:
        state.blobs(ERA_SETS).delete(era_key(forgotten))
    _bond(state, ctx, upcoming, authorities, hotkeys)
    _note_boundary_stakes(state)
    state.write("era/participation", slice(0, MAX_AUTHORITIES), 0)
    events.append(
        event(EventKind.NewAuthoritySet, upcoming, len(authorities.members), authorities.total_weight)
    )
    return authorities, events


def _punish(state: State, ctx: BlockContext) -> list[Event]:
    """Jail and cut the hotkeys against which evidence came in during this era."""
    events: list[Event] = []
    due = np.flatnonzero(state.array("authorities/punished_through") == ctx.era + 1).tolist()
    table = state.key_table(AUTHORITIES)
    for hotkey, row in sorted((table.key(row), row) for row in due):
        until = ctx.era + 1 + ctx.spec.jail_eras
        state.write("authorities/jailed_until", row, until)
        events.append(event(EventKind.AuthorityJailed, hotkey, until))
        bonded = int(state.read("authorities/bonded_stake", row))
        cut = cut_hotkey_stake(state, ROOT, hotkey, bonded * ctx.spec.slash_ppm // MILLION)
        if cut:
            burn(state, cut)
            state.write("authorities/bonded_stake", row, bonded - cut)
            events.append(event(EventKind.AuthoritySlashed, hotkey, cut))
    return events


def _candidates(state: State, ctx: BlockContext) -> list[Candidate]:
    """Every hotkey whose authority key is older than the boundary before this one, in hotkey order."""
    earlier_boundary = ctx.era * ctx.spec.era_blocks
    present = {hotkey: index for index, hotkey in enumerate(era_hotkeys(state, ctx.era))}
    participation = state.array("era/participation")
    candidates = []
    for hotkey, row in state.key_table(AUTHORITIES).items():
        waiting = int(state.read("authorities/next_registered_at", row))
        if 0 < waiting < earlier_boundary:
            _promote_key(state, row)
        registered = int(state.read("authorities/registered_at", row))
        if registered and registered >= earlier_boundary:
            continue
        index = present.get(AccountId(hotkey))
        heartbeat = int(state.read("authorities/heartbeat_at", row))
        weight = min(int(state.read("authorities/boundary_stake", row)), hotkey_stake(state, ROOT, hotkey))
        candidates.append(
            Candidate(
                hotkey=AccountId(hotkey),
                key=AuthorityKey(state.read("authorities/authority_key", row).tobytes()),
                weight=Rao(weight),
                heartbeat=heartbeat > earlier_boundary,
                member=index is not None,
                idle=index is not None and not participation[index],
                jailed=ctx.era + 1 < int(state.read("authorities/jailed_until", row)),
            )
        )
    return candidates


def _promote_key(state: State, row: int) -> None:
    state.write("authorities/authority_key", row, state.read("authorities/next_key", row))
    state.write("authorities/registered_at", row, state.read("authorities/next_registered_at", row))
    state.write("authorities/next_key", row, 0)
    state.write("authorities/next_registered_at", row, 0)


def _bond(state: State, ctx: BlockContext, era: Era, authorities: AuthoritySet, hotkeys: Sequence[bytes]) -> None:
    """Each member keeps at least the largest weight it has had since it was last free."""
    for hotkey, member in zip(hotkeys, authorities.members, strict=True):
        if hotkey == NO_HOTKEY:
            continue
        row = state.key_table(AUTHORITIES).open(hotkey)
        bonded = bonded_stake(state, hotkey, ctx.era, max(ctx.spec.unbond_eras, 1))
        state.write("authorities/bonded_stake", row, max(bonded, member.weight))
        state.write("authorities/last_sat", row, era + 1)


def _note_boundary_stakes(state: State) -> None:
    for hotkey, row in state.key_table(AUTHORITIES).items():
        state.write("authorities/boundary_stake", row, hotkey_stake(state, ROOT, hotkey))


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

