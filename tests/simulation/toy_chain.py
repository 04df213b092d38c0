"""The simulator's own rules: a tiny but real state with a hash root, balances, issuance, sets and ejection.

Execution is a pure function of the parent's state and the block. The results of whole blocks are shared between nodes
by block hash, which commits to everything that goes in: that only saves time. The real transition can take this
module's place: the simulator needs `genesis_state`, `execute`, `seal` and `next_context`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b

from yumad.consensus.authority import Authority, AuthoritySet, era_seed
from yumad.consensus.block import Block, Body, commit_root, tx_root
from yumad.consensus.effects import BlockRef, EraContext
from yumad.consensus.evidence import is_offence
from yumad.consensus.header import Header, block_hash
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Hash32, Height, Slot

ACCOUNTS = 8
REWARD = 7
JAIL_ERAS = 28
MIN_SET = 4

GENESIS_HASH = Hash32(blake2b(b"simulated genesis", digest_size=32).digest())
GENESIS = BlockRef(GENESIS_HASH, Height(0), Slot(0), ZERO_HASH)

Weights = Callable[[int], dict[int, int]]
"""Weight of each candidate number in an era: the simulator's stand-in for stake."""


def authority_key(number: int) -> AuthorityKey:
    """Key of the simulated authority `number`; the order of keys is that of numbers."""
    return AuthorityKey(bytes([number]) + bytes(31))


@dataclass(frozen=True, slots=True)
class ToyState:
    """What a block changes."""

    height: int
    balances: tuple[int, ...]
    issuance: int
    certificate_height: int = 0
    """Highest block whose finality certificate a body carried: heights strictly increase (CHAIN header)."""
    punished: tuple[tuple[bytes, int], ...] = ()
    jailed: tuple[tuple[bytes, int], ...] = ()
    """(key, first era in which it may sit again)."""
    active: tuple[bytes, ...] = ()
    """Members seen this era in a certificate or as author; all others are idle at the boundary."""
    next_members: tuple[tuple[bytes, int], ...] = ()
    """Set of the coming era, in the state after a boundary block only."""

    def root(self) -> Hash32:
        """Hash over all fields."""
        return Hash32(blake2b(repr(self).encode(), digest_size=32).digest())


def genesis_state() -> ToyState:
    """Everybody starts with the same balance."""
    return ToyState(0, (100,) * ACCOUNTS, 100 * ACCOUNTS)


class RejectedError(Exception):
    """The block breaks a rule of the toy chain."""


