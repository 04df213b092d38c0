"""What must be stored where next: lost shards again, new data, and spare shards for miners with room.

Pure decisions and pure bytes; the calls are the plugin's. A move is written into the state before its call is made
(`decide`) and confirmed after it (`confirm`), so that nothing stored is ever unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Final

from keeper import UNPAID, Keeper
from manifest import Shard, Stripe
from reed_solomon import POINTS, interpolate, join, split
from sealing import mask
from vault import SHARD_BYTES

K: Final = 2
N: Final = 4
"""Shards of a stripe: any 2 of 4 give the data back, at twice its size."""

MAX_MOVES: Final = 12
"""Shards placed in one round, so that repair never crowds out audits."""


@dataclass(frozen=True, slots=True)
class Move:
    """Shard `index` of a stripe, to be stored by `hotkey`."""

    stripe: str
    index: int
    hotkey: str
    repair: bool = False
    """In place of a lost one."""


@dataclass(frozen=True, slots=True)
class NewStripe:
    """Fresh data for these holders."""

    hotkeys: tuple[str, ...]
    user: bool = False
    """A block of a user's file; else filler."""


def plan(keeper: Keeper, rng: Random, *, waiting: bool = False) -> list[Move | NewStripe]:
    """What to do in this round. `waiting`: there is user data to place; filler is given up where room for it lacks."""
    planner = _Planner(keeper, rng)
    planner.repair()
    if waiting:
        planner.place_user_data()
    planner.place_filler()
    if not waiting:
        planner.place_spare_shards()
    return planner.moves


