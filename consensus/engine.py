"""Slotted Simplex as a pure machine: `Engine.handle(event, now) -> effects` (CHAIN 1.3 rules R1-R14, 1.4).

No clock, I/O, randomness or signing inside. Where each rule lives:

| rule | where |
|---|---|
| R0 before the queue | the driver, before `ProposalSeen` |
| R1 enter | `_enter_next_view`, `view.start_of_view` |
| R2 propose | `_propose`, `proposal_rules.choose_parent` |
| R3 notarize | `_judge_current`, `_notarize`, `proposal_rules.judge` |
| R4 nullify | `_take_timer`, `_nullify` |
| R5 finalize | `_cast_finalize` |
| R6, R7 | `_accept` and `_finalise`; the order on disk is the driver's |
| R8 exclusive | `_cast` and the guard; certificates: `certificate_store`, `chain_view` |
| R9, R10, R11 | `CastVote.body_hash`, `OfferStatement`, `PersistCertificate` before what follows from it |
| R12 back-off | `_enter_next_view`, `_finalise`, `Timing.stretched` |
| R13 era stop, R14 conflict | `ChainView.is_era_stop`, `_is_closed`; `vote_table` |

A follower (no own key, a key outside the set, or one that abstains) votes nothing and sets no timers; it tracks
certificates, executes notarised blocks and finalises like everybody.

After each event `_settle` runs the rules that may have become due, in a fixed order, until nothing changes. The driver
feeds own votes back as `StatementSeen`; with one authority that alone completes quorums, also while a restart replays
them, so intake never runs inside an iteration over the tables it changes.
"""

from __future__ import annotations

from .block_tracker import BlockState
from .certificate import Certificate, certificate_from_votes
from .chain_view import ContradictionError
from .effects import (
    BehindFinality,
    BlockArrived,
    BlockBuilt,
    BlockExecuted,
    BlockFailed,
    BlockRef,
    Build,
    CastVote,
    CertificateSeen,
    Effect,
    EraOpened,
    Event,
    Finalise,
    OfferStatement,
    PersistCertificate,
    ProposalSeen,
    ReportEvidence,
    RequestCertificates,
    Restarted,
    SecondSigner,
    SetTimer,
    StatementSeen,
    SyncAdvanced,
    Timer,
    TimerFired,
    TimerKind,
    ViewEntered,
)
from .engine_state import EngineState
from .executions import UNWANTED_VIEWS
from .header import Header, block_hash
from .proposal_rules import Judgement, ParentChoice, Verdict, choose_parent, judge
from .statement import Kind, SignedStatement, Statement, nullify
from .timing import LATE_FINALIZE, VIEW_WINDOW
from .types import Hash32, Micros, View
from .view import CurrentView, start_of_view


