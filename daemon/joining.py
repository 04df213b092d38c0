"""Joining a network by an address: the chain spec comes from the peer it names, however long that takes (AXON R32).

What may be over in a moment (no route, a closed port, a peer that restarts or is busy) is tried again until it works or
a person ends it. What another try cannot mend, such as the spec of another chain, ends the join at once.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ..protocols.bootstrap import Bootstrap
from ..protocols.libp2p.host import Libp2pTransport
from ..protocols.names import NetworkNames
from ..protocols.peer_ledger import PeerLedger
from ..protocols.penalties import LedgerEnforcer
from ..protocols.requests import RequestClient
from ..protocols.sync.chainspec_fetch import ChainSpecDelayed, fetch_chain_spec
from ..protocols.transport import DialFailed
from ..storage.home import Home
from .chain_home import create_chain
from .clock import SystemClock
from .first_cause import first_cause

FIRST_PAUSE: Final = 0.5
"""Seconds before the second try: a bootstrap peer that starts together with us is there within seconds."""

LAST_PAUSE: Final = 30.0
"""Longest pause. Doubled after each failure, then times 0.5 to 1.5, so that many joiners do not dial in step."""

OnProgress = Callable[[str, int, int], None]
Attempt = Callable[[], Awaitable[bytes]]


def ensure_chain(
    home: Home, bootstrap: Bootstrap, on_progress: OnProgress, on_delay: Callable[[str], None] = lambda reason: None
) -> None:
    """Fetch the chain spec of a bootstrap string and make its chain, unless the home has it already.

    `on_delay(reason)` is told why the first try failed; after that it goes on trying. Raises ChainSpecUnavailable for
    what trying again does not mend.
    """
    home.prepare()
    for path in sorted(home.chains.glob("*")):
        if (path / "chain.db").exists() and bootstrap.genesis_digits.startswith(path.name):
            return

    async def attempt() -> bytes:
        return await _fetch(bootstrap, on_progress)

    lock = home.lock()
    try:
        create_chain(home, trio.run(fetch_patiently, attempt, random.Random(secrets.randbits(64)), on_delay))
    except BaseExceptionGroup as group:  # from the network's nursery; one sentence is enough for a person
        raise first_cause(group) from group
    finally:
        lock.release()


async def fetch_patiently(attempt: Attempt, rng: random.Random, on_delay: Callable[[str], None]) -> bytes:
    """What the first attempt that works gives; pauses with jitter between them."""
    pause, told = FIRST_PAUSE, False
    while True:
        try:
            return await attempt()
        except (DialFailed, ChainSpecDelayed) as error:
            if not told:
                on_delay(str(error))
                told = True
        await trio.sleep(pause * (0.5 + rng.random()))
        pause = min(LAST_PAUSE, 2 * pause)


async def _fetch(bootstrap: Bootstrap, on_progress: OnProgress) -> bytes:
    """The spec's bytes, over a connection of a passing peer key that listens nowhere.

    Everything is new at each attempt: a peer that was slow is not held to it.
    """
    transport = Libp2pTransport(secrets.token_bytes(32), (), rng=random.Random(secrets.randbits(64)))
    enforcer = LedgerEnforcer(PeerLedger(SystemClock()), transport)
    client = RequestClient(transport, NetworkNames(bootstrap.genesis_digits[:8]), enforcer)
    failure: DialFailed | ChainSpecDelayed | None = None
    data = b""
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        try:
            peer = await transport.dial(bootstrap.address)
            data = await fetch_chain_spec(
                client, peer, bootstrap, enforcer, lambda step: on_progress(step.stage.value, step.done, step.total)
            )
        except (DialFailed, ChainSpecDelayed) as error:
            failure = error  # raised outside the nursery, which would wrap it in a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return data
