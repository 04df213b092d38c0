"""The mempool: transactions that wait for a block (CHAIN 3).

Admission goes from cheap to dear: size, strict decode, known call, valid_until window, not seen, signer state (nonce,
balance or free-call right), cap per signer, space, signature, arguments. Verdicts are values for the gossip layer:
*reject* is the sender's fault, *ignore* is nobody's. The pool is synchronous and reads the chain through `PoolState`;
one lock makes every method safe from any thread, since an own block takes its candidates in the execution thread.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Any, Final

from ..consensus.block import MAX_BODY_BYTES, MAX_TRANSACTION_BYTES
from ..consensus.chain_spec import ChainSpec
from ..consensus.rules.v1.calls.call import Call, decode_arguments
from ..consensus.rules.v1.calls.table import call_numbered
from ..consensus.signature import verify
from ..consensus.transaction import (
    MORTALITY,
    Transaction,
    TransactionDomain,
    decode_transaction,
    signing_digest,
    transaction_bytes_hash,
)
from ..consensus.types import AccountId, Hash32, Height, MalformedError
from ..protocols.transport import GossipVerdict
from .admission import Admission, PoolState, PoolStats, Refused, Verdict, ignore, reject
from .mempool_lanes import BOUNDS, Entry, Lane, LaneStore, block_order

NONCES_AHEAD: Final = 15
"""Nonces past the signer's next one that may wait."""

MAX_PER_SIGNER: Final = 16

MAX_REJECTED: Final = 10_000
"""Whole-byte hashes of refused transactions that are remembered until the era ends."""

REMEMBERED: Final = ("bad_signature", "malformed_arguments")
"""Refusals that come after the look at what was seen; remembering cheaper ones would only push these out."""

MAX_VERIFIED: Final = 16_384
"""Whole-byte hashes whose signature was checked: twice the pool, so a block's transactions are still known."""

REPLACEMENT_PERCENT: Final = 25
"""More tip that a replacement pays at least."""