class _Planner:
    """One round's plan in the making."""

    def __init__(self, keeper: Keeper, rng: Random) -> None:
        self.moves: list[Move | NewStripe] = []
        self._keeper, self._state, self._rng = keeper, keeper.state, rng
        self._held = keeper.state.held()
        self._slots, self._for_repair = self._free(repair=False), self._free(repair=True)
        self._holders = {stripe_id: stripe.holders() for stripe_id, stripe in self._state.stripes.items()}
        self._budget = MAX_MOVES

    def repair(self) -> None:
        """Give stripes with fewer than N shards new ones, the neediest first."""
        for stripe_id, stripe in self._by_need():
            for hotkey in self._best(self._for_repair, self._holders[stripe_id])[: max(0, N - len(stripe.shards))]:
                if self._budget > 0:
                    self._move(stripe_id, stripe, hotkey, repair=True)

    def place_user_data(self) -> None:
        """New stripes on trusted miners; one stripe of filler makes room if too few have any."""
        trusted = [hotkey for hotkey, standing in self._state.miners.items() if standing.credit >= UNPAID]
        enough = min(K + 1, len(trusted))
        if sum(hotkey in self._slots for hotkey in trusted) < min(N, len(trusted)):
            filler = next((stripe_id for stripe_id, stripe in self._state.stripes.items() if not stripe.name), None)
            if filler is None:
                enough = 2  # nothing is left to make room with
            elif not any(isinstance(move, Move) and move.stripe == filler for move in self.moves):
                self._keeper.remove(filler)
        untrusted = self._state.miners.keys() - set(trusted)
        while self._budget >= N and len(chosen := self._best(self._slots, untrusted)[:N]) >= max(2, enough):
            self._new(chosen, user=True)

    def place_filler(self) -> None:
        """New stripes for all who have room."""
        while self._budget >= N and len(chosen := self._best(self._slots, set())[:N]) == N:
            self._new(chosen)

    def place_spare_shards(self) -> None:
        """More shards of what there is; a new stripe for miners that have a shard of every one, even for one alone."""
        leftover = []
        for hotkey in self._best(self._slots, set()):
            fitting = [item for item in self._by_need() if self._fits(item[0], hotkey)]
            while self._slots[hotkey] > 0 and fitting and self._budget > 0:
                self._move(*fitting.pop(0), hotkey)
            if self._slots[hotkey] > 0:
                leftover.append(hotkey)
        if leftover and self._budget >= N:
            self._new(leftover[:N])

    def _free(self, *, repair: bool) -> dict[str, int]:
        """Shards that each miner could still take."""
        found = {}
        for hotkey, standing in self._state.miners.items():
            allowed = self._keeper.allowance(hotkey, repair=repair) - len(self._held.get(hotkey, []))
            room = min(allowed, standing.room // SHARD_BYTES)
            if room > 0 and standing.silent == 0:
                found[hotkey] = room
        return found

    def _best(self, slots: Mapping[str, int], without: set[str]) -> list[str]:
        """Miners with room, most trusted first, equals in random order."""
        candidates = [hotkey for hotkey, left in slots.items() if left > 0 and hotkey not in without]
        self._rng.shuffle(candidates)
        return sorted(candidates, key=lambda hotkey: -self._state.miner(hotkey).credit)

    def _by_need(self) -> list[tuple[str, Stripe]]:
        return sorted(self._state.stripes.items(), key=lambda item: len(self._holders[item[0]]))

    def _fits(self, stripe_id: str, hotkey: str) -> bool:
        return hotkey not in self._holders[stripe_id] and len(self._holders[stripe_id]) < POINTS

    def _move(self, stripe_id: str, stripe: Stripe, hotkey: str, *, repair: bool = False) -> None:
        taken = {move.index for move in self.moves if isinstance(move, Move) and move.stripe == stripe_id}
        index = next(point for point in range(POINTS) if point not in stripe.shards and point not in taken)
        self.moves.append(Move(stripe_id, index, hotkey, repair))
        self._holders[stripe_id].add(hotkey)
        self._take(hotkey)

    def _new(self, hotkeys: list[str], *, user: bool = False) -> None:
        self.moves.append(NewStripe(tuple(hotkeys), user))
        for hotkey in hotkeys:
            self._take(hotkey)

    def _take(self, hotkey: str) -> None:
        self._budget -= 1
        for slots in (self._slots, self._for_repair):
            slots[hotkey] = slots.get(hotkey, 0) - 1


def new_stripe(keeper: Keeper, data: bytes, holders: int, rng: Random, name: str = "", part: int = 0) -> str:
    """Enter a stripe for this data; gives its id. `data` is at most stripe_bytes(holders)."""
    stripe_id = rng.randbytes(16).hex()
    digest = blake2b(data, digest_size=32).hexdigest()
    keeper.state.stripes[stripe_id] = Stripe(stripe_k(holders), len(data), digest, name, part)
    return stripe_id


def stripe_k(holders: int) -> int:
    """k for so many first holders: one of them may always be lost, if there are two."""
    return max(1, min(K, holders - 1))


def stripe_bytes(holders: int) -> int:
    """Data of one stripe."""
    return stripe_k(holders) * SHARD_BYTES


def rows_of(stripe: Stripe, data: bytes) -> dict[int, bytes]:
    """Its data rows, from which every shard can be made."""
    return split(data, stripe.k, SHARD_BYTES)


def decide(keeper: Keeper, move: Move, rows: Mapping[int, bytes]) -> bytes:
    """Enter the move; gives the sealed bytes that its holder must be sent."""
    sealed = mask(
        keeper.state.key(), bytes.fromhex(move.stripe), move.index, move.hotkey, interpolate(rows, move.index)
    )
    keeper.state.stripes[move.stripe].shards[move.index] = Shard(move.hotkey, keeper.root(sealed, move.hotkey))
    return sealed


def confirm(keeper: Keeper, move: Move, root: bytes | None) -> None:
    """The holder has taken it, and says this root; or it has not (None)."""
    stripe = keeper.state.stripes[move.stripe]
    if root is not None and root.hex() == stripe.shards[move.index].root:
        stripe.shards[move.index].placed = True
        keeper.state.repairs += move.repair
    else:
        keeper.give_up(move.stripe, move.index)


def opened(keeper: Keeper, stripe_id: str, index: int, sealed: bytes) -> bytes | None:
    """A shard as its holder gave it, unsealed; None when it is not what was stored."""
    shard = keeper.state.stripes[stripe_id].shards[index]
    if len(sealed) != SHARD_BYTES or keeper.root(sealed, shard.hotkey) != shard.root:
        return None
    return mask(keeper.state.key(), bytes.fromhex(stripe_id), index, shard.hotkey, sealed)


def data_of(stripe: Stripe, known: Mapping[int, bytes]) -> bytes:
    """The data from k unsealed shards. Raises ValueError when it is not what was stored."""
    data = join(known, stripe.k, stripe.length)
    if blake2b(data, digest_size=32).hexdigest() != stripe.digest:
        raise ValueError("the shards do not give the data that was stored")
    return data
