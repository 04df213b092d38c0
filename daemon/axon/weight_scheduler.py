"""Sets, commits and reveals the weights of the validators on this peer, looked at after every final block (AXON R29).

What to do is decided by `weight_plan.plan`; here the facts are read, commits are sealed before they are sent, and
transactions are submitted. Nothing that is needed lives in memory only: the queue is on the chain, what a commit was
made of is sealed in the peer's home, scores and notes are in the axon database, and the pool keeps what was submitted.
So after a kill at any moment the next look goes on where the last one stopped.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId, Hash32
from ...storage.database import StorageError
from ...storage.key_file import RandomBytes
from ...storage.score_rows import ScoreKey
from ...storage.sealed_weights import CommitTarget, WeightsFolder
from ...storage.weight_notes import WeightNote, WeightNotes
from ..execution import Runner
from ..logging import get_logger
from ..peer_view import PeerView
from .weight_facts import ChainFacts, read_facts
from .weight_plan import Action, HeldBack, Plan, Reason, Situation, plan
from .weight_report import Watched, named, status_document
from .weight_transactions import Submit, commit_call, make_commit, reveal_call, set_call, waiting_call

BACK_OFF: Final = 2
"""Blocks after a refusal before the next attempt."""

SWEEP_BLOCKS: Final = 360
"""Blocks between two looks for score rows of hotkeys that left the subnet."""

PAUSE: Final = 0.2
"""Seconds between two looks at least: while many blocks become final at once one look is enough."""


class ScoreSource(Protocol):
    """Where the scores are."""

    def values(self, key: ScoreKey) -> Mapping[AccountId, float]:
        """What each hotkey is worth."""
        ...

    def newest_round(self, key: ScoreKey) -> tuple[int, int]:
        """(number of the newest round, final height then)."""
        ...

    async def forget_absent(self, key: ScoreKey, members: Collection[AccountId], block: int) -> int:
        """Drop the rows of hotkeys that left the subnet long ago."""
        ...


class WeightScheduler:
    """One per peer: `add` validators, `run` beside the peer, `block_final` from its `on_final`."""

    def __init__(
        self,
        peer: PeerView,
        folder: WeightsFolder,
        notes: WeightNotes,
        scores: ScoreSource,
        submit: Submit,
        runner: Runner,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        """`runner` runs what touches the disk."""
        self._peer = peer
        self._folder = folder
        self._notes = notes
        self._scores = scores
        self._submit = submit
        self._runner = runner
        self._random_bytes = random_bytes
        self._validators: dict[ScoreKey, Watched] = {}
        self._news = trio.Event()
        self._log = get_logger("weights")
        self.sent: dict[str, int] = {action.value: 0 for action in Action if action is not Action.WAIT}
        """Transactions that the pool took, by kind."""
        self.refused = 0
        """Transactions that it did not take."""
        self.held_back = 0
        """Commits that were not revealed so that a new owner of a uid gets no weight."""

    # --- validators ---------------------------------------------------------------------------------------------------

    async def add(self, pair: KeyPair, netuid: int, mechanism: int = 0, version_key: int = 0) -> None:
        """Take care of a validator's weights from now on; again with another version key after an update."""
        key = ScoreKey(netuid, mechanism, AccountId(pair.public_key))
        note = await self._runner.run(lambda: self._notes.load(key))
        self._validators[key] = Watched(key, pair, version_key, note)
        self.block_final()

    def remove(self, hotkey: AccountId, netuid: int, mechanism: int = 0) -> None:
        """Leave a validator alone. A commit of it stays sealed and is revealed when it comes back in time."""
        self._validators.pop(ScoreKey(netuid, mechanism, hotkey), None)

    # --- running ------------------------------------------------------------------------------------------------------

    def block_final(self, *_: object) -> None:
        """There is a new final block, or a new score. Never blocks."""
        self._news.set()

    async def run(self) -> None:
        """Look after every final block, until cancelled. Raises StorageError when the disk refuses."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self.look()
            await trio.sleep(PAUSE)

    async def look(self) -> int:
        """One look at every validator; how many transactions were taken by the pool."""
        taken = 0
        for validator in list(self._validators.values()):
            taken += await self._look_at(validator)
        return taken

    async def _look_at(self, validator: Watched) -> bool:
        facts = await self._facts(validator)
        waiting = await self._peer.ask_pool(lambda pool: waiting_call(pool, validator.key))
        decided = plan(
            Situation(
                facts=facts,
                scores=self._scores.values(validator.key),
                scored_at=self._scores.newest_round(validator.key)[1],
                version_key=validator.version_key,
                waiting=waiting,
                retry_at=validator.retry_at,
                syncing=self._peer.status().syncing_to is not None,
            )
        )
        if facts.exists and facts.height >= validator.swept_at + SWEEP_BLOCKS:
            validator.swept_at = facts.height
            await self._scores.forget_absent(validator.key, facts.hotkeys, facts.height)
        self._say(validator, decided)
        validator.plan = decided
        await self._note_held_back(validator, facts, decided.held_back)
        if decided.action is Action.WAIT:
            return False
        return await self._send(validator, facts, decided)

    async def _facts(self, validator: Watched) -> ChainFacts:
        """The facts, with what is kept of every commit in the queue."""
        key = validator.key
        facts = await self._peer.read(lambda state: read_facts(state, key, validator.sealed))
        unknown = [c.hash for c in facts.queue if c.hash not in validator.sealed and c.hash not in validator.missing]
        if unknown:
            await self._runner.run(lambda: self._open(validator, unknown))
            facts = await self._peer.read(lambda state: read_facts(state, key, validator.sealed))
        live = tuple(commit.hash for commit in facts.queue if not commit.expired)
        if facts.exists and live != validator.live:
            await self._tidy(validator, facts, live)
        validator.facts = facts
        return facts

    def _open(self, validator: Watched, commits: list[Hash32]) -> None:
        """In the runner."""
        for committed in commits:
            try:
                if self._folder.holds(committed):
                    validator.sealed[committed] = self._folder.open(validator.pair, committed)
                    continue
            except StorageError as error:
                self._log.warning("committed weights cannot be used", reason=error.message, remedy=error.remedy)
            validator.missing[committed] = None

    async def _tidy(self, validator: Watched, facts: ChainFacts, live: tuple[Hash32, ...]) -> None:
        """Forget what no longer waits; say which commits ended without a reveal."""
        for commit in facts.queue:
            if not commit.expired or validator.sealed.pop(commit.hash, None) is None:
                continue
            validator.missing[commit.hash] = None
            if commit.hash != validator.note.held_back_hash:
                text = f"the commit of block {commit.block} expired without a reveal: weights are committed anew"
                self._log.warning(text, reveal_epoch=commit.reveal_epoch, epoch=facts.epoch, **named(validator.key))
                await self._keep(validator, replace(validator.note, error=text, error_at=facts.height))
        target = CommitTarget(validator.key.validator, validator.key.netuid, validator.key.mechanism)
        await self._runner.run(lambda: self._folder.forget_gone(target, live, facts.height))
        queued = {commit.hash: None for commit in facts.queue}
        validator.sealed = {name: kept for name, kept in validator.sealed.items() if name in queued}
        validator.missing = {name: None for name in validator.missing if name in queued}
        validator.live = live

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _send(self, validator: Watched, facts: ChainFacts, decided: Plan) -> bool:
        key, committed = validator.key, Hash32(b"")
        if decided.action is Action.REVEAL:
            assert decided.reveal is not None and decided.reveal.sealed is not None
            call, args = reveal_call(key, decided.reveal.sealed)
        elif decided.action is Action.SET:
            assert decided.vector is not None
            call, args = set_call(key, decided.vector, validator.version_key)
        else:
            assert decided.vector is not None
            committed, weights = make_commit(key, decided.vector, validator.version_key, self._random_bytes)
            target = CommitTarget(key.validator, key.netuid, key.mechanism)
            # On the disk before the network has it: a commit whose salt is lost can never be revealed.
            await self._runner.run(
                lambda: self._folder.keep(validator.pair, target, committed, weights, decided.valid_until)
            )
            call, args = commit_call(key, committed)
        sent = await self._submit(call, args, validator.pair, decided.valid_until)
        if sent.taken:
            self.sent[decided.action.value] += 1
            validator.retry_at = 0
            note = replace(validator.note, sent=call.name, sent_at=facts.height, valid_until=decided.valid_until)
            if committed:
                note = replace(note, commit=committed)
            else:  # with weights in the clear on their way, what went wrong before is over
                note = replace(note, error="", error_at=0, held_back=0)
            self._log.info(f"{call.name} sent", height=facts.height, **named(key))
        else:
            self.refused += 1
            validator.retry_at = facts.height + BACK_OFF
            if committed:
                await self._runner.run(lambda: self._folder.forget(committed))
            note = replace(validator.note, error=f"{sent.code}: {sent.reason}", error_at=facts.height)
            self._log.warning(f"{call.name} was not taken", code=sent.code, reason=sent.reason, **named(key))
        await self._keep(validator, note)
        return sent.taken

    async def _note_held_back(self, validator: Watched, facts: ChainFacts, held: tuple[HeldBack, ...]) -> None:
        """Remember why a due commit is not revealed, once for each."""
        if not held or held[0].hash == validator.note.held_back_hash:
            return
        newest = held[0]
        is_ours = newest.hash in validator.sealed  # else another peer of this hotkey committed it, or its file is lost
        self.held_back += is_ours
        text = f"the commit of block {newest.block} is not revealed: {newest.why}"
        self._log.warning(text, commit=newest.hash.hex()[:16], **named(validator.key))
        note = replace(validator.note, error=text, error_at=facts.height)
        count = validator.note.held_back + is_ours
        await self._keep(validator, replace(note, held_back=count, held_back_hash=newest.hash))

    async def _keep(self, validator: Watched, note: WeightNote) -> None:
        validator.note = note
        await self._runner.run(lambda: self._notes.save(validator.key, note))

    def _say(self, validator: Watched, decided: Plan) -> None:
        """A line when the reason to wait changes to one that needs a person."""
        before = None if validator.plan is None else validator.plan.reason
        if decided.reason is not before and decided.reason in _FOR_PEOPLE:
            self._log.warning("no weights are sent", reason=decided.reason.value, text=decided.text)

    # --- status -------------------------------------------------------------------------------------------------------

    def status(self, hotkey: AccountId, netuid: int, mechanism: int = 0) -> dict[str, Any] | None:
        """What `yumad weights status` shows of one validator; None when it is not looked after here."""
        validator = self._validators.get(ScoreKey(netuid, mechanism, hotkey))
        return None if validator is None else status_document(validator)

    def statuses(self) -> list[dict[str, Any]]:
        """The same for all, for status pages and metrics."""
        return [status_document(validator) for validator in self._validators.values()]


_FOR_PEOPLE: Final = (
    Reason.NO_SUBNET,
    Reason.NOT_REGISTERED,
    Reason.LOW_STAKE,
    Reason.NO_PERMIT,
    Reason.VERSION_KEY,
    Reason.ZERO_VECTOR,
    Reason.STALE_SCORES,
    Reason.NO_EPOCHS,
    Reason.QUEUE_FULL,
)
