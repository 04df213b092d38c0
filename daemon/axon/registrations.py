"""Who is registered and who holds a permit, in every subnet: what gossip of records and reports asks (AXON R31, R33).

A peer relays the services of all subnets, also of those it does not serve. The state may be read in the execution lane
only, so the answers come from sets that are read there after final blocks, at most every few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from ...consensus.rules.v1.neurons import hotkeys_of, neuron_array
from ...consensus.rules.v1.subnets import netuids as subnet_numbers
from ...consensus.state.state import State
from ...consensus.types import AccountId
from .chain_view import Reader

REFRESH_PAUSE: Final = 6.0
"""Seconds between two reads."""


class ChainFacts(Protocol):
    """What discovery asks of the chain; answered from memory."""

    def registered(self, netuid: int, hotkey: AccountId) -> bool:
        """Whether the hotkey has a uid in the subnet."""
        ...

    def permitted(self, netuid: int, hotkey: AccountId) -> bool:
        """Whether it holds a validator permit there."""
        ...

    def permit_holders(self, netuid: int) -> Sequence[AccountId]:
        """All that do, in the order of their uids."""
        ...


@dataclass(frozen=True, slots=True)
class _Subnet:
    hotkeys: frozenset[AccountId] = frozenset()
    holders: tuple[AccountId, ...] = ()
    permitted: frozenset[AccountId] = field(default=frozenset())


_NO_SUBNET: Final = _Subnet()


def read_subnets(state: State) -> dict[int, _Subnet]:
    """Hotkeys and permit holders of every subnet."""
    found = {}
    for netuid in subnet_numbers(state):
        hotkeys = hotkeys_of(state, netuid)
        permits = neuron_array(state, netuid, "permit").tolist()
        holders = tuple(hotkey for hotkey, permit in zip(hotkeys, permits, strict=True) if permit)
        found[int(netuid)] = _Subnet(frozenset(hotkeys), holders, frozenset(holders))
    return found


class Registrations:
    """`ChainFacts` from the final state. `on_final` belongs into the peer's list of that name; `run` beside it."""

    def __init__(self, read: Reader, *, pause: float = REFRESH_PAUSE) -> None:
        self._read = read
        self._pause = pause
        self._subnets: Mapping[int, _Subnet] = {}
        self._stale = trio.Event()

    def registered(self, netuid: int, hotkey: AccountId) -> bool:
        """Whether the hotkey has a uid in the subnet."""
        return hotkey in self._subnets.get(netuid, _NO_SUBNET).hotkeys

    def permitted(self, netuid: int, hotkey: AccountId) -> bool:
        """Whether it holds a validator permit there."""
        return hotkey in self._subnets.get(netuid, _NO_SUBNET).permitted

    def permit_holders(self, netuid: int) -> Sequence[AccountId]:
        """All that do, in the order of their uids."""
        return self._subnets.get(netuid, _NO_SUBNET).holders

    def on_final(self, report: object) -> None:
        """Blocks became final."""
        self._stale.set()

    async def run(self) -> None:
        """Read at once, and again after final blocks, until cancelled."""
        while True:
            self._stale = trio.Event()
            self._subnets = await self._read(read_subnets)
            await trio.sleep(self._pause)
            await self._stale.wait()
