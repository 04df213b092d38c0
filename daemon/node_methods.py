"""The methods of a running peer: its state, its blocks and transactions, every read of the rules (DESIGN section 5).

Reads answer from the finalised state. Each read of the rules' registry is a method under its own name; `query` reaches
them all with positional parameters.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from ..consensus.rules.v1.balances import current_height, free_balance
from ..consensus.rules.v1.calls.call import Argument, ArgumentKind
from ..consensus.rules.v1.calls.table import CALLS
from ..consensus.rules.v1.reads import READS, Answer, Read
from ..consensus.ss58 import encode_address
from ..consensus.state.state import State
from ..consensus.types import AccountId, Hash32, Height
from .admission import Verdict
from .arguments import ArgumentError, from_json, shown_answer, usage
from .block_documents import block_document, included_document, waiting_document
from .documents import counts_document, peer_document, pool_entry_document, status_document
from .peer_view import PeerView
from .registry import AnyList, AnyText, Json, Method, NotFoundError, RefusedError, Registry, nearest, parameter_document

POOL_ENTRIES: Final = 100
"""Waiting transactions that `mempool` lists unless asked for more."""

MOST_POOL_ENTRIES: Final = 8192

_ID: Final = Argument("id", ArgumentKind.HASH, "transaction id")


def node_registry(peer: PeerView, more: Sequence[Method] = ()) -> Registry:
    """Everything that can be asked of `peer`, with what the parts beside it add."""
    methods = _NodeMethods(peer)
    registry = Registry([*methods.node(), *methods.reads(), *more, *methods.descriptions()])
    methods.registry = registry
    return registry


class _NodeMethods:
    registry: Registry

    def __init__(self, peer: PeerView) -> None:
        self._peer = peer

    def node(self) -> list[Method]:
        """What concerns the peer itself."""
        return [
            Method("status", (), "One look at the whole peer.", self.status),
            Method("peers", (), "Connected peers, best score first.", self.peers),
            Method("block", (AnyText("at", "height, hash, `head` or `final`"),), "One block.", self.block),
            Method(
                "tx.context",
                (Argument("account", ArgumentKind.ACCOUNT, "signer"),),
                "What is needed to sign a transaction of an account: domain, next nonce, fees.",
                self.tx_context,
                optional=("account",),
            ),
            Method(
                "tx.send",
                (Argument("transaction", ArgumentKind.BYTES, "whole signed bytes"),),
                "Offer a signed transaction; an error says why it is not taken.",
                self.tx_send,
            ),
            Method("tx.show", (_ID,), "Where a transaction is, what came of it, or why it waits.", self.tx_show),
            Method(
                "mempool",
                (Argument("limit", ArgumentKind.U16, "most transactions listed"),),
                "What waits for a block, in the order of a block.",
                self.mempool,
                optional=("limit",),
            ),
            Method(
                "explain",
                (
                    Argument("netuid", ArgumentKind.U16, "subnet"),
                    Argument("uid", ArgumentKind.U16, "neuron"),
                    Argument("at", ArgumentKind.U64, "height of the epoch; the newest without it"),
                ),
                "Why a neuron was paid what it was paid at an epoch, to the unit.",
                self.explain,
                optional=("at",),
            ),
            Method(
                "query",
                (AnyText("name", "name of a read"), AnyList("params", "its parameters by position")),
                "Ask any read of the finalised state.",
                self.query,
                optional=("params",),
            ),
        ]

    async def status(self) -> Json:
        return status_document(self._peer.status())

    async def peers(self) -> Json:
        entries = sorted(self._peer.peers(), key=lambda entry: (-entry.score, entry.peer_id))
        return [peer_document(entry) for entry in entries]

    async def block(self, at: str) -> Json:
        status = self._peer.status()
        named: dict[str, Height | Hash32] = {"head": status.head, "final": status.finalised}
        wanted = named.get(at) or _height_or_hash(at)
        if wanted in (0, self._peer.genesis_hash):
            raise NotFoundError("there is no block 0: a chain begins with its spec", remedy="ask for block 1 or above")
        found = await self._peer.block(wanted)
        if found is None:
            raise NotFoundError(
                f"no block {at} here; the newest is {status.height}, final are those up to {status.finalised_height}",
                remedy="old bodies are pruned unless the peer is an archive",
            )
        return block_document(found, self._peer.transaction_domain)

    async def tx_context(self, account: AccountId | None) -> Json:
        peer, spec, status = self._peer, self._peer.spec, self._peer.status()
        document: dict[str, Any] = {
            "network": spec.name,
            "profile": spec.profile,
            "genesis_hash": peer.genesis_hash.hex(),
            "fork_digest": peer.transaction_domain.fork_digest.hex(),
            "height": status.finalised_height,
            "slot_ms": spec.slot_length // 1000,
            "existential_deposit": str(spec.existential_deposit),
            "base_fee": str(spec.fees.base),
            "fee_per_byte": str(spec.fees.per_byte),
            "call_fees": {f"0x{call:04x}": str(fee) for call, fee in spec.fees.calls},
            "dev_names": list(spec.dev_names),
        }
        if account is not None:
            owner = account

            free = await peer.read(lambda state: free_balance(state, owner))
            nonce = await peer.ask_pool(lambda pool: pool.next_nonce(owner))
            document |= {"account": encode_address(owner), "free": str(free), "nonce": nonce}
        return document

    async def tx_send(self, data: bytes) -> Json:
        admission = await self._peer.submit(data)
        known = admission.code == "seen" and admission.id is not None
        if admission.verdict is not Verdict.ACCEPT and not known:
            remedy = _REMEDIES.get(admission.code, "")
            raise RefusedError(admission.code, f"not taken: {admission.reason}", remedy=remedy)
        assert admission.id is not None
        return {"id": admission.id.hex(), "hash": admission.hash.hex(), "code": admission.code}

    async def tx_show(self, identity: bytes) -> Json:
        peer, name = self._peer, Hash32(identity)
        found = await peer.find_transaction(name)
        if found is not None and (found.final or peer.mempool.find(name) is None):
            return included_document(found, peer.transaction_domain)
        entry = peer.mempool.find(name)
        if entry is None:
            raise NotFoundError(
                f"no transaction {name.hex()} here: neither in a block nor waiting",
                remedy="it was dropped or never reached this peer; send it again",
            )
        if found is not None:
            return included_document(found, peer.transaction_domain)
        why = await peer.ask_pool(lambda pool: pool.why_waiting(name))
        return waiting_document(entry, why, peer.transaction_domain)

    async def mempool(self, limit: int | None) -> Json:
        pool, most = self._peer.mempool, min(POOL_ENTRIES if limit is None else limit, MOST_POOL_ENTRIES)
        stats = pool.stats()
        return {
            "transactions": stats.transactions,
            "operational": stats.operational,
            "ready": stats.ready,
            "signers": stats.signers,
            "size": stats.size,
            "counts": counts_document(stats.counts),
            "entries": [pool_entry_document(entry) for entry in pool.entries()[:most]],
        }

    async def explain(self, netuid: int, uid: int, at: int | None) -> Json:
        found: Json = shown_answer(await self._peer.explain(netuid, uid, None if at is None else Height(at)))
        return found

    async def query(self, name: str, params: list[Any] | None) -> Json:
        read = READS.get(name)
        if read is None:
            near = nearest(name, READS)
            raise ArgumentError(
                f"there is no read {name[:60]!r}",
                remedy=f"did you mean {near!r}?" if near else f"there are {', '.join(READS)}",
            )
        values = params or []
        if len(values) != len(read.arguments):
            raise ArgumentError(
                f"{name}: {len(values)} parameters, expected {len(read.arguments)}",
                remedy=f"{name} takes {usage(read.arguments) or 'no parameters'}",
            )
        return await self._answer(read, [from_json(a, v) for a, v in zip(read.arguments, values, strict=True)])

    # --- reads --------------------------------------------------------------------------------------------------------

    def reads(self) -> list[Method]:
        """Every read under its own name."""
        return [Method(read.name, read.arguments, _sentence(read.doc), self._reader(read)) for read in READS.values()]

    def _reader(self, read: Read) -> Callable[..., Awaitable[Json]]:
        async def handler(*values: Any) -> Json:
            return await self._answer(read, list(values))

        return handler

    async def _answer(self, read: Read, values: list[Any]) -> Json:
        def look(state: State) -> tuple[int, Answer]:
            return current_height(state), read.answer(state, *values)

        height, answer = await self._peer.read(look)
        return {"read": read.name, "height": height, "answer": shown_answer(answer, read.name)}

    # --- what there is ------------------------------------------------------------------------------------------------

    def descriptions(self) -> list[Method]:
        """The registries themselves."""
        return [
            Method("methods", (), "Every method with its parameters.", self.methods),
            Method("calls", (), "Every call a transaction may carry, with its arguments.", self.calls),
        ]

    async def methods(self) -> Json:
        return [
            {
                "name": method.name,
                "doc": method.doc,
                "parameters": [parameter_document(p, optional=p.name in method.optional) for p in method.parameters],
            }
            for method in (self.registry.find(name) for name in self.registry.names())
        ]

    async def calls(self) -> Json:
        return [
            {
                "name": call.name,
                "number": call.number,
                "doc": call.doc,
                "signer": call.signer.value,
                "free": call.free,
                "arguments": [parameter_document(argument) for argument in call.arguments],
            }
            for call in CALLS
        ]


_REMEDIES: Final = {
    "nonce_too_low": "ask for the account's nonce again (tx.context) and sign anew",
    "nonce_too_far": "send the transactions with the lower nonces first",
    "cannot_pay": "fund the account, or wait for its other transactions",
    "expired": "sign it again with a later valid_until",
    "future": "sign it again with an earlier valid_until",
    "stale_domain": "sign it again: the rules changed",
    "bad_signature": "sign it for this network; compare genesis_hash and fork_digest of tx.context",
    "pool_full": "add a tip, or try again later",
    "signer_full": "wait until some of the account's transactions are included",
    "underpriced": "raise the tip, or wait for the transaction with the same nonce",
}
"""What a person does about an admission that failed."""


def _height_or_hash(text: str) -> Height | Hash32:
    if re.fullmatch(r"[0-9]{1,19}", text):
        return Height(int(text))
    bare = text.removeprefix("0x")
    if re.fullmatch(r"[0-9a-fA-F]{64}", bare):
        return Hash32(bytes.fromhex(bare))
    raise ArgumentError(f"{text[:80]!r} names no block", remedy="give a height, a hash of 64 hex digits, head or final")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
