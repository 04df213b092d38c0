"""What the network dropped, by reason, and what of our own code failed in it.

Reasons are constants of this package, never text from outside, so that the tables stay small.
"""

from __future__ import annotations

import structlog

_log = structlog.get_logger("yumad.network")

MAX_FAULT_KINDS = 256
"""Kinds of fault that are logged once each; a bound, since an exception type can come from anywhere."""


class Counters:
    """Counters of one transport."""

    def __init__(self) -> None:
        self.dropped: dict[str, int] = {}
        self.inbound_refused: dict[str, int] = {}
        self.gossip_received = 0
        self.gossip_duplicate = 0
        self.gossip_accepted = 0
        self.gossip_ignored = 0
        self.gossip_rejected = 0
        self.gossip_published = 0
        self._faults: dict[tuple[str, str], int] = {}

    def drop(self, reason: str, count: int = 1) -> None:
        """Something from or for a peer was dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def refuse(self, reason: str) -> None:
        """An inbound connection was refused."""
        self.inbound_refused[reason] = self.inbound_refused.get(reason, 0) + 1

    def fault(self, where: str, error: BaseException) -> None:
        """Our own code raised where it must not (LIBP2P 8.3): counted always, logged once per place and type.

        Once, because a peer that found the way to make it raise will use it again.
        """
        self.drop(f"{where} raised")
        key = (where, type(error).__name__)
        first = key not in self._faults
        if first and len(self._faults) >= MAX_FAULT_KINDS:
            return
        self._faults[key] = self._faults.get(key, 0) + 1
        if first:
            _log.warning("network code raised and was contained", where=where, error=repr(error)[:500])
