"""The validator's side without any calls: which chunks to ask for, what answers prove, who is paid, what goes where.

A round: `challenges` → calls → `judge` for each miner → `scores`; and `plan` (placement.py) for what to store anew.

Trust is counted in shards. A miner gains half a shard of credit by every round in which it proves all it is asked for.
By every shard it turns out not to have it loses PENALTY of credit, and all its shards besides. It is paid for
min(credit - UNPAID, shards held), and given one shard more than its credit: so a newcomer and a liar alike work their
way up from one shard, and the first ones pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Final

from manifest import Shard, State
from merkle import ChunkProof, bond, challenged_chunks, is_proof, root_of
from sealing import shard_id
from vault import CHUNKS

SHARDS_WANTED: Final = 8
"""Shards that make a full miner: 256 KiB here, so that a swarm on one machine is quick. A live subnet wants more."""

SPARE: Final = 4
"""Shards more that a fully trusted miner takes over from one that is gone. They earn no more, but somebody must."""

AUDITS: Final = 2
"""Shards audited per miner and round."""

CHUNKS_ASKED: Final = 8
"""Of 128: whoever dropped half of a shard passes with probability 0.4 %."""

GROWTH: Final = 0.5
UNPAID: Final = 2.0
"""Shards of credit that pay nothing: what a miner must hold and prove before it earns."""
PENALTY: Final = 12.0
LEAST_CREDIT: Final = -12.0
"""Whoever loses a shard is paid again after up to 28 clean rounds, and in full after 44."""

MISSES: Final = 3
"""Audits of a shard in a row without answer until it counts as lost. An unanswered audit is asked again first."""
SILENCE: Final = 5
"""Rounds in a row without any answer until all that a miner holds counts as lost."""

DROPS_KEPT: Final = 64
"""Shards to forget that are remembered for a miner which cannot be told now."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One audit: a shard's holder must show the chunks that the nonce asks for."""

    stripe: str
    index: int
    shard: bytes
    nonce: bytes


