"""Who may call a method, declared by its author and only ever narrowed (AXON R21).

The default is the safe one: callers registered on the subnet with a validator permit in the current epoch, or holders
whose stake passes `min_stake` where the author sets one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...consensus.types import AccountId


@dataclass(frozen=True, slots=True)
class Quota:
    """Calls per second and how many at once, per caller hotkey and method."""

    rate: float = 20.0
    burst: int = 40


@dataclass(frozen=True, slots=True)
class Policy:
    """Conditions that all must hold. Evaluated in the daemon, before the plugin sees a byte."""

    require_permit: bool = True
    """Registered with validator permit. When False and `min_stake` is 0, any registered hotkey may call."""
    min_stake: int = 0
    """Least stake weight of the caller in the subnet, in rao; a holder without a uid passes by stake alone when
    `require_permit` is False."""
    allow: frozenset[AccountId] = field(default_factory=frozenset)
    """When not empty, nobody else may call."""
    deny: frozenset[AccountId] = field(default_factory=frozenset)
    quota: Quota = field(default_factory=Quota)
