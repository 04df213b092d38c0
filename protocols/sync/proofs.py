"""The proof walk: era proofs from peers until nobody has more (CHAIN 2.2 step 2)."""

from __future__ import annotations

from ...consensus.types import Era, InvalidError
from ..limits import MAX_ERA_PROOFS
from ..messages import ERA_PROOFS, EraProofsRequest
from ..peer_ledger import Offence
from ..requests import NotAvailable, RequestClient, RequestError
from ..transport import PeerId
from .progress import OnProgress, Stage, SyncProgress, silent
from .proven_sets import ProvenSets
from .sync_peers import SyncPeers


async def walk_proofs(
    sets: ProvenSets, client: RequestClient, peers: SyncPeers, on_progress: OnProgress = silent
) -> None:
    """Extend `sets` by every era that a peer can prove, none skipped.

    A peer whose proof fails is reported and never asked again; what was proven before it stays. Ends when each peer
    that claims a later era has been asked and has no more.
    """
    first = sets.era
    exhausted: dict[PeerId, None] = {}
    while True:
        claimed = [(peer, status) for peer, status in peers.claims() if status.era > sets.era and peer not in exhausted]
        if not claimed:
            return
        peer, status = claimed[0]
        if not await _ask(sets, client, peers, peer):
            exhausted[peer] = None
        on_progress(SyncProgress(Stage.PROOFS, sets.era - first, max(status.era, sets.era) - first))


async def _ask(sets: ProvenSets, client: RequestClient, peers: SyncPeers, peer: PeerId) -> bool:
    """One request. False when the peer should not be asked again in this walk."""
    with peers.using(peer):
        try:
            proofs = await client.request(peer, ERA_PROOFS, EraProofsRequest(Era(sets.era), MAX_ERA_PROOFS))
        except NotAvailable:
            return False
        except RequestError:
            peers.failed(peer)
            return False
    try:
        for proof in proofs:
            sets.extend(proof)
    except InvalidError:
        peers.lied(peer, Offence.BAD_CERTIFICATE)
        return False
    if proofs:
        peers.served(peer)
    return bool(proofs)
