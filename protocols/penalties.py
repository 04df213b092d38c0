"""Applies what the peer ledger decides to the transport, and counts it (CHAIN 2.3)."""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

from .peer_ledger import DISCONNECT_SECONDS, Offence, PeerLedger, Standing
from .transport import PeerId, Transport

_LEAST_BAN: Final = 1.0
"""A ban of less than a second left is not worth a refusal."""


_BOOKED_ABOVE: Final = "gossip rejected"
"""What the transport reports of a message that a validator has booked already, by its kind."""

_UNREAD: Final = ("too much unread data", "answers pile up unread")
"""What a slow peer may cause without meaning harm."""


class Penalties(Protocol):
    """Where protocols report behaviour. Never raises."""

    def offend(self, peer: PeerId, offence: Offence) -> None: ...

    def useful(self, peer: PeerId) -> None: ...


class LedgerEnforcer:
    """Books behaviour in the ledger and drops or bans through the transport."""

    def __init__(self, ledger: PeerLedger, transport: Transport) -> None:
        self.ledger = ledger
        self._transport = transport
        self.offences: Counter[str] = Counter()
        """Offences by label, for metrics."""

    def offend(self, peer: PeerId, offence: Offence) -> None:
        """Book an offence; drop the peer when its score or the offence says so."""
        self.offences[offence.label] += 1
        standing = self.ledger.offend(peer, offence)
        if standing is Standing.BAN:
            self._transport.ban(peer, self.ledger.banned_for(peer))
        elif standing is Standing.DISCONNECT:
            self._transport.ban(peer, DISCONNECT_SECONDS)

    def misbehaved(self, peer: PeerId, what: str) -> None:
        """The transport says that a peer broke a protocol below ours; the connection or stream is gone already."""
        if what != _BOOKED_ABOVE:
            self.offend(peer, Offence.FLOOD if what in _UNREAD else Offence.MALFORMED)

    def useful(self, peer: PeerId) -> None:
        """Book a useful first delivery."""
        self.ledger.useful(peer)

    def reapply(self) -> None:
        """Put the bans that outlived a restart back into the transport."""
        for row in self.ledger.export():
            remaining = self.ledger.banned_for(row.peer)
            if remaining >= _LEAST_BAN:
                self._transport.ban(row.peer, remaining)
