"""One planted bug each: the rule of CHAIN 1.3 it breaks is in its docstring. None of them may pass unnoticed."""

from __future__ import annotations

from collections.abc import Sequence

from simulation.stores import Guard
from yumad.consensus.block_tracker import BlockState
from yumad.consensus.certificate import Certificate
from yumad.consensus.certificate_store import CertificateStore
from yumad.consensus.effects import BlockRef, EraContext, ProposalSeen
from yumad.consensus.engine import Engine
from yumad.consensus.header import Header
from yumad.consensus.proposal_rules import Judgement, Verdict
from yumad.consensus.statement import Kind, SignedStatement, Statement
from yumad.consensus.timing import VIEW_WINDOW
from yumad.consensus.types import Era, Hash32, View


class PermissiveGuard(Guard):
    """A guard that signs everything: without it the second defence would hide an engine's bug."""

    @staticmethod
    def _allow(existing: Sequence[Statement], floor: tuple[Era, View] | None, statement: Statement) -> str | None:
        return None

    refusal = _allow


class UnbornGuard(Guard):
    """Birth rule: a new guard of an old key signs at once."""

    checks_birth = False


class TwinEngine(Engine):
    """Not a bug of the rules: the adversary's copy, which does not mind a second signer."""

    def _is_foreign(self, signed: SignedStatement) -> bool:
        return False


class FinalizesAndNullifies(Engine):
    """R8, R4, R5: nullify and finalize of one view by one key."""

    def _may_nullify(self) -> bool:
        return (self.view, Kind.NULLIFY) not in self._own

    def _may_finalize(self, view: View) -> bool:
        return self._own_index is not None and (view, Kind.FINALIZE) not in self._own


class IgnoresParentRule(Engine):
    """R3: a gap without nullifications is fine, and so is a parent below F."""

    def _judge(self, statement: Statement, header: Header | None) -> Judgement:
        judgement = super()._judge(statement, header)
        if judgement.missing_views or "finalised view" in judgement.reason:
            return Judgement(Verdict.ACCEPTABLE)
        return judgement


class NoBackoff(Engine):
    """R12: timers never stretch."""

    def _stretched(self, duration: int) -> int:
        return duration


class CountsNullifiedViewsOnly(Engine):
    """R12: views left by a notarization do not raise the level."""

    def _failed_views(self, view: View) -> int:
        failed = 0
        for earlier in range(view - 1, self.finalised_view, -1):
            if self._chain.notarised_hash(View(earlier)) is not None:
                break
            failed += 1
        return failed


class ResetsLevel(Engine):
    """R12: a finalisation forgets the back-off altogether."""

    def _finalise(self, certificate: Certificate, path: list[BlockRef]) -> bool:
        done = super()._finalise(certificate, path)
        self._level = 0
        return done


class FixedSlotWindow(Engine):
    """R3: the slot window does not widen with the back-off."""

    def _slot_window(self) -> int:
        return self._timing.notarize_timeout


class WindowFromFinalised(Engine):
    """State kept: votes are kept VIEW_WINDOW views above F instead of above the view."""

    def _is_in_window(self, view: View) -> bool:
        return view <= self.finalised_view + VIEW_WINDOW


class NoEraStop(Engine):
    """R13: the old set builds on above its last block."""

    def _open_era(
        self, context: EraContext, finalised: BlockRef, finalised_view: View, finality: Certificate | None
    ) -> None:
        super()._open_era(context, finalised, finalised_view, finality)
        self._chain.boundary = type(self._chain.boundary)(1 << 60)

    @property
    def _is_closed(self) -> bool:
        return self.finalised_view > 0 and self.finalised.height == self._timing.boundary_of(self.era)


