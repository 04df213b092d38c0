"""What a block says about its era's authorities: author, finality certificate, evidence (CHAIN 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ...authority import MAX_AUTHORITIES
from ...certificate import Certificate, signers_weight, verify_certificate
from ...evidence import Evidence, is_offence, make_evidence, verify_evidence
from ...statement import Kind
from ...types import Hash32, InvalidError
from ..interface import BlockContext, Event
from .authorities import bond_members
from .era_sets import NO_HOTKEY, read_era_set, write_era_set
from .events import EventKind, event
from .schema import AUTHOR, AUTHORITIES, BLOCK_HASH_RING, IN_CERTIFICATE

if TYPE_CHECKING:
    from ...state.state import State

CERTIFICATE_DEPTH: Final = 2
"""Heights between a block and the certificate of an ancestor in its body: late finalize votes have arrived by then."""


def adopt_authorities(state: State, ctx: BlockContext) -> None:
    """Make the state's set of this era the one that votes.

    They differ only after a restart file, which replaces the set of the running era from outside (CHAIN 1.3,
    partitions). Participation starts anew with it, and its members are bonded like those of any set. A member whose
    key nobody registered has no hotkey: its fees are burned.
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
    bond_members(state, ctx, ctx.era, ctx.authorities, hotkeys)
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
