"""A subnet that pays for data kept: erasure-coded, sealed for each holder, audited every round (see README.md).

Files put into the `inbox` folder of the validator's store are taken over and removed; an empty file of the same name
in `wanted` brings one back into `restored`.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio
from inbox import Inbox
from keeper import CHUNKS_ASKED, Challenge, Keeper
from manifest import load, save
from merkle import ChunkProof
from placement import (
    Move,
    NewStripe,
    confirm,
    data_of,
    decide,
    new_stripe,
    opened,
    plan,
    rows_of,
    stripe_bytes,
)
from vault import SHARD_BYTES, Vault
from yumad import Call, Refusal, Result, Round, Subnet, Task, Validator, WindowMean

subnet = Subnet("storage", version=1)

EXPECTED_ORDER = ("good", "weak", "lazy", "cheat")
"""Variants of the miner from best to worst, as the incentive must order them."""

CAPACITY = 64 * SHARD_BYTES
"""Bytes a miner keeps for each validator."""

MANIFEST = "manifest.json"

AUDIT_TIMEOUT = 1.5
"""Seconds for an audit. Whoever must first fetch the chunks from elsewhere has to be quick."""


@dataclass
class PutRequest:
    """Keep a sealed shard."""

    shard: bytes
    data: bytes


@dataclass
class PutReply:
    root: bytes


@dataclass
class GetRequest:
    """Give a shard back, for a repair or its owner."""

    shard: bytes


@dataclass
class GetReply:
    data: bytes | None


@dataclass
class AuditChallenge:
    """Show the chunks of a shard that the nonce asks for."""

    shard: bytes
    nonce: bytes


@dataclass
class AuditRequest:
    challenges: list[AuditChallenge]
    drop: list[bytes]
    """Shards that may be forgotten."""


@dataclass
class ShardProof:
    chunks: list[ChunkProof]
    """Empty for a shard that is not there."""


@dataclass
class AuditReply:
    proofs: list[ShardProof]
    room: int
    """Bytes that the caller may still store."""


def vault(call: Call, capacity: int = CAPACITY) -> Vault:
    """The miner's shards."""
    return Vault(call.store / "shards", call.hotkey, capacity)


def take(request: PutRequest, call: Call, capacity: int) -> PutReply:
    """Store a shard, or refuse."""
    try:
        return PutReply(vault(call, capacity).put(call.caller, request.shard, request.data))
    except ValueError as error:
        raise Refusal(str(error)) from None


def show(request: AuditRequest, call: Call, capacity: int) -> AuditReply:
    """Proofs for every challenge."""
    kept = vault(call, capacity)
    for shard in request.drop[:64]:
        kept.drop(call.caller, shard)
    proofs = [
        ShardProof(kept.prove(call.caller, challenge.shard, challenge.nonce, CHUNKS_ASKED))
        for challenge in request.challenges[:16]
    ]
    return AuditReply(proofs, kept.room(call.caller))


@subnet.method(timeout=5.0, max_body=SHARD_BYTES + 1024, max_reply=1024, idempotent=True)
def put(request: PutRequest, call: Call) -> PutReply:
    return take(request, call, CAPACITY)


@subnet.method(timeout=5.0, max_body=1024, max_reply=SHARD_BYTES + 1024, idempotent=True)
def get(request: GetRequest, call: Call) -> GetReply:
    return GetReply(vault(call).get(call.caller, request.shard))


@subnet.method(timeout=5.0, max_body=8192, max_reply=65_536)
def audit(request: AuditRequest, call: Call) -> AuditReply:
    return show(request, call, CAPACITY)