class SlotRuleForReproposals(Engine):
    """R13: a re-proposal of the boundary must have a slot of now."""

    def _judge(self, statement: Statement, header: Header | None) -> Judgement:
        judgement = super()._judge(statement, header)
        if judgement.verdict is Verdict.ACCEPTABLE and header is not None:
            window = self._timing.drift + self._stretched(self._timing.notarize_timeout)
            if header.slot < self._timing.slot_at(self._now - window) - 1:
                return Judgement(Verdict.WAIT, "slot too old")
        return judgement


class SkipsLateFinalize(Engine):
    """R5: finalize only when the notarization arrives, never later."""

    def _cast_finalize(self) -> None:
        super()._cast_finalize()
        self._unfinalised_votes.clear()


class DropsLateFinalize(Engine):
    """State kept: finalize votes of views that are final already count for nobody's participation."""

    def _take_statement(self, signed: SignedStatement) -> None:
        if signed.statement.era != self.era or signed.statement.view > self.finalised_view:
            super()._take_statement(signed)


class SecondNotarize(Engine):
    """R3: every proposal of the view is notarized, not at most one."""

    def _open_era(
        self, context: EraContext, finalised: BlockRef, finalised_view: View, finality: Certificate | None
    ) -> None:
        super()._open_era(context, finalised, finalised_view, finality)
        self._further: dict[Hash32, Statement] = {}

    def _take(self, event: object) -> None:
        super()._take(event)  # type: ignore[arg-type]
        if isinstance(event, ProposalSeen) and event.signed.statement.view == self.view:
            self._further[event.signed.statement.block_hash] = event.signed.statement
            self._chain.blocks.add(event.header, event.signed.statement.block_hash, self.view)

    def _settle(self) -> None:
        super()._settle()
        for name, proposed in list(self._further.items()):
            block = self._chain.blocks.get(name)
            if proposed.view != self.view or block is None or self._own_index is None or self._is_stopped():
                continue
            if block.state is BlockState.KNOWN:
                self._executions.order_proposal(name)
            elif block.state is BlockState.EXECUTED:
                del self._further[name]
                vote = Statement(Kind.NOTARIZE, self.era, self.view, proposed.parent_view, name)
                if self._own.get((self.view, Kind.NOTARIZE)) != vote:
                    self._cast(vote, name)


class CertificatesPerHash(CertificateStore):
    """R8: a notarization is kept for each (view, hash), nothing contradicts."""

    def __init__(self) -> None:
        super().__init__()
        self.hashes: dict[tuple[View, Hash32], Certificate] = {}

    def contradiction(self, certificate: Certificate) -> Certificate | None:
        return None

    def has(self, kind: Kind, view: View) -> bool:
        return kind is Kind.NULLIFY and super().has(kind, view)

    def add(self, certificate: Certificate) -> None:
        statement = certificate.statement
        if certificate.kind is not Kind.NULLIFY and (statement.view, statement.block_hash) not in self.hashes:
            self.hashes[statement.view, statement.block_hash] = certificate
        if certificate.kind is Kind.NOTARIZE and super().has(Kind.NOTARIZE, statement.view):
            return
        super().add(certificate)


class SecondNotarizeBothKept(SecondNotarize):
    """Both defences gone: two notarize votes in a view, and two notarizations of it are kept."""

    def _new_certificate_store(self) -> CertificateStore:
        return CertificatesPerHash()

    def _judge(self, statement: Statement, header: Header | None) -> Judgement:
        judgement = super()._judge(statement, header)
        store = self._chain.certificates
        assert isinstance(store, CertificatesPerHash)
        if header is not None and (statement.parent_view, header.parent_hash) in store.hashes:
            return Judgement(Verdict.ACCEPTABLE)
        return judgement


class OverwritingGuard(Guard):
    """A guard with one certificate row a view: the finalization takes the notarization's place (R8 allows it)."""

    def keep(self, certificate: Certificate) -> None:
        super().keep(certificate)
        if certificate.kind is Kind.FINALIZE:
            self.certificates.pop((certificate.statement.era, certificate.statement.view, Kind.NOTARIZE), None)