class Mempool:
    """One per peer."""

    def __init__(
        self,
        domain: TransactionDomain,
        spec: ChainSpec,
        state: PoolState,
        *,
        call_of: Callable[[int], Call | None] = call_numbered,
        previous_domain: TransactionDomain | None = None,
        min_tip: int | None = None,
    ) -> None:
        """`call_of` is the call table of the running rules; `min_tip` in rao defaults to the smallest flat fee."""
        self._domain = domain
        self._previous_domain = previous_domain
        self._spec = spec
        self._state = state
        self._call_of = call_of
        fees = [spec.fees.base, *(fee for _, fee in spec.fees.calls)]
        self._min_tip = max(1, min((fee for fee in fees if fee > 0), default=1)) if min_tip is None else min_tip
        self._lanes = {lane: LaneStore(bounds) for lane, bounds in BOUNDS.items()}
        self._by_hash: dict[Hash32, Entry] = {}
        self._by_id: dict[Hash32, Entry] = {}
        self._signers: dict[AccountId, dict[int, Entry]] = {}
        self._next_nonce: dict[AccountId, int] = {}
        """Next nonce of every pooled signer, as last read: an order needs no state then."""
        self._rejected: OrderedDict[Hash32, tuple[str, str]] = OrderedDict()
        self._verified: OrderedDict[Hash32, None] = OrderedDict()
        self._sequence = 0
        self._counts: Counter[str] = Counter()
        self._lock = RLock()

    # --- admission ----------------------------------------------------------------------------------------------------

    def admit(self, data: bytes, *, own: bool = False, verified_for: TransactionDomain | None = None) -> Admission:
        """Try to take a transaction in. Never raises.

        `own` marks what was submitted on this machine; `verified_for` is the domain for which the caller checked the
        signature already, as gossip does: when it is no longer the running one, the signature is checked again.
        """
        with self._lock:
            bytes_hash = transaction_bytes_hash(data) if len(data) <= MAX_TRANSACTION_BYTES else Hash32(bytes(32))
            self._state.refresh()
            try:
                entry = self._admit(data, bytes_hash, own, verified_for == self._domain)
            except Refused as refused:
                if refused.code in REMEMBERED:
                    _remember(self._rejected, bytes_hash, (refused.code, refused.reason), MAX_REJECTED)
                known = None if refused.known is None else refused.known.id
                admission = Admission(refused.verdict, refused.code, refused.reason, bytes_hash, known)
            else:
                admission = Admission(Verdict.ACCEPT, "accepted", "waits for a block", bytes_hash, entry.id)
            self._counts[admission.code] += 1
            return admission

    def _admit(self, data: bytes, bytes_hash: Hash32, own: bool, verified: bool) -> Entry:
        """The order of CHAIN 3, cheapest check first."""
        if len(data) > MAX_TRANSACTION_BYTES:
            raise reject("oversize", f"{len(data)} bytes, at most {MAX_TRANSACTION_BYTES} allowed")
        try:
            transaction = decode_transaction(data)
        except MalformedError as error:
            raise reject("malformed", error.message) from error
        call = self._known_call(transaction, len(data))
        self._check_window(transaction)
        self._check_not_seen(bytes_hash)
        held = self._signers.get(transaction.signer, {})
        replaced = held.get(transaction.nonce)
        self._check_nonce(transaction)
        self._sequence += 1
        fee = 0 if call.free else self._spec.fees.of(call.number, len(data))
        identity = signing_digest(self._domain, transaction)
        entry = Entry(data, bytes_hash, identity, transaction, call, fee + transaction.tip, self._sequence, own)
        arguments = self._check_right(entry, held, replaced)
        if replaced is not None:
            self._check_replacement(entry, replaced)
        elif len(held) >= MAX_PER_SIGNER:
            raise ignore("signer_full", f"{MAX_PER_SIGNER} transactions of this signer wait already")
        entry.ready = all(n in held for n in range(self._next_nonce_of(transaction.signer), transaction.nonce))
        victims = self._lanes[entry.lane].room_for(entry, replaced)
        if victims is None:
            raise ignore("pool_full", "the pool is full of transactions with a higher tip per byte")
        if not verified and bytes_hash not in self._verified:
            self._check_signature(transaction, identity)
        if arguments is None:
            _arguments(entry)
        for victim in victims:
            self._remove(victim)
            self._counts["evicted"] += 1
        if replaced is not None:
            self._remove(replaced)
            self._counts["replaced"] += 1
        self._insert(entry)
        return entry

    def _known_call(self, transaction: Transaction, size: int) -> Call:
        call = self._call_of(transaction.call)
        if call is None:
            raise reject("unknown_call", f"call 0x{transaction.call:04x} is unknown to the running rules")
        if size > call.most_bytes:
            raise reject("oversize", f"{size} bytes, at most {call.most_bytes} allowed for {call.name}")
        return call

    def _check_window(self, transaction: Transaction) -> None:
        following = self._state.height() + 1
        if transaction.valid_until < following:
            raise ignore("expired", f"valid until block {transaction.valid_until}, the next block is {following}")
        if transaction.valid_until > following + MORTALITY:
            raise ignore(
                "future",
                f"valid until block {transaction.valid_until}, over {MORTALITY} blocks after the next one, {following}",
            )

    def _check_not_seen(self, bytes_hash: Hash32) -> None:
        known = self._by_hash.get(bytes_hash)
        if known is not None:
            raise ignore("seen", "it waits in the pool already", known)
        refused = self._rejected.get(bytes_hash)
        if refused is not None:
            raise ignore("seen", f"it was refused before: {refused[1]}")

    def _check_nonce(self, transaction: Transaction) -> None:
        following, nonce = self._next_nonce_of(transaction.signer), transaction.nonce
        if nonce < following:
            raise ignore("nonce_too_low", f"nonce {nonce} is used, the signer's next one is {following}")
        if nonce > following + NONCES_AHEAD:
            raise ignore(
                "nonce_too_far", f"nonce {nonce} is more than {NONCES_AHEAD} above the signer's next one, {following}"
            )

    def _check_right(self, entry: Entry, held: dict[int, Entry], replaced: Entry | None) -> tuple[Any, ...] | None:
        """Balance for everything of the signer that waits, or the right to a free call; the arguments if decoded."""
        signer = entry.transaction.signer
        if entry.charge:
            promised = sum(other.charge for other in held.values()) - (0 if replaced is None else replaced.charge)
            balance = self._state.balance(signer)
            if promised + entry.charge > balance:
                waiting = f" and {promised} are promised to transactions that wait" if promised else ""
                raise ignore("cannot_pay", f"fee and tip are {entry.charge} rao, {balance} can be spent{waiting}")
        if not entry.call.free:
            return None
        arguments = _arguments(entry)
        error = self._state.free_call_precheck(signer, entry.call, arguments)
        if error is not None:
            raise ignore(error, f"{entry.call.name} would fail with {error} in the next block")
        return arguments

    def _check_replacement(self, entry: Entry, replaced: Entry) -> None:
        if entry.call.free and replaced.call.free:
            height = self._state.height()
            if replaced.replaced_at == height:
                raise ignore("replaced_already", "a free call is replaced at most once per block")
            entry.replaced_at = height
            return
        old, tip = replaced.transaction.tip, entry.transaction.tip
        needed = old + max(-(-old * REPLACEMENT_PERCENT // 100), self._min_tip)
        if tip < needed:
            raise ignore("underpriced", f"a transaction of this nonce waits; replacing it needs a tip of {needed} rao")

    def _check_signature(self, transaction: Transaction, identity: Hash32) -> None:
        if verify(transaction.signer, identity, transaction.signature):
            return
        previous = self._previous_domain
        if previous is not None and verify(
            transaction.signer, signing_digest(previous, transaction), transaction.signature
        ):
            raise ignore("stale_domain", "signed for the rules before the last change: sign it again")
        raise reject("bad_signature", "wrongly signed, or signed for another chain or rules version")

    # --- contents -----------------------------------------------------------------------------------------------------

    def candidates(self, limit_bytes: int) -> list[bytes]:
        """Transactions for a block in canonical order, at most `limit_bytes` of them."""
        with self._lock:
            chains = {
                signer: [held[nonce] for nonce in sorted(held) if held[nonce].ready]
                for signer, held in self._signers.items()
            }
            chosen: list[bytes] = []
            size = 0
            for entry in block_order(chains):
                size += len(entry.data)
                if size > limit_bytes:
                    break
                chosen.append(entry.data)
            return chosen

    def get(self, bytes_hash: Hash32) -> bytes | None:
        """A pooled transaction by the hash of its whole bytes."""
        entry = self._by_hash.get(bytes_hash)
        return None if entry is None else entry.data

    def find(self, identity: Hash32) -> Entry | None:
        """A pooled transaction by its id, or by the hash of its whole bytes."""
        return self._by_id.get(identity) or self._by_hash.get(identity)

    def entries(self) -> list[Entry]:
        """Everything that waits, in the order of a block; those that wait for a lower nonce last."""
        with self._lock:
            chains = {signer: [held[nonce] for nonce in sorted(held)] for signer, held in self._signers.items()}
            ordered = list(block_order(chains))
            return [e for e in ordered if e.ready] + [e for e in ordered if not e.ready]

    def waiting_of(self, signer: AccountId) -> list[Entry]:
        """What waits of one signer, in nonce order."""
        with self._lock:
            held = self._signers.get(signer, {})
            return [held[nonce] for nonce in sorted(held)]

    def own(self) -> list[bytes]:
        """What was submitted here and still waits, oldest first: kept over a restart."""
        with self._lock:
            return [e.data for e in sorted(self._by_hash.values(), key=lambda e: e.sequence) if e.own]

    def next_nonce(self, account: AccountId) -> int:
        """Nonce for the account's next transaction: the first one neither included nor pooled."""
        with self._lock:
            self._state.refresh()
            nonce, held = self._next_nonce_of(account), self._signers.get(account, {})
            while nonce in held:
                nonce += 1
            return nonce

    def is_verified(self, bytes_hash: Hash32) -> bool:
        """Whether the signature of these whole bytes was checked here, under the running domain."""
        return bytes_hash in self._verified

    def stats(self) -> PoolStats:
        """Sizes and counts."""
        with self._lock:
            return PoolStats(
                transactions=len(self._by_hash),
                operational=len(self._lanes[Lane.OPERATIONAL]),
                size=sum(lane.size for lane in self._lanes.values()),
                signers=len(self._signers),
                ready=sum(entry.ready for entry in self._by_hash.values()),
                counts=dict(self._counts),
            )

    def why_waiting(self, identity: Hash32) -> str | None:
        """Why a pooled transaction is not in a block yet, in words; None when it is not in the pool."""
        with self._lock:
            entry = self.find(identity)
            if entry is None:
                return None
            self._state.refresh()
            signer, nonce = entry.transaction.signer, entry.transaction.nonce
            held = self._signers[signer]
            for missing in range(self._next_nonce_of(signer), nonce):
                if missing not in held:
                    return f"nonce {missing} of the signer comes first and is not here"
            if entry.charge > self._state.balance(signer):
                return f"fee and tip are {entry.charge} rao, the signer can spend {self._state.balance(signer)}"
            if entry.call.free:
                error = self._state.free_call_precheck(signer, entry.call, _arguments(entry))
                if error is not None:
                    return f"{entry.call.name} would fail with {error} in the next block"
            if entry.skipped:
                return f"the last own block left it out: {entry.skipped}"
            before = [e for e in self._by_hash.values() if e.ready and e.lane <= entry.lane]
            ahead = sum(e.lane < entry.lane or e.rate > entry.rate for e in before)
            return f"it is ready; {ahead} transactions come before it"

    # --- the chain moves ----------------------------------------------------------------------------------------------

    def after_block(self, included: Iterable[bytes], height: Height) -> None:
        """A block of `height` with these transactions is final: drop them and what can no longer be included.

        `PoolState` must stand on that block already.
        """
        with self._lock:
            self._state.refresh()
            touched: dict[AccountId, None] = {}
            for data in included:
                known = self._by_hash.get(transaction_bytes_hash(data))
                signer = known.transaction.signer if known is not None else _signer_of(data)
                if known is not None:
                    self._remove(known)
                if signer is not None and signer in self._signers:
                    touched[signer] = None
            for entry in [e for e in self._by_hash.values() if e.transaction.valid_until <= height]:
                self._drop(entry, "dropped_expired")
            for signer in touched:
                self._review(signer)

    def requeue(self, bodies: Sequence[Iterable[bytes]]) -> int:
        """The head moved away from blocks with these transactions: take them in again; gives how many."""
        with self._lock:
            back = 0
            for body in bodies:
                for data in body:
                    back += self.admit(data).verdict is Verdict.ACCEPT
            for signer in list(self._signers):
                self._review(signer)
            return back

    def best(self) -> list[bytes]:
        """Candidates for a whole block."""
        return self.candidates(MAX_BODY_BYTES)

    def note_skipped(self, skipped: Iterable[tuple[Hash32, str]]) -> None:
        """The builder of an own block passed these over, with the error's name."""
        with self._lock:
            for bytes_hash, error in skipped:
                entry = self._by_hash.get(bytes_hash)
                if entry is not None:
                    entry.skipped = error

    def judge(self, transaction: Transaction, bytes_hash: Hash32, size: int) -> GossipVerdict:
        """The cheap half of admission for gossip, before the signature; reads no state (see `TransactionGate`)."""
        try:
            self._known_call(transaction, size)
            self._check_window(transaction)
            self._check_not_seen(bytes_hash)
        except Refused as refused:
            return GossipVerdict.REJECT if refused.verdict is Verdict.REJECT else GossipVerdict.IGNORE
        following = self._next_nonce.get(transaction.signer)
        if following is not None and not following <= transaction.nonce <= following + NONCES_AHEAD:
            return GossipVerdict.IGNORE
        return GossipVerdict.ACCEPT

    def new_era(self) -> None:
        """Forget what was refused: reasons may have passed."""
        with self._lock:
            self._rejected.clear()

    def change_domain(self, domain: TransactionDomain) -> None:
        """Rules or restart domain changed: everything pending was signed for what is over."""
        with self._lock:
            for entry in list(self._by_hash.values()):
                self._remove(entry)
            self._previous_domain, self._domain = self._domain, domain
            self._rejected.clear()
            self._verified.clear()

    def _review(self, signer: AccountId) -> None:
        """Drop what a signer can no longer have included: used nonces, unpayable charges, lost rights."""
        held = self._signers.get(signer)
        if held is None:
            return
        following, balance, promised = self._state.next_nonce(signer), self._state.balance(signer), 0
        self._next_nonce[signer] = following
        for nonce in sorted(held):
            entry = held[nonce]
            promised += entry.charge
            if nonce < following:
                self._drop(entry, "dropped_nonce_used")
            elif promised > balance:
                promised -= entry.charge
                self._drop(entry, "dropped_cannot_pay")
            elif entry.call.free:
                error = self._state.free_call_precheck(signer, entry.call, _arguments(entry))
                if error is not None:
                    self._drop(entry, "dropped_lost_right")
        self._refresh_ready(signer)

    def _drop(self, entry: Entry, code: str) -> None:
        self._remove(entry)
        self._counts[code] += 1

    def _insert(self, entry: Entry) -> None:
        signer = entry.transaction.signer
        self._lanes[entry.lane].add(entry)
        self._by_hash[entry.hash] = entry
        self._by_id[entry.id] = entry
        self._signers.setdefault(signer, {})[entry.transaction.nonce] = entry
        self._next_nonce.setdefault(signer, self._state.next_nonce(signer))
        _remember(self._verified, entry.hash, None, MAX_VERIFIED)
        self._refresh_ready(signer)

    def _remove(self, entry: Entry) -> None:
        signer, held = entry.transaction.signer, self._signers[entry.transaction.signer]
        self._lanes[entry.lane].remove(entry)
        del self._by_hash[entry.hash]
        if self._by_id.get(entry.id) is entry:
            del self._by_id[entry.id]
        del held[entry.transaction.nonce]
        if held:
            self._refresh_ready(signer)
        else:
            del self._signers[signer]
            self._next_nonce.pop(signer, None)

    def _refresh_ready(self, signer: AccountId) -> None:
        held = self._signers.get(signer)
        if held is None:
            return
        following = self._next_nonce[signer]
        for nonce in sorted(held):
            entry = held[nonce]
            ready = nonce <= following
            if ready:
                following = max(following, nonce + 1)
            if entry.ready != ready:
                entry.ready = ready
                self._lanes[entry.lane].changed(entry)

    def _next_nonce_of(self, signer: AccountId) -> int:
        nonce = self._state.next_nonce(signer)
        if signer in self._signers and self._next_nonce[signer] != nonce:
            self._next_nonce[signer] = nonce
            self._refresh_ready(signer)
        return nonce


def _arguments(entry: Entry) -> tuple[Any, ...]:
    try:
        return decode_arguments(entry.call, entry.transaction.args)
    except MalformedError as error:
        raise reject("malformed_arguments", error.message) from error


def _signer_of(data: bytes) -> AccountId | None:
    try:
        return decode_transaction(data).signer
    except MalformedError:
        return None


def _remember(cache: OrderedDict[Hash32, Any], key: Hash32, value: Any, most: int) -> None:
    cache[key] = value
    if len(cache) > most:
        cache.popitem(last=False)