class Storage(Validator):
    """Places data, audits it, repairs what was lost, and pays for what was proven."""

    interval = 1.0
    sample = None  # a miner that is not audited can forget
    aggregator = WindowMean(16)

    def __init__(self) -> None:
        self._keeper: Keeper | None = None

    async def task(self, round: Round) -> Task:
        keeper, inbox = self._keeper_of(round)
        keeper.leave_out_absent(neuron.hotkey for neuron in round.neurons or round.miners)
        hotkeys = [miner.hotkey for miner in round.miners]
        for hotkey in hotkeys:
            keeper.state.miner(hotkey)
        await self._place(round, keeper, inbox)
        await self._restore(round, keeper, inbox)
        asked = keeper.challenges(hotkeys, round.rng)
        requests = {
            hotkey: AuditRequest(
                [AuditChallenge(challenge.shard, challenge.nonce) for challenge in challenges],
                [bytes.fromhex(shard) for shard in keeper.state.miner(hotkey).drops],
            )
            for hotkey, challenges in asked.items()
        }
        return Task(audit, requests, timeout=AUDIT_TIMEOUT, memo=asked)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        keeper, _ = self._keeper_of(round)
        asked: dict[str, list[Challenge]] = task.memo
        answers = {result.hotkey: result.reply for result in results if result.ok}
        if not answers:
            return {}  # not one: the fault is likely on this side, and must cost nobody a shard
        for hotkey, standing in list(keeper.state.miners.items()):  # also those that are known to be out of reach
            answer = answers.get(hotkey)
            if answer is None:
                keeper.judge(hotkey, asked.get(hotkey, []), None)
                continue
            standing.room = max(0, answer.room)
            del standing.drops[: len(task.request[hotkey].drop)]
            keeper.judge(hotkey, asked[hotkey], [proof.chunks for proof in answer.proofs])
        save(keeper.state, round.store / MANIFEST)
        scores = keeper.scores()
        return {result.hotkey: scores[result.hotkey] for result in results}

    def _keeper_of(self, round: Round) -> tuple[Keeper, Inbox]:
        inbox = Inbox(round.store)
        if self._keeper is None:
            self._keeper = Keeper(load(round.store / MANIFEST), round.hotkey)
            self._settle(round, self._keeper, inbox)
        return self._keeper, inbox

    async def _place(self, round: Round, keeper: Keeper, inbox: Inbox) -> None:
        """Carry out this round's plan: all puts together, after the state that knows of them was saved."""
        todo: dict[Move, bytes] = {}
        fetched: dict[str, dict[int, bytes] | None] = {}
        for step in plan(keeper, round.rng, waiting=inbox.next_block(keeper.state, 1) is not None):
            if isinstance(step, NewStripe):
                size = stripe_bytes(len(step.hotkeys))
                block = inbox.next_block(keeper.state, size) if step.user else None
                name, offset, data = block or ("", 0, round.rng.randbytes(size))
                stripe_id = new_stripe(keeper, data, len(step.hotkeys), round.rng, name, offset)
                if name:
                    keeper.state.files[name] = offset + len(data)
                rows = rows_of(keeper.state.stripes[stripe_id], data)
                for index, hotkey in enumerate(step.hotkeys):
                    todo[Move(stripe_id, index, hotkey)] = decide(keeper, Move(stripe_id, index, hotkey), rows)
                continue
            if step.stripe not in fetched:
                fetched[step.stripe] = await self._fetch(round, keeper, step.stripe)
            known = fetched[step.stripe]
            if known is not None:
                todo[step] = decide(keeper, step, known)
        if not todo and not keeper.state.taking:
            return
        save(keeper.state, round.store / MANIFEST)
        async with trio.open_nursery() as nursery:
            for move, sealed in todo.items():
                nursery.start_soon(self._put, round, keeper, move, sealed)
        keeper.forget_lost_stripes()
        self._settle(round, keeper, inbox)

    @staticmethod
    def _settle(round: Round, keeper: Keeper, inbox: Inbox) -> None:
        """Save what became of the puts, and only then remove what is stored."""
        whole = inbox.settle(keeper)
        save(keeper.state, round.store / MANIFEST)
        inbox.remove(whole)

    @staticmethod
    async def _put(round: Round, keeper: Keeper, move: Move, sealed: bytes) -> None:
        request = PutRequest(keeper.shard_id(move.stripe, move.index, move.hotkey), sealed)
        result = await round.call(move.hotkey, put, request, timeout=3.0)
        confirm(keeper, move, result.reply.root if result.ok else None)

    @staticmethod
    async def _fetch(round: Round, keeper: Keeper, stripe_id: str) -> dict[int, bytes] | None:
        """k unsealed shards from their holders; None when so many do not answer now."""
        stripe = keeper.state.stripes[stripe_id]
        known: dict[int, bytes] = {}
        for index, shard in sorted(stripe.live().items(), key=lambda item: item[1].misses):
            if len(known) == stripe.k:
                break
            request = GetRequest(keeper.shard_id(stripe_id, index, shard.hotkey))
            result = await round.call(shard.hotkey, get, request, timeout=2.0)
            data = opened(keeper, stripe_id, index, result.reply.data or b"") if result.ok else None
            if data is not None:
                known[index] = data
        return known if len(known) == stripe.k else None

    async def _restore(self, round: Round, keeper: Keeper, inbox: Inbox) -> None:
        """Bring back one wanted file, if all its stripes can be read now."""
        wanted = inbox.wanted(keeper.state)
        if wanted is None:
            return
        name, stripes = wanted
        data = []
        for stripe_id in stripes:
            known = await self._fetch(round, keeper, stripe_id)
            if known is None:
                return
            data.append(data_of(keeper.state.stripes[stripe_id], known))
        inbox.restore(name, b"".join(data))


# The miners of EXPECTED_ORDER, for simulations and swarms; "good" is what runs when none is named.


@audit.variant("good")
def audit_good(request: AuditRequest, call: Call) -> AuditReply:
    return show(request, call, CAPACITY)


@put.variant("weak")
def put_weak(request: PutRequest, call: Call) -> PutReply:
    """Keeps all it takes, but has room for half of what is paid for."""
    return take(request, call, 4 * SHARD_BYTES)


@audit.variant("weak")
def audit_weak(request: AuditRequest, call: Call) -> AuditReply:
    return show(request, call, 4 * SHARD_BYTES)


@put.variant("lazy")
def put_lazy(request: PutRequest, call: Call) -> PutReply:
    """Has room for three eighths, and lets every sixth audit lie."""
    return take(request, call, 3 * SHARD_BYTES)


@audit.variant("lazy")
async def audit_lazy(request: AuditRequest, call: Call) -> AuditReply:
    if call.request_id[0] % 6 == 0:
        await trio.sleep(AUDIT_TIMEOUT + 1.0)
    return show(request, call, 3 * SHARD_BYTES)


@audit.variant("cheat")
def audit_cheat(request: AuditRequest, call: Call) -> AuditReply:
    """Says that it has room without end, passes the first audit of each shard, and drops it then."""
    reply = show(request, call, CAPACITY)
    for challenge in request.challenges:
        vault(call).drop(call.caller, challenge.shard)
    return AuditReply(reply.proofs, 1 << 40)
