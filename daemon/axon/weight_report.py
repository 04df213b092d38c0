"""What is known of one validator's weights, and how it is told to people and programs (AXON R29, complaint C13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...consensus.signature import KeyPair
from ...consensus.ss58 import encode_address
from ...consensus.types import Hash32
from ...storage.score_rows import ScoreKey
from ...storage.sealed_weights import CommittedWeights
from ...storage.weight_notes import WeightNote
from .weight_facts import ChainFacts
from .weight_plan import Plan


@dataclass(slots=True)
class Watched:
    """A validator whose weights are looked after, and what was found at the last look."""

    key: ScoreKey
    pair: KeyPair
    version_key: int
    note: WeightNote
    sealed: dict[Hash32, CommittedWeights] = field(default_factory=dict)
    """Opened, of those in the queue."""
    missing: dict[Hash32, None] = field(default_factory=dict)
    """In the queue, and not kept here."""
    live: tuple[Hash32, ...] | None = None
    """The queue at the last tidying."""
    retry_at: int = 0
    swept_at: int = 0
    """Height at which rows of hotkeys that left were last looked for."""
    facts: ChainFacts | None = None
    plan: Plan | None = None


def named(key: ScoreKey) -> dict[str, Any]:
    """Whose weights, for a log line or a document."""
    return {"netuid": key.netuid, "mechanism": key.mechanism, "hotkey": encode_address(key.validator)}


def status_document(validator: Watched) -> dict[str, Any]:
    """What `yumad weights status` shows."""
    facts, decided, note = validator.facts, validator.plan, validator.note
    document: dict[str, Any] = {
        **named(validator.key),
        "version_key": validator.version_key,
        "height": 0 if facts is None else facts.height,
        "uid": None if facts is None else facts.uid,
        "commit_reveal": None if facts is None else facts.commit_reveal,
        "state": "starting" if decided is None else decided.reason.value,
        "text": "no block was looked at yet" if decided is None else decided.text,
        "next_block": 0 if decided is None else decided.next_block,
        "next_allowed": 0 if facts is None or not facts.last_update else facts.last_update + facts.rate_limit,
        "last_update": 0 if facts is None else facts.last_update,
        "last_sent": {"call": note.sent, "height": note.sent_at, "valid_until": note.valid_until}
        if note.sent
        else None,
        "last_commit": note.commit.hex() or None,
        "last_error": {"text": note.error, "height": note.error_at} if note.error else None,
        "held_back": note.held_back,
        "reveals": [],
    }
    if facts is not None:
        why = {} if decided is None else {held.hash: held.why for held in decided.held_back}
        document["reveals"] = [
            {
                "commit": commit.hash.hex(),
                "block": commit.block,
                "reveal_epoch": commit.reveal_epoch,
                "opens": _opens(facts, commit.reveal_epoch),
                "closes": _opens(facts, commit.reveal_epoch + 1),
                "due": commit.due,
                "here": commit.sealed is not None,
                "held_back": why.get(commit.hash, ""),
            }
            for commit in facts.queue
            if not commit.expired
        ]
    return document


def _opens(facts: ChainFacts, epoch: int) -> int:
    """The block from which commits and reveals count in an epoch, if the schedule stays as it is."""
    if epoch <= facts.epoch:
        return facts.epoch_began
    return facts.epoch_ends + (epoch - facts.epoch - 1) * facts.tempo


def reveal_due(document: Mapping[str, Any]) -> int:
    """Of a status document: the block in which the next reveal is due; 0 when none waits."""
    return min((int(entry["opens"]) for entry in document["reveals"] if not entry["held_back"]), default=0)
