"""Evidence waiting for a block (CHAIN 1.3): kept while its era can still be punished, included by any proposer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..consensus.evidence import Evidence
from ..consensus.types import Era

_MOST: Final = 64
"""One per offender and era is enough; more than this many offenders at once is beyond the fault bound."""


class EvidencePool:
    """At most one piece per (era, authority): one offence jails, further ones add nothing."""

    def __init__(self) -> None:
        self._held: dict[tuple[Era, int], Evidence] = {}

    def add(self, evidence: Evidence) -> bool:
        """Keep a verified piece; False when its offender is covered or the pool is full."""
        key = (evidence.first.statement.era, evidence.first.index)
        if key in self._held or len(self._held) >= _MOST:
            return False
        self._held[key] = evidence
        return True

    def for_block(self) -> tuple[Evidence, ...]:
        """All of it, oldest era first: the rules take as many as a body may carry and skip what is covered already."""
        return tuple(self._held[key] for key in sorted(self._held))

    def drop(self, included: Sequence[Evidence], oldest_era: int) -> None:
        """Forget what a final block included, and what is of an era before `oldest_era`: too old to punish."""
        for evidence in included:
            self._held.pop((evidence.first.statement.era, evidence.first.index), None)
        for key in [key for key in self._held if key[0] < oldest_era]:
            del self._held[key]
