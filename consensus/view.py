"""The consensus attempt a peer is in: entered once, left by the first certificate of it or a later view (CHAIN R1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .chain_view import ChainView
from .effects import BlockRef
from .statement import SignedStatement
from .timing import Timing
from .types import Micros, View

PACED_AFTER: Final = 2
"""Failed views above F from which on a view starts no earlier than T_PROPOSE after the one before (R1, pace)."""


@dataclass(slots=True)
class CurrentView:
    """What was fixed on entry, and what has happened in the view since."""

    number: View
    leader: int
    level: int
    """Back-off level on entry: timers and the slot window of the whole view use it (R12)."""
    start: Micros
    acceptable: SignedStatement | None = None
    """The first proposal, once leader, parent, gap and slot passed; it stays acceptable while it executes."""
    is_due_to_propose: bool = False
    """`start` has come."""
    building: tuple[View, BlockRef] | None = None
    """Parent view and parent of the block being built."""
    asked: dict[View, None] = field(default_factory=dict)
    """Views whose certificates were asked for."""
    look_again: Micros | None = None
    """When the retry timer fires, if it is set."""


def start_of_view(
    chain: ChainView, timing: Timing, view: View, now: Micros, previous_start: Micros | None, failed_views: int
) -> Micros:
    """When the leader of `view` proposes and the timers begin to run, fixed on entry (R1).

    No earlier than the slot after the parent's; at once where only a re-proposal is legal (R13). After two failed
    views no earlier than T_PROPOSE after the previous start, so that views cannot spin.
    """
    parent_view, parent_hash = chain.top(view)
    parent = chain.block(parent_hash)
    if parent is None:
        start = now + timing.slot_length
    elif chain.is_era_stop(parent_view, parent):
        start = now
    else:
        start = max(now, timing.start_of(parent.slot + 1))
    if previous_start is not None and failed_views >= PACED_AFTER:
        start = max(start, previous_start + timing.propose_timeout)
    return Micros(start)
