"""Quotas as token buckets, one set per peer (CHAIN 2.1, server rule). Pure: time in seconds is an argument."""

from __future__ import annotations

from collections import OrderedDict

from .limits import MAX_QUOTA_PEERS, Quota
from .transport import PeerId


class TokenBucket:
    """A bucket that starts full and fills evenly.

    A cost above its size is served when the bucket is full and leaves a debt, so that a large but legal request is
    delayed, never impossible.
    """

    __slots__ = ("_at", "_level", "_quota")

    def __init__(self, quota: Quota, now: float) -> None:
        self._quota = quota
        self._level = float(quota.units)
        self._at = now

    def _fill(self, now: float) -> None:
        rate = self._quota.units / self._quota.seconds
        self._level = min(float(self._quota.units), self._level + max(0.0, now - self._at) * rate)
        self._at = max(self._at, now)

    def wait(self, cost: int, now: float) -> float:
        """Seconds until `cost` may be taken; 0 when it may be taken now."""
        self._fill(now)
        missing = min(cost, self._quota.units) - self._level
        return max(0.0, missing * self._quota.seconds / self._quota.units)

    def take(self, cost: int, now: float) -> None:
        """Take `cost`, into debt if need be."""
        self._fill(now)
        self._level -= cost

    def take_if_free(self, cost: int, now: float) -> bool:
        """Take `cost` if it is there now."""
        if self.wait(cost, now) > 0:
            return False
        self.take(cost, now)
        return True

    def is_full(self, now: float) -> bool:
        """Nothing is owed: forgetting the bucket changes nothing."""
        self._fill(now)
        return self._level >= self._quota.units


class PeerBuckets:
    """One bucket per peer for one quota, for a bounded number of peers."""

    def __init__(self, quota: Quota, *, most: int = MAX_QUOTA_PEERS) -> None:
        self._quota = quota
        self._most = most
        self._buckets: OrderedDict[PeerId, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, peer: PeerId, now: float) -> TokenBucket:
        """The bucket of `peer`; the longest unused one goes when there are too many."""
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = TokenBucket(self._quota, now)
            while len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(peer)
        return bucket
