"""Calls per second of each authenticated caller (Policy.quota; the "hotkey limiter" of AXON R6).

One number per caller, served hotkey and method: the time until which its quota is used up. A call moves it on by one
over the rate, and is refused while it lies more than the burst ahead of now.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ...consensus.types import AccountId
from .interfaces import ServedMethod

MAX_CALLERS: Final = 16_384
"""Callers times methods that are remembered, some 4 MiB. Only verified callers that the policy lets in get here, so it
takes more registered hotkeys than a peer meets to push an unused quota out."""

LONGEST_WAIT: Final = 3600.0
"""Seconds a caller is told to wait at most, whatever a strange quota says."""

ANY_RECEIVER: Final = AccountId(bytes(32))
"""Where one quota is meant for all hotkeys of a peer."""


class CallerLimiter:
    """See the module text."""

    def __init__(self, most: int = MAX_CALLERS) -> None:
        self._most = most
        self._used_until: OrderedDict[tuple[AccountId, int, AccountId, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used_until)

    def take(
        self, caller: AccountId, netuid: int, method: ServedMethod, now: float, receiver: AccountId = ANY_RECEIVER
    ) -> int:
        """0 when the call may go on, and it is counted; else milliseconds until one may. `now` in seconds.

        Give `receiver` where one peer serves several hotkeys: a round over all of them is no flood of any.
        """
        quota = method.policy.quota
        step = 1 / max(quota.rate, 1 / LONGEST_WAIT)
        key = (caller, netuid, receiver, method.name)
        used_until = max(self._used_until.get(key, now), now)
        wait = used_until - now - (max(quota.burst, 1) - 1) * step
        if wait > 1e-9:  # below, it is the rounding of sums of steps
            return max(1, round(min(wait, LONGEST_WAIT) * 1000))
        self._used_until[key] = used_until + step
        self._used_until.move_to_end(key)
        if len(self._used_until) > self._most:
            self._used_until.popitem(last=False)
        return 0
