"""One engine on a bench: events are made by hand, effects are looked at one by one. No network, driver or chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeVar

from yumad.consensus.authority import Authority, AuthoritySet
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import (
    BlockArrived,
    BlockExecuted,
    BlockRef,
    CastVote,
    CertificateSeen,
    Effect,
    EraContext,
    Event,
    Finalise,
    ProposalSeen,
    Restarted,
    SetTimer,
    StatementSeen,
    Timer,
    TimerFired,
    TimerKind,
)
from yumad.consensus.engine import Engine
from yumad.consensus.header import Header, block_hash
from yumad.consensus.leader import leader_index
from yumad.consensus.statement import Kind, SignedStatement, Statement, nullify
from yumad.consensus.timing import Timing
from yumad.consensus.types import (
    ZERO_HASH,
    AuthorityKey,
    Era,
    Hash32,
    Height,
    Micros,
    Signature,
    Slot,
    View,
)

SECOND = 1_000_000
SLOT = 12 * SECOND
SIGNATURE = Signature(bytes(64))
E = TypeVar("E")


class Bench:
    """An engine with authority `own` of a set, and the hands that feed it."""

    def __init__(
        self,
        weights: Sequence[int] = (1, 1, 1, 1),
        own: int | None = 0,
        *,
        era: int = 0,
        era_blocks: int = 20,
        opening: BlockRef | None = None,
        slot: int = SLOT,
        abstains: Callable[[EraContext], bool] = lambda _: False,
        restarted: dict[str, Any] | None = None,
        leads: Sequence[int] = (),
    ) -> None:
        """An engine just started. The era's seed is chosen so that `own` leads exactly `leads` of the views 1 to 9."""
        members = tuple(Authority(AuthorityKey(bytes([n + 1]) * 32), weight) for n, weight in enumerate(weights))
        self.authorities = _set_in_which(members, own, tuple(leads))
        genesis = BlockRef(Hash32(b"G" * 32), Height(era * era_blocks), Slot(0), ZERO_HASH)
        self.context = EraContext(Era(era), self.authorities, opening or genesis)
        self.timing = Timing(Micros(0), Micros(slot), era_blocks)
        self.now = self.timing.start_of(self.context.opening.slot) + slot // 2
        self.own = own
        key = members[own].key if own is not None and own < len(members) else None
        if own is not None and own >= len(members):
            key = AuthorityKey(b"\xee" * 32)
        self.engine = Engine(self.timing, key, abstains)
        self.effects: list[Effect] = []
        event = Restarted(self.context, self.context.opening, View(0), None, (), (), ())
        self.feed(replace(event, **(restarted or {})))

    # --- feeding ----------------------------------------------------------------------------------------------------

    def feed(self, *events: Event) -> list[Effect]:
        """Effects of these events, which are also kept until the next call."""
        self.effects = []
        for event in events:
            self.effects += self.engine.handle(event, Micros(self.now))
        return self.effects

    def of(self, kind: type[E]) -> list[E]:
        """Effects of one type from the last `feed`."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def votes(self, kind: Kind | None = None) -> list[Statement]:
        """Statements cast in the last `feed`."""
        cast = [effect.statement for effect in self.of(CastVote)]
        return [statement for statement in cast if kind is None or statement.kind is kind]

    def wait(self, seconds: float) -> None:
        """Let time pass without an event."""
        self.now += int(seconds * SECOND)

    def fire(self, kind: TimerKind, view: int | None = None) -> list[Effect]:
        """A timer of the current view (or of `view`) fires."""
        era, current = self.engine.era, self.engine.view
        return self.feed(TimerFired(Timer(kind, era, current if view is None else View(view))))

    def timer(self, kind: TimerKind) -> int | None:
        """When the timer set in the last `feed` fires."""
        at = [effect.at for effect in self.of(SetTimer) if effect.timer.kind is kind]
        return at[-1] if at else None

    # --- making -----------------------------------------------------------------------------------------------------

    def leader(self, view: int) -> int:
        """Index of the view's leader."""
        return leader_index(self.authorities, View(view))

    def view_led_by(self, index: int, start: int = 1) -> int:
        """First view from `start` on that `index` leads."""
        return next(view for view in range(start, start + 1000) if self.leader(view) == index)

    def block(self, view: int, parent: BlockRef | None = None, *, salt: int = 0, **changes: Any) -> Header:
        """A header that the leader of `view` could seal on `parent` (F when None), with fields changed at will."""
        parent = parent or self.engine.finalised
        header = Header(
            rules_version=1,
            height=Height(parent.height + 1),
            era=self.engine.era,
            slot=max(Slot(parent.slot + 1), self.timing.slot_at(self.now)),
            parent_hash=parent.hash,
            proposer_index=self.leader(view),
            tx_root=Hash32(bytes([salt]) * 32),
            results_root=ZERO_HASH,
            state_root=ZERO_HASH,
            authorities_hash=self.authorities.hash,
            next_authorities_hash=ZERO_HASH,
            commit_root=ZERO_HASH,
            signal=1,
        )
        return replace(header, **changes)

    def statement(
        self, kind: Kind, view: int, parent_view: int = 0, header: Header | Hash32 | None = None
    ) -> Statement:
        """A statement of this era."""
        if kind is Kind.NULLIFY:
            return nullify(self.engine.era, View(view))
        assert header is not None
        name = block_hash(header) if isinstance(header, Header) else header
        return Statement(kind, self.engine.era, View(view), View(parent_view), name)

    def signed(self, index: int, kind: Kind, view: int, parent_view: int = 0, header: Any = None) -> SignedStatement:
        """The statement with a signer."""
        return SignedStatement(self.statement(kind, view, parent_view, header), index, SIGNATURE)

    def seen(self, index: int, kind: Kind, view: int, parent_view: int = 0, header: Any = None) -> StatementSeen:
        """The vote as an event."""
        return StatementSeen(self.signed(index, kind, view, parent_view, header))

    def certificate(
        self, kind: Kind, view: int, parent_view: int = 0, header: Any = None, signers: Sequence[int] | None = None
    ) -> Certificate:
        """A certificate signed by everybody, or by `signers`."""
        indices = tuple(range(len(self.authorities.members)) if signers is None else signers)
        return Certificate(self.statement(kind, view, parent_view, header), indices, (SIGNATURE,) * len(indices))

    def certificate_of(self, era: int, kind: Kind, view: int, parent_view: int, name: Hash32) -> Certificate:
        """A certificate of another era than the engine's."""
        certificate = self.certificate(kind, view, parent_view, name)
        return replace(certificate, statement=replace(certificate.statement, era=Era(era)))

    def certified(self, kind: Kind, view: int, parent_view: int = 0, header: Any = None) -> CertificateSeen:
        """The certificate as an event."""
        return CertificateSeen(self.certificate(kind, view, parent_view, header))

    def proposal(self, view: int, parent_view: int, header: Header) -> ProposalSeen:
        """The leader's proposal as an event."""
        return ProposalSeen(self.signed(self.leader(view), Kind.PROPOSE, view, parent_view, header), header)

    # --- shortcuts --------------------------------------------------------------------------------------------------

    def at_slot(self, slot: int) -> None:
        """The clock shows the middle of a slot."""
        self.now = self.timing.start_of(slot) + self.timing.slot_length // 2

    def notarise(self, view: int, parent_view: int = 0, parent: BlockRef | None = None, **changes: Any) -> Header:
        """A block of `view` arrives, is executed and is notarised; its header."""
        parent = parent or self.engine.finalised
        self.now = max(self.now, self.timing.start_of(parent.slot + 1) + 1)
        header = self.block(view, parent, **changes)
        effects = []
        if self.leader(view) != self.own:  # an own proposal that this process did not make would be a second signer's
            effects += self.feed(self.proposal(view, parent_view, header))
            effects += self.feed(BlockExecuted(block_hash(header)))
        effects += self.feed(self.certified(Kind.NOTARIZE, view, parent_view, header), BlockArrived(header))
        effects += self.feed(BlockExecuted(block_hash(header)))
        self.effects = effects
        return header

    def finalise(self, view: int, parent_view: int = 0, parent: BlockRef | None = None, **changes: Any) -> Header:
        """A block of `view` arrives and becomes final; its header."""
        header = self.notarise(view, parent_view, parent, **changes)
        effects = self.effects
        self.effects = effects + self.feed(self.certified(Kind.FINALIZE, view, parent_view, header))
        assert self.of(Finalise), "the block became final"
        return header

    def finalise_after_gap(self) -> Header:
        """View 1 is nullified, the block of view 2 stands on the opening and is final."""
        self.feed(self.certified(Kind.NULLIFY, 1))
        return self.finalise(2, 0)


def _set_in_which(members: tuple[Authority, ...], own: int | None, leads: tuple[int, ...]) -> AuthoritySet:
    """The first seed in a fixed row that gives `own` these views."""
    row = range(20_000) if own is not None and len(members) > own and len(members) > 1 else range(1)
    for number in row:
        authorities = AuthoritySet(members, Hash32(blake2b(number.to_bytes(4, "big"), digest_size=32).digest()))
        if len(row) == 1 or tuple(v for v in range(1, 10) if leader_index(authorities, View(v)) == own) == leads:
            return authorities
    raise AssertionError(f"no seed gives authority {own} the views {leads}")


def ref(header: Header) -> BlockRef:
    """Place of a block."""
    return BlockRef.of(header, block_hash(header))
