"""Fetching the chain spec over the one protocol without a network id (DESIGN decision 13, CHAIN 2.1).

Pages of 1 MiB are put together and the hash of the whole is compared in every digit that the bootstrap string gives.
Nothing of it is decoded before that.
"""

from __future__ import annotations

from typing import Final

import trio

from ...consensus.domains import Domain, digest
from ...consensus.types import YumadError
from ..bootstrap import Bootstrap
from ..limits import CHAINSPEC_PAGE_BYTES, REQUESTS
from ..messages import CHAINSPEC, ChainSpecPage, ChainSpecRequest
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..requests import PeerUnreachable, RequestClient, RequestError, RequestTimeout, ServerFailed, Throttled
from ..transport import PeerId
from .progress import OnProgress, Stage, SyncProgress, silent

_PAGE_TRIES: Final = 4
_QUOTA_PAUSE: Final = REQUESTS["chainspec"].quota.seconds / REQUESTS["chainspec"].quota.units
"""Seconds until a throttled requester has one more page."""


class ChainSpecUnavailable(YumadError):
    """The chain spec could not be had from the bootstrap peer."""

    code = "chain_spec_unavailable"


class ChainSpecDelayed(ChainSpecUnavailable):
    """The same peer may have it later: the connection broke, or the peer was too slow, busy or failed."""


async def fetch_chain_spec(
    client: RequestClient,
    peer: PeerId,
    bootstrap: Bootstrap,
    penalties: Penalties,
    on_progress: OnProgress = silent,
) -> bytes:
    """Canonical bytes of the chain spec whose hash the bootstrap string names. Raises ChainSpecUnavailable."""
    pages = [await _page(client, peer, bootstrap, 0, None)]
    count = pages[0].page_count
    on_progress(SyncProgress(Stage.CHAIN_SPEC, 1, count))
    for number in range(1, count):
        pages.append(await _page(client, peer, bootstrap, number, count))
        on_progress(SyncProgress(Stage.CHAIN_SPEC, number + 1, count))
    if any(len(page.data) != CHAINSPEC_PAGE_BYTES for page in pages[:-1]):
        penalties.offend(peer, Offence.BAD_REPLY)
        raise ChainSpecUnavailable(f"{peer} sent a chain spec with short pages", remedy="try another bootstrap address")
    spec = b"".join(page.data for page in pages)
    genesis_hash = digest(Domain.SPEC, spec)
    if not bootstrap.matches(genesis_hash):
        penalties.offend(peer, Offence.WRONG_GENESIS)
        raise ChainSpecUnavailable(
            f"{peer} sent a chain spec with hash {genesis_hash.hex()}, expected {bootstrap.genesis_digits}…",
            remedy="check that the bootstrap string was copied whole; the peer may be on another chain, or lying",
        )
    return spec


async def _page(
    client: RequestClient, peer: PeerId, bootstrap: Bootstrap, number: int, count: int | None
) -> ChainSpecPage:
    """One page; waits and tries again while the peer throttles us."""
    reason = ""
    for _ in range(_PAGE_TRIES):
        try:
            replies = await client.request(peer, CHAINSPEC, ChainSpecRequest(bootstrap.genesis_prefix, number))
        except Throttled as error:
            reason = error.message
            await trio.sleep(_QUOTA_PAUSE)
            continue
        except (PeerUnreachable, RequestTimeout, ServerFailed) as error:
            raise ChainSpecDelayed(f"the chain spec cannot be had: {error.message}") from error
        except RequestError as error:
            raise ChainSpecUnavailable(
                f"the chain spec cannot be had: {error.message}",
                remedy="check the genesis hash in the bootstrap string, or try another bootstrap address",
            ) from error
        if replies and replies[0].page == number and count in (None, replies[0].page_count):
            return replies[0]
        raise ChainSpecUnavailable(
            f"{peer} sent another page of the chain spec than asked for", remedy="try another bootstrap address"
        )
    raise ChainSpecDelayed(f"page {number} of the chain spec cannot be had: {reason}")
