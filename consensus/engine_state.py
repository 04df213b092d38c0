"""What an engine holds in one era, and the status that exchange, author and operator read (CHAIN 1.3, state kept).

`Engine` adds the rules. Nothing here decides anything: fields, their reset when an era opens, and read-only views.
"""

from __future__ import annotations

from collections.abc import Callable

from .certificate import Certificate
from .certificate_store import CertificateStore
from .chain_view import ChainView
from .effects import NO_FLOOR, VOTES_AT_ONCE, BlockRef, Effect, EraContext, Halt
from .executions import Executions
from .finality_record import FinalisedView, FinalityRecords
from .leader import leader_index
from .statement import Kind, SignedStatement, Statement
from .timing import Timing
from .types import AuthorityKey, Era, Micros, View
from .view import CurrentView
from .vote_table import VoteTable


def never(_: EraContext) -> bool:
    """The key abstains in no era: what a guard made together with its key answers."""
    return False


class EngineState:
    """Consensus state of one peer in one vote domain."""

    def __init__(
        self, timing: Timing, own_key: AuthorityKey | None, abstains: Callable[[EraContext], bool] = never
    ) -> None:
        """`abstains` is asked once an era is entered; True makes the own key a follower for it (birth rule)."""
        self._timing = timing
        self._own_key = own_key
        self._abstains = abstains
        self._now = Micros(0)
        self._effects: list[Effect] = []
        self._halt: Halt | None = None
        self._level = 0
        self._boundary_certificate: Certificate | None = None
        self._listens_until = VOTES_AT_ONCE
        self._chain: ChainView
        self._is_started = False

    def _open_era(
        self, context: EraContext, finalised: BlockRef, finalised_view: View, finality: Certificate | None
    ) -> None:
        """Forget the last era and stand at F of this one. `level` survives (R12)."""
        if self._is_started:
            self._boundary_certificate = self._chain.finality if context.era == self.era + 1 else None
        self._chain = ChainView(
            context,
            finalised,
            finalised_view,
            finality,
            self._timing.boundary_of(context.era),
            certificates=self._new_certificate_store(),
        )
        self._executions = Executions(self._chain, self._emit, self._stop)
        self._votes = VoteTable(context.authorities)
        self._records = FinalityRecords()
        if finality is not None:
            self._records.add(finalised, finality, ())
        self._own: dict[tuple[View, Kind], Statement] = {}
        self._own_late: tuple[SignedStatement, ...] = ()
        self._vote_floor = NO_FLOOR
        self._unfinalised_votes: dict[View, None] = {}
        own_index = None if self._own_key is None else context.authorities.index_of(self._own_key)
        self._own_index = None if own_index is None or self._abstains(context) else own_index
        self._current = CurrentView(finalised_view, 0, 0, self._now)
        self._previous_start: Micros | None = None
        self._is_started = True

    def _new_certificate_store(self) -> CertificateStore:
        return CertificateStore()

    def _stop(self, reason: str, certificates: tuple[Certificate, ...]) -> None:
        """Fail-stop: from here on every event is ignored."""
        if self._halt is None:
            self._halt = Halt(reason, certificates)
            self._emit(self._halt)

    def _is_stopped(self) -> bool:
        return self._halt is not None

    def _emit(self, effect: Effect) -> None:
        if self._halt is None or effect is self._halt:
            self._effects.append(effect)

    @property
    def _is_listening(self) -> bool:
        """Nothing new is signed yet: neighbours may still show that this key signs elsewhere."""
        return self._now < self._listens_until

    @property
    def _is_closed(self) -> bool:
        """The era's last block is final: nothing more is voted here, the driver opens the next era (R13)."""
        return self._chain.finalised_view > 0 and self._chain.finalised.height >= self._chain.boundary

    # --- status, for the exchange, the author of blocks and the operator ---------------------------------------------

    @property
    def context(self) -> EraContext:
        """The era voted in."""
        return self._chain.context

    @property
    def era(self) -> Era:
        """Number of the era voted in."""
        return self._chain.context.era

    @property
    def view(self) -> View:
        """Current view."""
        return self._current.number

    @property
    def level(self) -> int:
        """Back-off level (R12)."""
        return self._level

    @property
    def is_voter(self) -> bool:
        """Whether the own key votes in this era."""
        return self._own_index is not None

    @property
    def halted(self) -> Halt | None:
        """Why the engine stopped, if it did."""
        return self._halt

    @property
    def finalised(self) -> BlockRef:
        """F's block: what wallets and readers see."""
        return self._chain.finalised

    @property
    def finalised_view(self) -> View:
        """F's view; 0 at the opening block."""
        return self._chain.finalised_view

    @property
    def finality(self) -> Certificate | None:
        """Certificate of F; None at the opening block, whose certificate is `boundary_certificate`."""
        return self._chain.finality

    @property
    def boundary_certificate(self) -> Certificate | None:
        """Finality of the block that opened this era, for a neighbour still in the last one; None after a restart."""
        return self._boundary_certificate

    @property
    def head(self) -> BlockRef:
        """Block of the highest notarised view reachable from F: unsafe."""
        return self._chain.head()

    def leader_of(self, view: View) -> int:
        """Index of the leader of `view` in this era."""
        return leader_index(self._chain.context.authorities, view)

    def held_certificates(self) -> tuple[Certificate, ...]:
        """F's certificate, then everything above it by ascending view."""
        finality = self._chain.finality
        return (() if finality is None else (finality,)) + self._chain.certificates.all()

    def held_statements(self) -> tuple[SignedStatement, ...]:
        """First votes of the window, the current view first, then ascending; then late finalize votes (R10)."""
        views = [view for view in self._votes.views() if view != self.view]
        held = [signed for view in [self.view, *views] for signed in self._votes.held(view)]
        held += [signed for record in self._records.all() for _, signed in sorted(record.votes.items())]
        return (*held, *self._own_late)

    def finality_records(self) -> tuple[FinalisedView, ...]:
        """The last finalised views with every finalize vote known, oldest first: for the next body's certificate."""
        return self._records.all()

    def missing_weight(self) -> tuple[int, tuple[tuple[AuthorityKey, int], ...]]:
        """Weight that the current view's heaviest tally lacks to the quorum, and who has not voted in the view."""
        authorities = self.context.authorities
        voters = self._votes.voters(self.view)
        silent = tuple(
            (member.key, member.weight) for index, member in enumerate(authorities.members) if index not in voters
        )
        return max(0, authorities.quorum - self._votes.best_weight(self.view)), silent

    @property
    def held_count(self) -> tuple[int, int, int]:
        """Votes, certificates and blocks held: what the memory bounds are about."""
        return len(self._votes), len(self._chain.certificates), len(self._chain.blocks)
