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
from merkle import root_of
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


@dataclass(frozen=True, slots=True)
class NewStripe:
    """Fresh data for these holders."""

    hotkeys: tuple[str, ...]
    user: bool = False
    """A block of a user's file; else filler."""


def plan(keeper: Keeper, rng: Random, *, waiting: bool = False) -> list[Move | NewStripe]:
    """What to do in this round. `waiting`: there is user data to place; filler is given up where room for it lacks."""
    state, held = keeper.state, keeper.state.held()

    def free(*, repair: bool) -> dict[str, int]:
        """Shards that each miner could still take."""
        found = {}
        for hotkey, standing in state.miners.items():
            allowed = keeper.allowance(hotkey, repair=repair) - len(held.get(hotkey, []))
            if standing.silent == 0 and min(allowed, standing.room // SHARD_BYTES) > 0:
                found[hotkey] = min(allowed, standing.room // SHARD_BYTES)
        return found

    def best(slots: Mapping[str, int], without: set[str]) -> list[str]:
        """Miners with room, most trusted first, equals in random order."""
        candidates = [hotkey for hotkey, left in slots.items() if left > 0 and hotkey not in without]
        rng.shuffle(candidates)
        return sorted(candidates, key=lambda hotkey: -state.miner(hotkey).credit)

    slots, repairing = free(repair=False), free(repair=True)
    trusted = [hotkey for hotkey, standing in state.miners.items() if standing.credit >= UNPAID]
    if waiting and sum(hotkey in slots for hotkey in trusted) < min(N, len(trusted)):
        filler = next((stripe_id for stripe_id, stripe in state.stripes.items() if not stripe.name), None)
        if filler is not None:
            keeper.remove(filler)
    moves: list[Move | NewStripe] = []

    def move(stripe_id: str, stripe: Stripe, hotkey: str) -> None:
        taken = set(stripe.shards) | {m.index for m in moves if isinstance(m, Move) and m.stripe == stripe_id}
        moves.append(Move(stripe_id, next(point for point in range(POINTS) if point not in taken), hotkey))
        holders[stripe_id].add(hotkey)
        for left in (slots, repairing):
            left[hotkey] = left.get(hotkey, 0) - 1

    holders = {stripe_id: stripe.holders() for stripe_id, stripe in state.stripes.items()}
    by_need = sorted(state.stripes.items(), key=lambda item: len(item[1].shards))
    for stripe_id, stripe in by_need:  # repair
        for hotkey in best(repairing, holders[stripe_id])[: max(0, N - len(stripe.shards))]:
            if len(moves) < MAX_MOVES:
                move(stripe_id, stripe, hotkey)
    budget = MAX_MOVES - len(moves)
    untrusted = state.miners.keys() - set(trusted)
    enough = max(2, min(N, len(trusted)))
    while waiting and budget >= N and len(chosen := best(slots, untrusted)[:N]) >= enough:  # users' data
        moves.append(NewStripe(tuple(chosen), user=True))
        budget -= N
        for hotkey in chosen:
            slots[hotkey] -= 1
    while budget >= N and len(chosen := best(slots, set())[:N]) == N:  # filler
        moves.append(NewStripe(tuple(chosen)))
        budget -= N
        for hotkey in chosen:
            slots[hotkey] -= 1
    leftover = []
    for hotkey in best(slots, set()):  # spare shards of what there is
        fitting = [item for item in by_need if hotkey not in holders[item[0]] and len(holders[item[0]]) < POINTS]
        while slots[hotkey] > 0 and fitting and budget > 0:
            move(*fitting.pop(0), hotkey)
            budget -= 1
        if slots[hotkey] > 0:
            leftover.append(hotkey)
    if len(leftover) > 1 and budget >= len(leftover[:N]):  # miners that have a shard of every stripe
        moves.append(NewStripe(tuple(leftover[:N])))
    return moves


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
    keeper.state.stripes[move.stripe].shards[move.index] = Shard(move.hotkey, root_of(sealed).hex())
    return sealed


def confirm(keeper: Keeper, move: Move, root: bytes | None) -> None:
    """The holder has taken it, and says this root; or it has not (None)."""
    stripe = keeper.state.stripes[move.stripe]
    if root is not None and root.hex() == stripe.shards[move.index].root:
        stripe.shards[move.index].placed = True
    else:
        keeper.give_up(move.stripe, move.index)


def opened(keeper: Keeper, stripe_id: str, index: int, sealed: bytes) -> bytes | None:
    """A shard as its holder gave it, unsealed; None when it is not what was stored."""
    shard = keeper.state.stripes[stripe_id].shards[index]
    if len(sealed) != SHARD_BYTES or root_of(sealed).hex() != shard.root:
        return None
    return mask(keeper.state.key(), bytes.fromhex(stripe_id), index, shard.hotkey, sealed)


def data_of(stripe: Stripe, known: Mapping[int, bytes]) -> bytes:
    """The data from k unsealed shards. Raises ValueError when it is not what was stored."""
    data = join(known, stripe.k, stripe.length)
    if blake2b(data, digest_size=32).hexdigest() != stripe.digest:
        raise ValueError("the shards do not give the data that was stored")
    return data
