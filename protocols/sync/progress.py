"""What sync tells an operator while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """Step of joining (CHAIN 2.2)."""

    CHAIN_SPEC = "chain spec"
    """Unit: pages."""
    PROOFS = "era proofs"
    """Unit: eras."""
    BLOCKS = "blocks"
    """Unit: blocks made final."""


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """`done` of `total` units of a stage; `total` may grow."""

    stage: Stage
    done: int
    total: int


OnProgress = Callable[[SyncProgress], None]


def silent(_: SyncProgress) -> None:
    """For callers that do not show progress."""
