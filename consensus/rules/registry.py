"""Which rules execute which block (CHAIN 5.9, DESIGN 4.3).

A rules version is a complete package; a header names the version it was executed under. A peer that lacks a version
stops at its first block: it must not guess.
"""

from __future__ import annotations

from ..types import InvalidError
from .interface import (
    BlockContext,
    BlockOutcome,
    EpochSummary,
    Event,
    EventArgument,
    Rules,
    Selection,
    TransactionOutcome,
    Verified,
    nothing_verified,
)

KNOWN_VERSIONS = (1,)
"""Versions this build can execute."""


def rules_for(version: int) -> Rules:
    """The rules package of `version`. Raises InvalidError("unknown_rules") for one this build does not have."""
    if version == 1:
        from .v1.rules import RULES  # here, not above: version packages import this package's interface

        return RULES
    error = InvalidError(
        f"rules version {version} is not known; this build executes {', '.join(map(str, KNOWN_VERSIONS))}",
        remedy="install a newer yumad",
    )
    error.code = "unknown_rules"
    raise error


__all__ = [
    "KNOWN_VERSIONS",
    "BlockContext",
    "BlockOutcome",
    "EpochSummary",
    "Event",
    "EventArgument",
    "Rules",
    "Selection",
    "TransactionOutcome",
    "Verified",
    "nothing_verified",
    "rules_for",
]
