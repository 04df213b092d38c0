"""Rules that check the whole ledger after every block: for tests, debug runs and `yumad verify --invariants`.

A state in which something does not add up is a fault of the rules, never of a block: it stops the process instead of
refusing the block, since every peer's state is as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..authority import AuthoritySet
from ..block import Body
from ..certificate import Certificate
from ..evidence import Evidence
from ..types import Hash32, YumadError
from .interface import BlockContext, BlockOutcome, Rules, Selection, Verified, nothing_verified
from .registry import rules_for

if TYPE_CHECKING:
    from ..chain_spec import ChainSpec
    from ..state.state import State


class BrokenInvariantError(YumadError):
    """A block left a state in which something does not add up."""

    code = "broken_invariant"

    def __init__(self, height: int, failures: list[str]) -> None:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        super().__init__(
            f"after block {height}: {failures[0]}{more}", remedy="this is a fault of yumad: report it with the block"
        )
        self.failures = failures


class CheckedRules:
    """A rules version whose every block is followed by `broken_invariants`."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.version = rules.version

    def build_genesis(self, spec: ChainSpec) -> State:
        """See `Rules.build_genesis`."""
        state = self._rules.build_genesis(spec)
        self._check(state, spec, 0)
        return state

    def genesis_authorities(self, spec: ChainSpec, genesis_hash: Hash32) -> AuthoritySet:
        """See `Rules.genesis_authorities`."""
        return self._rules.genesis_authorities(spec, genesis_hash)

    def broken_invariants(self, state: State, spec: ChainSpec) -> list[str]:
        """See `Rules.broken_invariants`."""
        return self._rules.broken_invariants(state, spec)

    def apply_block(
        self,
        state: State,
        ctx: BlockContext,
        body: Body,
        skip_signatures: bool = False,
        verified: Verified = nothing_verified,
    ) -> BlockOutcome:
        """See `Rules.apply_block`; raises BrokenInvariantError too."""
        outcome = self._rules.apply_block(state, ctx, body, skip_signatures, verified)
        self._check(state, ctx.spec, ctx.height)
        return outcome

    def select(
        self,
        state: State,
        ctx: BlockContext,
        candidates: Iterable[bytes],
        certificate: Certificate | None = None,
        evidence: Iterable[Evidence] = (),
        verified: Verified = nothing_verified,
    ) -> Selection:
        """See `Rules.select`; raises BrokenInvariantError too."""
        selection = self._rules.select(state, ctx, candidates, certificate, evidence, verified)
        self._check(state, ctx.spec, ctx.height)
        return selection

    def _check(self, state: State, spec: ChainSpec, height: int) -> None:
        failures = self._rules.broken_invariants(state, spec)
        if failures:
            raise BrokenInvariantError(height, failures)


def checked_rules_for(version: int) -> Rules:
    """As `rules_for`, with every block checked."""
    return CheckedRules(rules_for(version))
