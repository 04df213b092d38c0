"""Telling an operator when a running peer is alone: one warning an outage, never an exit (AXON R32, C21)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import trio

from ..protocols.libp2p.reconnect import Reconnector
from ..protocols.transport import PeerId, Transport

LOOK_EVERY: Final = 1.0

PATIENCE: Final = 5.0
"""Seconds without any connection before it is said: peers that start together miss each other at first."""


async def watch_bootstraps(
    transport: Transport, reconnector: Reconnector, configured: Collection[PeerId], log: Any
) -> None:
    """Warn when nobody is connected and each configured peer has failed to answer; say so when that is over.

    `configured` is read at each look. Until cancelled.
    """
    alone_since = trio.current_time()
    is_told = False
    while True:
        await trio.sleep(LOOK_EVERY)
        if transport.connected():
            if is_told:
                log.info("connected again")
            alone_since, is_told = trio.current_time(), False
            continue
        failures = {peer: reconnector.failure(peer) for peer in configured}
        if is_told or not failures or not all(failures.values()) or trio.current_time() < alone_since + PATIENCE:
            continue
        is_told = True
        log.warning(
            "no peer can be reached; trying again until one answers",
            tried={reconnector.known_address(peer) or peer: reason for peer, reason in failures.items()},
            remedy="check the addresses in `bootstrap` and this machine's network; see `yumad doctor`",
        )