class ToyRules:
    """Execution and set change of one simulated network."""

    def __init__(self, era_blocks: int, weights: Weights, *, ejects_idle: bool = False) -> None:
        self.era_blocks = era_blocks
        self.weights = weights
        self.ejects_idle = ejects_idle
        self._sets: dict[tuple[object, ...], AuthoritySet] = {}

    def genesis_context(self) -> EraContext:
        """Era 0."""
        members = tuple((authority_key(number), weight) for number, weight in self.weights(0).items())
        return EraContext(Era(0), self._set(members, era_seed(GENESIS_HASH, Era(0), None)), GENESIS)

    def next_context(self, state: ToyState, context: EraContext, boundary: BlockRef) -> EraContext:
        """Era after `context`, from the state after its boundary block."""
        return EraContext(Era(context.era + 1), self._next_set(state.next_members, context), boundary)

    def _next_set(self, members: tuple[tuple[bytes, int], ...], context: EraContext) -> AuthoritySet:
        era = Era(context.era + 1)
        return self._set(members, era_seed(GENESIS_HASH, era, None if era <= 1 else context.opening.hash))

    def _set(self, members: tuple[tuple[bytes, int], ...], seed: Hash32) -> AuthoritySet:
        if (members, seed) not in self._sets:
            rows = tuple(Authority(AuthorityKey(key), weight) for key, weight in sorted(members))
            self._sets[members, seed] = AuthoritySet(rows, seed)
        return self._sets[members, seed]

    def _candidates(self, state: ToyState, context: EraContext) -> tuple[tuple[bytes, int], ...]:
        """Members of the next set: not jailed, not idle, never fewer than MIN_SET for idleness; never nobody."""
        era = context.era + 1
        jailed = [key for key, until in state.jailed if until > era]
        weights = {authority_key(number): weight for number, weight in self.weights(era).items() if weight > 0}
        weights = {key: weight for key, weight in weights.items() if key not in jailed}
        if self.ejects_idle:
            sitting = [member.key for member in context.authorities.members]
            idle = [key for key in weights if key in sitting and key not in state.active]
            for key in sorted(idle, key=lambda key: (weights[key], key)):
                if len(weights) > MIN_SET:
                    del weights[key]
        if not weights:
            return tuple((member.key, member.weight) for member in context.authorities.members)
        return tuple(sorted(weights.items()))

    def execute(
        self,
        state: ToyState,
        context: EraContext,
        proposer_index: int,
        body: Body,
        ancestor_height: Callable[[Hash32], int | None],
    ) -> tuple[ToyState, Hash32, Hash32]:
        """State after the next block, its results root and the next set's hash (zero unless boundary).

        Raises RejectedError for a body that makes the block invalid. Signatures in the body are the caller's to check.
        """
        height = state.height + 1
        members = context.authorities.members
        balances = list(state.balances)
        outcomes = bytearray()
        for transaction in body.transactions:
            if len(transaction) != 3 or transaction[0] >= ACCOUNTS or transaction[1] >= ACCOUNTS:
                raise RejectedError("malformed transaction")
            sender, receiver, amount = transaction
            outcomes.append(balances[sender] >= amount)
            if balances[sender] >= amount:
                balances[sender] -= amount
                balances[receiver] += amount
        balances[proposer_index % ACCOUNTS] += REWARD
        active = [*state.active, members[proposer_index].key]
        certificate_height = state.certificate_height
        if body.certificate is not None:
            named = ancestor_height(body.certificate.statement.block_hash)
            if named is None or not certificate_height < named <= height - 2:
                raise RejectedError(f"body certificate for height {named} at {height} after {certificate_height}")
            certificate_height = named
            if body.certificate.statement.era == context.era:
                active += [members[index].key for index in body.certificate.signers]
        punished, jailed = list(state.punished), list(state.jailed)
        for item in body.evidence:
            if item.first.statement.era != context.era or not is_offence(item.first, item.second):
                raise RejectedError("evidence of another era, or none")
            offence = (members[item.first.index].key, context.era)
            if offence in punished:
                raise RejectedError("punished already")
            punished.append(offence)
            jailed.append((offence[0], context.era + 1 + JAIL_ERAS))
        after = replace(
            state,
            height=height,
            balances=tuple(balances),
            issuance=state.issuance + REWARD,
            certificate_height=certificate_height,
            punished=tuple(punished),
            jailed=tuple(jailed),
            active=tuple(sorted(dict.fromkeys(active))),
            next_members=(),
        )
        next_hash = ZERO_HASH
        if height == (context.era + 1) * self.era_blocks:
            members_next = self._candidates(after, context)
            next_hash = self._next_set(members_next, context).hash
            after = replace(after, active=(), next_members=members_next)
        return after, Hash32(blake2b(bytes(outcomes), digest_size=32).digest()), next_hash

    def seal(
        self,
        state: ToyState,
        context: EraContext,
        parent: BlockRef,
        slot: Slot,
        proposer_index: int,
        body: Body,
        ancestor_height: Callable[[Hash32], int | None],
    ) -> Sealed:
        """A block on `parent` with correct roots."""
        after, results, next_hash = self.execute(state, context, proposer_index, body, ancestor_height)
        header = Header(
            1,
            Height(parent.height + 1),
            context.era,
            slot,
            parent.hash,
            proposer_index,
            tx_root(body),
            results,
            after.root(),
            context.authorities.hash,
            next_hash,
            commit_root(body),
            1,
        )
        return Sealed(Block(header, body), block_hash(header), after)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A block with its hash, and the state after it as its author computed it."""

    block: Block
    hash: Hash32
    after: ToyState
