"""What the mempool asks of the chain, answered from the finalised state by the rules themselves (CHAIN 3).

The pool stands on F: what is in blocks above F stays pooled until it is final, so a head that is abandoned loses
nothing. A state view is valid only until the next block is executed, so the pool takes a fresh one for each set of
questions, and the node calls what asks them (`admit`, `after_block`, `next_nonce`, `why_waiting`) inside the execution
lane only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..consensus.authority import AuthoritySet
from ..consensus.chain_spec import ChainSpec
from ..consensus.effects import BlockRef
from ..consensus.rules.interface import BlockContext
from ..consensus.rules.v1.balances import free_balance
from ..consensus.rules.v1.calls.call import Call
from ..consensus.rules.v1.errors import CallError
from ..consensus.state.state import State
from ..consensus.statement import VoteDomain
from ..consensus.transaction import TransactionDomain
from ..consensus.types import AccountId, Era, Hash32, Height, Slot


def following_context(
    spec: ChainSpec,
    genesis_hash: Hash32,
    domain: TransactionDomain,
    vote_domain: VoteDomain,
    parent: BlockRef,
    authorities: AuthoritySet,
) -> BlockContext:
    """Context of a block on `parent` as far as a pre-check may depend on it; its slot and author are not known yet."""
    height = Height(parent.height + 1)
    return BlockContext(
        spec=spec,
        genesis_hash=genesis_hash,
        domain=domain,
        vote_domain=vote_domain,
        height=height,
        era=Era(spec.timing.era_of(height)),
        slot=Slot(parent.slot + 1),
        parent_hash=parent.hash,
        proposer_index=0,
        authorities=authorities,
    )


class StatePoolState:
    """`PoolState` of rules version 1."""

    def __init__(self, ground: Callable[[], tuple[State, BlockContext]] | None = None) -> None:
        """`ground` gives the finalised state and the context of the next block (`following_context`)."""
        self._height = Height(0)
        self._ground = ground
        self._state: State
        self._context: BlockContext

    def refresh(self) -> None:
        """Take a fresh view; without a ground the one of `stand_on` stays."""
        if self._ground is not None:
            self.stand_on(*self._ground())

    def stand_on(self, state: State, context: BlockContext) -> None:
        """Answer from `state` from now on; `context` is that of the next block."""
        self._state, self._context = state, context
        self._height = Height(context.height - 1)

    def height(self) -> Height:
        """Height of the state; may be asked at any time."""
        return self._height

    def next_nonce(self, account: AccountId) -> int:
        """Next nonce of an account in the next block."""
        return self._state.accounts().nonce(account, self._context.height)

    def balance(self, account: AccountId) -> int:
        """Free rao above the existential deposit, which fees may not touch."""
        return max(0, free_balance(self._state, account) - self._context.spec.existential_deposit)

    def free_call_precheck(self, signer: AccountId, call: Call, arguments: tuple[Any, ...]) -> str | None:
        """Name of the error that keeps a free call out of the next block."""
        try:
            call.check(self._state, self._context, signer, arguments)
        except CallError as error:
            return error.number.name
        return None
