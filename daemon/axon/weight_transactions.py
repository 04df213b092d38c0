"""The transactions of weights: their calls and arguments, and how this peer signs and submits its own (AXON R29).

Like a heartbeat, a transaction is signed here and goes through the pool's admission, which runs every check of the
rules: what is refused never leaves this peer and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ...consensus.rules.v1.calls.call import Call, pack_u16
from ...consensus.rules.v1.calls.table import call_named
from ...consensus.rules.v1.subnets import mechanism_index
from ...consensus.rules.v1.weight_commits import commit_hash
from ...consensus.signature import KeyPair
from ...consensus.transaction import encode_transaction, sign_transaction
from ...consensus.types import AccountId, Hash32
from ...storage.score_rows import ScoreKey
from ...storage.sealed_weights import CommittedWeights
from ..admission import Admission, Verdict
from ..mempool import Mempool
from ..peer_view import PeerView
from .weight_vector import Vector

SALT_BYTES = 16
"""Nobody can try all salts to find out which weights a hash stands for."""

_FAMILY = "weights."


@dataclass(frozen=True, slots=True)
class Sent:
    """The pool's answer to an own transaction."""

    taken: bool
    code: str
    """`accepted`, or why not; the name of the chain's error where it would refuse the call."""
    reason: str
    """For people."""


class Submit(Protocol):
    """Signs a call and offers it to the pool."""

    async def __call__(self, call: Call, args: list[Any], key: KeyPair, valid_until: int) -> Sent: ...


def submit_through(peer: PeerView) -> Submit:
    """How the peer of this process submits."""

    async def submit(call: Call, args: list[Any], key: KeyPair, valid_until: int) -> Sent:
        account = AccountId(key.public_key)
        nonce = await peer.ask_pool(lambda pool: pool.next_nonce(account))
        transaction = sign_transaction(
            peer.transaction_domain, key, nonce=nonce, valid_until=valid_until, call=call.number, args=args
        )
        admission: Admission = await peer.submit(encode_transaction(transaction))
        return Sent(admission.verdict is Verdict.ACCEPT, admission.code, admission.reason)

    return submit


def waiting_call(pool: Mempool, key: ScoreKey) -> str:
    """Name of a weights call of this validator that waits in the pool; empty for none."""
    for entry in pool.waiting_of(key.validator):
        if not entry.call.name.startswith(_FAMILY):
            continue
        args = entry.transaction.args
        mechanism = args[1] if len(args) > 1 and "_mechanism_" in entry.call.name else 0
        if args and args[0] == key.netuid and mechanism == key.mechanism:
            return entry.call.name
    return ""


def set_call(key: ScoreKey, vector: Vector, version_key: int) -> tuple[Call, list[Any]]:
    """Setting weights directly."""
    lists = [pack_u16(vector.uids), pack_u16(vector.values)]
    return _call("set", key), [*_where(key), *lists, version_key]


def commit_call(key: ScoreKey, committed: Hash32) -> tuple[Call, list[Any]]:
    """Committing to weights by their hash."""
    return _call("commit", key), [*_where(key), committed]


def reveal_call(key: ScoreKey, weights: CommittedWeights) -> tuple[Call, list[Any]]:
    """Revealing what was committed."""
    lists = [pack_u16(numbers) for numbers in (weights.uids, weights.values, weights.salt)]
    return _call("reveal", key), [*_where(key), *lists, weights.version_key]


def make_commit(
    key: ScoreKey, vector: Vector, version_key: int, random_bytes: Callable[[int], bytes] = os.urandom
) -> tuple[Hash32, CommittedWeights]:
    """A commit's hash with a fresh salt, and what must be sealed before it is sent."""
    drawn = random_bytes(SALT_BYTES)
    salt = tuple(int.from_bytes(drawn[at : at + 2], "little") for at in range(0, SALT_BYTES, 2))
    index = mechanism_index(key.netuid, key.mechanism)
    committed = commit_hash(key.validator, index, vector.uids, vector.values, salt, version_key)
    return committed, CommittedWeights(vector.uids, vector.values, salt, version_key, vector.bound)


def _call(step: str, key: ScoreKey) -> Call:
    name = f"{_FAMILY}{step}_mechanism_weights" if key.mechanism else f"{_FAMILY}{step}_weights"
    call = call_named(name)
    assert call is not None, f"the rules have no {name} call"
    return call


def _where(key: ScoreKey) -> list[int]:
    """The first arguments; calls for mechanism 0 have a form without it."""
    return [key.netuid, key.mechanism] if key.mechanism else [key.netuid]
