"""Which starting points a joiner may trust (DESIGN decision 13, CHAIN 2.2 step 1).

Authorities are bonded longer than the trust window; past it, keys that left may sign another history at no cost.
"""

from __future__ import annotations

from ...consensus.timing import Timing
from ...consensus.types import InvalidError, Micros, Slot


class StaleAnchor(InvalidError):
    """The trusted point is older than the trust window."""

    code = "stale_anchor"


def check_anchor_age(
    timing: Timing, trust_window: Micros | None, slot: Slot, now: Micros, *, trust_genesis: bool = False
) -> None:
    """Raise StaleAnchor when the newest trusted block is too old; `slot` is that block's, 0 for genesis.

    `trust_window` is None on chains without one (every profile but `main`). An explicit `trust_genesis` overrides.
    """
    if trust_window is None or trust_genesis:
        return
    age = now - timing.start_of(slot)
    if age > trust_window:
        days, window_days = age // 86_400_000_000, trust_window // 86_400_000_000
        what = "genesis" if slot == 0 else f"the trusted block of slot {slot}"
        raise StaleAnchor(
            f"{what} is {days} days old, past the trust window of {window_days} days: "
            "authorities that have left since could show you a forged history",
            remedy="join with #<genesis-hash>@HEIGHT:HASH of a recent block from somebody you trust, "
            "or accept the risk with --trust-genesis",
        )
