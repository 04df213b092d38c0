"""Rules version 1: Bittensor's at spec 425 on integer columns (DESIGN decision 3), as the registry hands them out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...authority import AuthoritySet
from ...block import Body
from ...certificate import Certificate
from ...chain_spec import ChainSpec, genesis_authority_set
from ...evidence import Evidence
from ...state.state import State
from ...types import Hash32
from ..interface import BlockContext, BlockOutcome, Selection, Verified, nothing_verified
from . import genesis, invariants, transition


class RulesV1:
    """The functions of this package behind the `Rules` protocol."""

    version: int = genesis.VERSION

    def build_genesis(self, spec: ChainSpec) -> State:
        """See `Rules.build_genesis`."""
        return genesis.build_genesis(spec)

    def broken_invariants(self, state: State, spec: ChainSpec) -> list[str]:
        """See `Rules.broken_invariants`."""
        return invariants.broken_invariants(state, spec)

    def genesis_authorities(self, spec: ChainSpec, genesis_hash: Hash32) -> AuthoritySet:
        """See `Rules.genesis_authorities`."""
        return genesis_authority_set(spec, genesis_hash)

    def apply_block(
        self,
        state: State,
        ctx: BlockContext,
        body: Body,
        skip_signatures: bool = False,
        verified: Verified = nothing_verified,
    ) -> BlockOutcome:
        """See `Rules.apply_block`."""
        return transition.apply_block(state, ctx, body, skip_signatures, verified)

    def select(
        self,
        state: State,
        ctx: BlockContext,
        candidates: Iterable[bytes],
        certificate: Certificate | None = None,
        evidence: Iterable[Evidence] = (),
        verified: Verified = nothing_verified,
    ) -> Selection:
        """See `Rules.select`."""
        return transition.select(state, ctx, candidates, certificate, evidence, verified)


RULES: Final = RulesV1()