class Engine(EngineState):
    """Consensus of one peer in one vote domain. The first event must be `Restarted`."""

    # --- the one entrance -------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: Micros) -> list[Effect]:
        """Take one event at unix time `now`; the effects are to be applied in order before the next event.

        After a `Halt` every event gives no effects. Raises RuntimeError when the first event is not `Restarted`.
        """
        if self._halt is not None:
            return []
        self._now = now
        self._effects = []
        if isinstance(event, Restarted):
            self._take_restart(event)
        elif not self._is_started:
            raise RuntimeError(f"the engine's first event is {type(event).__name__}, it must be Restarted")
        else:
            self._take(event)
        self._settle()
        return self._effects

    def _take(self, event: Event) -> None:
        match event:
            case StatementSeen(signed):
                self._take_statement(signed)
            case CertificateSeen(certificate):
                self._accept(certificate)
            case ProposalSeen(signed, header):
                self._take_proposal(signed, header)
            case TimerFired(timer):
                self._take_timer(timer)
            case BlockExecuted(executed):
                self._executions.take_executed(executed)
            case BlockFailed(failed, failure, reason):
                self._executions.take_failed(failed, failure, reason)
            case BlockArrived(header):
                self._take_block(header)
            case BlockBuilt(view, header):
                self._take_built(view, header)
            case EraOpened(context):
                if context.era > self.era:
                    self._open_era(context, context.opening, View(0), None)
            case SyncAdvanced():
                self._take_sync(event)

    def _settle(self) -> None:
        """Run every rule that may be due: finality first, then the view, then votes in it."""
        while not self._is_stopped() and (self._apply_finalization() or self._enter_next_view()):
            pass
        if self._is_stopped() or self._is_closed:
            return
        self._judge_current()
        self._executions.order_wanted(self._now)
        if self._is_stopped():
            return
        if self._current.acceptable is not None and not self._has_voted():
            self._executions.order_proposal(self._current.acceptable.statement.block_hash)
        self._notarize()
        self._cast_finalize()
        self._propose()

    # --- opening, restart, sync -------------------------------------------------------------------------------------

    def _take_restart(self, event: Restarted) -> None:
        """Feed what storage remembers through the same paths as what peers send (R7, R10, R11)."""
        self._level = 0
        self._listens_until = event.listens_until
        self._open_era(event.context, event.finalised, event.finalised_view, event.finality)
        chain = self._chain
        self._vote_floor = event.vote_floor
        named = [signed.statement for signed in event.own_statements]
        named += [certificate.statement for certificate in event.certificates]
        chain.blocks.restore(event.blocks, named, chain.finalised.height, chain.finalised_view)
        own = [signed for signed in event.own_statements if signed.statement.era == self.era]
        for signed in own:
            if signed.statement.view > chain.finalised_view:
                self._own[signed.statement.view, signed.statement.kind] = signed.statement
        late = [signed for signed in own if signed.statement.view <= chain.finalised_view]
        self._own_late = tuple(signed for signed in late if signed.statement.kind is Kind.FINALIZE)[-LATE_FINALIZE:]
        for certificate in event.certificates:
            self._accept(certificate)
        if self._is_stopped():
            return
        self._enter_next_view()  # the window of the votes that follow counts from this view
        for signed in own:
            self._emit(OfferStatement(signed))
            self._take_statement(signed)

    def _take_sync(self, event: SyncAdvanced) -> None:
        """Sync moved F; what lies above it stays (R7 without its finalise effect)."""
        if event.context.era > self.era:
            self._open_era(event.context, event.finalised, event.finalised_view, event.finality)
        elif event.context.era == self.era and event.finalised_view > self._chain.finalised_view:
            self._advance(event.finalised, event.finalised_view, event.finality)

    # --- statements and certificates --------------------------------------------------------------------------------

    def _take_statement(self, signed: SignedStatement) -> None:
        statement = signed.statement
        if statement.era != self.era or signed.index >= len(self.context.authorities.members):
            return
        if statement.view <= self._chain.finalised_view:
            self._records.add_late(signed)
            return
        if not self._is_in_window(statement.view):
            return
        if self._is_foreign(signed):
            self._stop_voting(signed)
        if statement.kind is Kind.PROPOSE and signed.index != self.leader_of(statement.view):
            return
        recorded = self._votes.record(signed)
        if recorded.evidence is not None:
            self._emit(ReportEvidence(recorded.evidence))
        if recorded.is_new and statement.kind is not Kind.PROPOSE:
            self._certify(statement)

    def _is_in_window(self, view: View) -> bool:
        """F.view < v <= view + VIEW_WINDOW, less the views that left it with a certificate (state kept)."""
        if view > self.view + VIEW_WINDOW:
            return False
        return view >= self.view - VIEW_WINDOW or not self._chain.certificates.has_any(view)

    def _certify(self, statement: Statement) -> None:
        """Build the certificate of a statement once its votes weigh a quorum."""
        if self._chain.certificates.has(statement.kind, statement.view):
            return
        votes = self._votes.quorum_votes(statement)
        if votes is not None:
            self._accept(certificate_from_votes(votes))

    def _is_foreign(self, signed: SignedStatement) -> bool:
        """A statement of the own key that neither this process nor its guard made."""
        statement = signed.statement
        if signed.index != self._own_index or statement.view <= self._vote_floor:
            return False
        return self._own.get((statement.view, statement.kind)) != statement

    def _stop_voting(self, signed: SignedStatement) -> None:
        """Second signer: this key is a follower until the driver opens an era in which it may sign."""
        self._emit(SecondSigner(signed))
        self._own_index = None

    def _accept(self, certificate: Certificate) -> None:
        """Keep a certificate above F durably before anything follows from it (R11), unless it contradicts (R8)."""
        statement = certificate.statement
        if statement.era != self.era or self._halt is not None:
            return
        other = self._chain.contradiction(certificate)
        if other is not None:
            self._stop("two certificates contradict each other", (other, certificate))
            return
        view = statement.view
        if view <= self._chain.finalised_view or self._chain.certificates.has(certificate.kind, view):
            return
        self._chain.certificates.add(certificate)
        self._emit(PersistCertificate(certificate))
        if certificate.kind is Kind.NULLIFY:
            return
        if statement.block_hash != self._chain.finalised.hash:
            self._chain.blocks.want(statement.block_hash, view)
        self._unfinalised_votes[view] = None
        if certificate.kind is Kind.FINALIZE and self._path(certificate) is None and self._halt is None:
            self._emit(BehindFinality(certificate))

    # --- finality (R7) ----------------------------------------------------------------------------------------------

    def _path(self, certificate: Certificate) -> list[BlockRef] | None:
        """Blocks above F up to the certified one; None while one is missing. Stops the engine on a contradiction."""
        try:
            return self._chain.path(certificate.statement.block_hash)
        except ContradictionError as error:
            finality = self._chain.finality
            self._stop(str(error), (certificate,) if finality is None else (finality, certificate))
        return None

    def _apply_finalization(self) -> bool:
        """Finalise by the highest finalization whose chain is here and executed. True when F moved."""
        for certificate in self._chain.certificates.finalizations():
            path = self._path(certificate)
            if self._halt is not None:
                return False
            if path is not None and all(self._chain.is_executed(block.hash) for block in path):
                return self._finalise(certificate, path)
        return False

    def _finalise(self, certificate: Certificate, path: list[BlockRef]) -> bool:
        """R7: F becomes (v, b). A lower finalization off this chain is a contradiction."""
        statement = certificate.statement
        on_chain = {block.hash: None for block in path} | {self._chain.finalised.hash: None}
        for other in self._chain.certificates.finalizations():
            if other.statement.view < statement.view and other.statement.block_hash not in on_chain:
                self._stop("two finalised blocks are not on one chain", (other, certificate))
                return False
        chain = tuple(block.hash for block in path)
        self._emit(Finalise(certificate, statement.block_hash, chain))
        self._level = max(0, self._level - 1)
        self._advance(path[-1] if path else self._chain.finalised, statement.view, certificate)
        return True

    def _advance(self, finalised: BlockRef, view: View, finality: Certificate | None) -> None:
        """F moves: everything at or below its view is dropped, except late finalize votes."""
        if finality is not None:
            self._records.add(finalised, finality, self._votes.finalize_votes(finality.statement))
        chain = self._chain
        chain.finalised, chain.finalised_view, chain.finality = finalised, view, finality
        chain.certificates.drop_through(view)
        chain.blocks.drop_through(finalised, view)
        self._votes.drop_through(view)
        for place in [place for place in self._own if place[0] <= view]:
            del self._own[place]
        for old in [old for old in self._unfinalised_votes if old <= view]:
            del self._unfinalised_votes[old]

    # --- views (R1, R12) --------------------------------------------------------------------------------------------

    def _enter_next_view(self) -> bool:
        """R1: the view after the highest one that any certificate ended. True when it was entered now."""
        if self._is_closed:
            return False
        view = View(1 + max(self._chain.finalised_view, self._chain.certificates.highest))
        if view <= self.view:
            return False
        failed = self._failed_views(view)
        self._level = min(self._timing.most_level, max(self._level, failed))
        start = start_of_view(self._chain, self._timing, view, self._now, self._previous_start, failed)
        start = max(start, self._listens_until)
        self._previous_start = start
        self._current = CurrentView(view, self.leader_of(view), self._level, start)
        self._executions.abandon_unwanted()
        self._executions.cancel_unwanted()
        self._executions.forget_unwanted(View(view - UNWANTED_VIEWS))
        self._votes.drop_decided(View(view - VIEW_WINDOW), self._chain.certificates)
        self._emit(ViewEntered(self.era, view, self._current.leader, self._level))
        if self._own_index is not None:
            self._set_timer(TimerKind.START, start)
            self._set_timer(TimerKind.PROPOSE, start + self._stretched(self._timing.propose_timeout))
            self._set_timer(TimerKind.NOTARIZE, start + self._stretched(self._timing.notarize_timeout))
        return True

    def _failed_views(self, view: View) -> int:
        """Views above F already left when `view` is entered; notarised ones count as long as F has not passed them."""
        return view - 1 - self._chain.finalised_view

    def _stretched(self, duration: int) -> int:
        return self._timing.stretched(duration, self._current.level)

    def _set_timer(self, kind: TimerKind, at: int) -> None:
        self._emit(SetTimer(Timer(kind, self.era, self.view), Micros(at)))

    def _wake_at(self, at: Micros) -> None:
        """One retry timer a view, for the earliest thing waited for."""
        if self._current.look_again is None or at < self._current.look_again:
            self._current.look_again = at
            self._set_timer(TimerKind.RETRY, at)

    def _take_timer(self, timer: Timer) -> None:
        """R4: a timer of the current view fired and this view is not finalised by me: nullify."""
        if (timer.era, timer.view) != (self.era, self.view) or self._is_closed:
            return
        if timer.kind is TimerKind.START:
            self._current.is_due_to_propose = True
        elif timer.kind is TimerKind.RETRY:
            self._current.look_again = None
        elif timer.kind is TimerKind.NOTARIZE:
            self._nullify()
        else:
            self._judge_current()  # what became acceptable this very moment counts
            if self._current.acceptable is None and (self.view, Kind.NOTARIZE) not in self._own:
                self._nullify()

    # --- proposals and votes in the current view --------------------------------------------------------------------

    def _take_proposal(self, signed: SignedStatement, header: Header) -> None:
        """Track the block of the first proposal of this view or the next, or one that a certificate names."""
        self._take_statement(signed)
        statement = signed.statement
        if statement.era != self.era:
            return
        first = self._votes.proposal(statement.view)
        is_first = first is not None and first.statement == statement
        is_near = self._chain.finalised_view < statement.view and self.view <= statement.view <= self.view + 1
        if (is_first and is_near) or statement.block_hash in self._chain.blocks.wanted:
            self._chain.blocks.add(header, statement.block_hash, statement.view)

    def _take_block(self, header: Header) -> None:
        """A fetched block: tracked when it is still asked for."""
        name = block_hash(header)
        blocks = self._chain.blocks
        if header.height > self._chain.finalised.height and (name in blocks.wanted or name in blocks.requested):
            blocks.add(header, name, self.view)

    def _judge_current(self) -> None:
        """R3 up to execution for the first proposal of the current view; a deterministic failure nullifies at once."""
        if self._own_index is None or self._is_listening or self._current.acceptable is not None or self._has_voted():
            return
        proposal = self._votes.proposal(self.view)
        if proposal is None:
            return
        block = self._chain.blocks.get(proposal.statement.block_hash)
        if block is None and proposal.statement.block_hash != self._chain.finalised.hash:
            self._executions.request(proposal.statement.block_hash, self._now)
            return
        judgement = self._judge(proposal.statement, None if block is None else block.header)
        if judgement.verdict is Verdict.FAILED:
            self._nullify()
        elif judgement.verdict is Verdict.ACCEPTABLE:
            self._current.acceptable = proposal
        else:
            self._wait_for(judgement)

    def _judge(self, statement: Statement, header: Header | None) -> Judgement:
        leader = self._current.leader
        return judge(self._chain, self._timing, leader, statement, header, self._now, self._slot_window())

    def _slot_window(self) -> int:
        """How old a slot may be: it widens with the back-off (R3)."""
        return self._stretched(self._timing.notarize_timeout)

    def _has_voted(self) -> bool:
        """Whether R3 has nothing more to decide in the current view."""
        return (self.view, Kind.NOTARIZE) in self._own or (self.view, Kind.NULLIFY) in self._own

    def _notarize(self) -> None:
        """R3: in the current view, once, not after an own nullify, executed by myself."""
        if self._current.acceptable is None or self._own_index is None or self._has_voted():
            return
        proposed = self._current.acceptable.statement
        if self._chain.is_executed(proposed.block_hash):
            vote = Statement(Kind.NOTARIZE, self.era, self.view, proposed.parent_view, proposed.block_hash)
            self._cast(vote, proposed.block_hash)
            return
        block = self._chain.blocks.get(proposed.block_hash)
        if block is not None and block.state is BlockState.REJECTED:
            self._nullify()

    def _nullify(self) -> None:
        """R4, R8: nullify the current view unless a finalize vote of mine forbids it."""
        if self._own_index is None or self._is_listening or not self._may_nullify():
            return
        self._cast(nullify(self.era, self.view), None)
        self._executions.abandon_unwanted()

    def _may_nullify(self) -> bool:
        return (self.view, Kind.NULLIFY) not in self._own and (self.view, Kind.FINALIZE) not in self._own

    def _cast_finalize(self) -> None:
        """R5: for any notarised view above F, also late, unless nullified by me, once executed by me."""
        if self._is_listening:
            return
        for view in list(self._unfinalised_votes):
            statement = self._chain.certificates.notarised(view)
            if statement is None or not self._may_finalize(view):
                del self._unfinalised_votes[view]
            elif self._chain.is_executed(statement.block_hash):
                del self._unfinalised_votes[view]
                self._cast(Statement(Kind.FINALIZE, self.era, view, statement.parent_view, statement.block_hash), None)

    def _may_finalize(self, view: View) -> bool:
        if self._own_index is None:
            return False
        return (view, Kind.NULLIFY) not in self._own and (view, Kind.FINALIZE) not in self._own

    def _cast(self, statement: Statement, body_hash: Hash32 | None) -> None:
        """Sign, unless the guard's floor forbids it anyway: then the vote counts as cast, so nothing else is tried."""
        self._own[statement.view, statement.kind] = statement
        if statement.view > self._vote_floor:
            self._emit(CastVote(statement, body_hash))

    # --- leading (R2) -----------------------------------------------------------------------------------------------

    def _propose(self) -> None:
        """Leader, at `start`, once a view: build on the highest notarised view, or propose its block again."""
        if (
            self._own_index != self._current.leader
            or not self._current.is_due_to_propose
            or self._current.building is not None
        ):
            return
        if (self.view, Kind.PROPOSE) in self._own or (self.view, Kind.NULLIFY) in self._own:
            return
        choice = choose_parent(self._chain, self._timing, self.view, self._now)
        if choice.parent is None:
            self._wait_for(choice)
            return
        parent = choice.parent
        if choice.propose_again:
            self._cast(Statement(Kind.PROPOSE, self.era, self.view, choice.view, parent.hash), parent.hash)
            return
        slot = self._timing.slot_at(self._now)
        if slot <= parent.slot:  # the clock stepped back since `start` was fixed
            self._wake_at(self._timing.start_of(parent.slot + 1))
            return
        self._current.building = choice.view, parent
        self._emit(Build(self.view, parent, slot))

    def _take_built(self, view: View, header: Header) -> None:
        """The own block is verified like anybody's: it is executed again from the outside (DESIGN 3)."""
        if self._current.building is None or view != self.view or (view, Kind.NULLIFY) in self._own:
            return
        parent_view, parent = self._current.building
        if header.parent_hash != parent.hash or (view, Kind.PROPOSE) in self._own:
            return
        name = block_hash(header)
        self._chain.blocks.add(header, name, view)
        self._cast(Statement(Kind.PROPOSE, self.era, view, parent_view, name), name)

    def _wait_for(self, needed: Judgement | ParentChoice) -> None:
        """Ask for what is missing, certificates once for a view asked about and view stayed in, and look again."""
        fresh = tuple(view for view in needed.missing_views if view not in self._current.asked)
        if fresh:
            self._current.asked.update(dict.fromkeys(fresh))
            self._emit(RequestCertificates(self.era, fresh))
        if needed.missing_block is not None:
            self._executions.request(needed.missing_block, self._now)
        if needed.look_again is not None:
            self._wake_at(needed.look_again)