class Keeper:
    """Decisions on a State."""

    def __init__(self, state: State, hotkey: str) -> None:
        """`hotkey`: the validator's own."""
        self.state, self._hotkey = state, hotkey
        for stripe_id, stripe in state.stripes.items():
            for index, shard in list(stripe.shards.items()):
                if not shard.placed:  # decided before a crash, never confirmed
                    self.give_up(stripe_id, index)
        self.forget_lost_stripes()

    def leave_out_absent(self, hotkeys: Iterable[str]) -> None:
        """Give up what is held by hotkeys that are no longer in the subnet."""
        present = set(hotkeys)
        for stripe in self.state.stripes.values():
            for index in [index for index, shard in stripe.shards.items() if shard.hotkey not in present]:
                del stripe.shards[index]
        for hotkey in set(self.state.miners) - present:
            del self.state.miners[hotkey]
        self.forget_lost_stripes()

    def challenges(self, hotkeys: Iterable[str], rng: Random) -> dict[str, list[Challenge]]:
        """What to ask each miner for in this round: first what it did not answer for, then at random."""
        held, key = self.state.held(), self.state.key()
        asked = {}
        for hotkey in hotkeys:
            places = held.get(hotkey, [])
            rng.shuffle(places)
            places.sort(key=lambda place: -self.state.stripes[place[0]].shards[place[1]].misses)
            asked[hotkey] = [
                # Hashed with the secret: nobody learns the generator's state from nonces.
                Challenge(
                    stripe_id,
                    index,
                    self.shard_id(stripe_id, index, hotkey),
                    blake2b(rng.randbytes(16), key=key, digest_size=16).digest(),
                )
                for stripe_id, index in places[:AUDITS]
            ]
        return asked

    def judge(self, hotkey: str, asked: list[Challenge], answer: list[list[ChunkProof]] | None) -> None:
        """Take an answer (proofs for each challenge, in order), or None when there was none in time."""
        standing = self.state.miner(hotkey)
        standing.proven = False
        if answer is None:
            standing.silent += 1
            overdue = []
            for challenge in asked:
                shard = self._shard(challenge)
                if shard is not None:
                    shard.misses += 1
                    if shard.misses >= MISSES:
                        overdue.append((challenge.stripe, challenge.index))
            self._lose(hotkey, self.state.held().get(hotkey, []) if standing.silent >= SILENCE else overdue)
            return
        standing.silent = 0
        failed = []
        for place, challenge in enumerate(asked):
            shard = self._shard(challenge)
            if shard is None:
                continue
            if self._proves(shard, challenge, answer[place] if place < len(answer) else []):
                shard.misses = 0
            else:
                failed.append((challenge.stripe, challenge.index))
        self._lose(hotkey, failed)
        if asked and not failed:
            standing.proven = True
            standing.credit = min(standing.credit + GROWTH, SHARDS_WANTED + UNPAID)

    def scores(self) -> dict[str, float]:
        """Hotkey -> 0..1: share of a full miner's shards that is held, paid for and proven in this round."""
        held, paid = self.state.held(), {}
        for hotkey, standing in self.state.miners.items():
            kept = sum(self.state.stripes[stripe].shards[index].misses == 0 for stripe, index in held.get(hotkey, []))
            earned = min(kept, max(standing.credit - UNPAID, 0.0)) / SHARDS_WANTED
            paid[hotkey] = min(earned, 1.0) if standing.proven else 0.0
        return paid

    def allowance(self, hotkey: str, *, repair: bool = False) -> int:
        """Shards a miner may hold now; more for a repair if it is fully trusted."""
        credit = self.state.miner(hotkey).credit
        if repair and credit >= SHARDS_WANTED + UNPAID:
            return SHARDS_WANTED + SPARE
        return min(SHARDS_WANTED, int(max(credit, 0.0)) + 1)

    def shard_id(self, stripe_id: str, index: int, hotkey: str) -> bytes:
        """By which the holder knows it."""
        return shard_id(self.state.key(), bytes.fromhex(stripe_id), index, hotkey)

    def give_up(self, stripe_id: str, index: int) -> None:
        """Count a shard no more, and let its holder forget it."""
        shard = self.state.stripes[stripe_id].shards.pop(index)
        drops = self.state.miner(shard.hotkey).drops
        drops.append(self.shard_id(stripe_id, index, shard.hotkey).hex())
        del drops[:-DROPS_KEPT]

    def remove(self, stripe_id: str) -> None:
        """Give up a whole stripe."""
        for index in list(self.state.stripes[stripe_id].shards):
            self.give_up(stripe_id, index)
        del self.state.stripes[stripe_id]

    def _lose(self, hotkey: str, places: list[tuple[str, int]]) -> None:
        """Take all shards from a miner that does not have these: what it still has is safer elsewhere."""
        if not places:
            return
        standing = self.state.miner(hotkey)
        standing.credit = max(standing.credit - PENALTY * len(places), LEAST_CREDIT)
        for stripe_id, index in self.state.held().get(hotkey, []):
            self.give_up(stripe_id, index)
        self.forget_lost_stripes()

    def forget_lost_stripes(self) -> None:
        """Give up stripes of which too few shards are left."""
        for stripe_id, stripe in list(self.state.stripes.items()):
            if len(stripe.shards) < stripe.k:
                self.remove(stripe_id)
                self.state.lost += bool(stripe.name)

    def _shard(self, challenge: Challenge) -> Shard | None:
        """None when the shard was given up since, with the rest of its stripe."""
        stripe = self.state.stripes.get(challenge.stripe)
        return None if stripe is None else stripe.shards.get(challenge.index)

    def root(self, sealed: bytes, holder: str) -> str:
        """Root of a sealed shard as its holder must prove it, hex."""
        return root_of(sealed, bond(self._hotkey, holder)).hex()

    def _proves(self, shard: Shard, challenge: Challenge, proofs: list[ChunkProof]) -> bool:
        wanted = challenged_chunks(challenge.nonce, CHUNKS, CHUNKS_ASKED)
        root, key = bytes.fromhex(shard.root), bond(self._hotkey, shard.hotkey)
        return len(proofs) == len(wanted) and all(
            is_proof(root, index, CHUNKS, proof, key) for index, proof in zip(wanted, proofs, strict=True)
        )
