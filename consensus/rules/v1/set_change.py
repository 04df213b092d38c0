"""Who sits in the next era's set: the pure choice made at a boundary block (CHAIN 1.3, set change).

State is read and written in `authorities`; here are only the rules, so that each can be tested on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...authority import MAX_AUTHORITIES, Authority, AuthoritySet
from ...types import AccountId, AuthorityKey, Hash32, Rao


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hotkey with an authority key that was registered early enough."""

    hotkey: AccountId
    key: AuthorityKey
    weight: Rao
    """Root stake behind the hotkey, the smaller of the last two boundaries."""
    heartbeat: bool
    """A heartbeat of it is in a block of this era."""
    member: bool
    """It sits in the present set."""
    idle: bool
    """It sits in the present set, is in none of the era's certificates and made none of its blocks."""
    jailed: bool
    """Punished and not yet released for the next era."""

    @property
    def present(self) -> bool:
        """It did what an authority has to do in this era."""
        return self.heartbeat and not self.idle


def _rank(candidate: Candidate) -> tuple[int, AuthorityKey]:
    return candidate.weight, candidate.key


def next_members(candidates: Sequence[Candidate], minimum_weight: int, min_set: int) -> tuple[Candidate, ...]:
    """The hotkeys of the next set, sorted by authority key; empty if nobody qualifies.

    Weight and jail decide first. Then the absent are left out, except that the heaviest absent members of the present
    set stay as long as fewer than `min_set` are there: with fewer members one failure would stop the chain. The top
    MAX_AUTHORITIES by (weight, key) remain.
    """
    able = [c for c in candidates if c.weight > 0 and c.weight >= minimum_weight and not c.jailed]
    ranked = sorted(able, key=_rank, reverse=True)
    chosen = [c for c in ranked if c.present]
    if len(chosen) < min_set:
        absent = [c for c in ranked if c.member and not c.present]
        chosen += absent[: min_set - len(chosen)]
        chosen.sort(key=_rank, reverse=True)
    return tuple(sorted(chosen[:MAX_AUTHORITIES], key=lambda c: c.key))


def next_set(members: Sequence[Candidate], old: AuthoritySet, seed: Hash32) -> AuthoritySet:
    """The set of the next era with its seed. With nobody in it the old members stay, at their old weights."""
    if not members:
        return AuthoritySet(old.members, seed)
    return AuthoritySet(tuple(Authority(c.key, c.weight) for c in members), seed)
