"""Presets of bad neurons: what a scoring must stand up to (AXON R37). Each wraps an honest miner's handler.

- copy   has no answers of its own: hands requests on to one honest miner, and gives out what that one says
- late   answers well, but only after the caller's deadline
- garbage  answers at once with bytes that mean nothing
- flood  answers well, and calls every other miner as often as it can beside
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import trio

from ...protocols.axon.interfaces import CallReply, CallTerms
from ..host_interface import HostClient, Incoming, IncomingHandler

ADVERSARIES: Final = ("copy", "late", "garbage", "flood")

FLOOD_CALLS: Final = 20
"""Calls to each other miner in one round."""

_MARGIN: Final = 1.0
"""Seconds that `late` is late."""


def adversary(
    kind: str, inner: IncomingHandler, client: HostClient, honest: Callable[[], Sequence[str]], rng: random.Random
) -> IncomingHandler:
    """The handler of an adversary around an honest one's. `honest` names the hotkeys that `copy` may ask."""
    if kind == "late":

        async def late(incoming: Incoming) -> CallReply:
            await trio.sleep_until(incoming.deadline + _MARGIN)
            return await inner(incoming)

        return late
    if kind == "garbage":

        async def garbage(incoming: Incoming) -> CallReply:
            await trio.lowlevel.checkpoint()
            return CallReply(body=rng.randbytes(rng.randrange(4, 200)))

        return garbage
    if kind == "copy":
        chosen: list[str] = []

        async def copy(incoming: Incoming) -> CallReply:
            if not chosen:
                chosen.extend(rng.sample(list(honest()), min(1, len(honest()))))
            if not chosen:
                return await inner(incoming)
            left = incoming.deadline - trio.current_time()
            body, terms = bytes(incoming.body), CallTerms(left)
            result = await client.call(chosen[0], incoming.method, incoming.version, body, terms)
            return CallReply(result.status if result.status.travels else CallReply().status, result.body, result.text)

        return copy
    return inner


async def flood(client: HostClient, targets: Sequence[str], method: str, version: int, body: bytes) -> None:
    """One burst of a flooding neuron."""
    async with trio.open_nursery() as nursery:
        for hotkey in targets:
            for _ in range(FLOOD_CALLS):
                nursery.start_soon(client.call, hotkey, method, version, body, CallTerms(1.0))
