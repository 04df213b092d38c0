"""Records of the newest epochs, kept beside the index so that a payout can be explained later (`yumad explain`).

A record is made by the rules while the epoch runs and is large; outcomes that stay in memory are stripped of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from ..consensus.chain_spec import decode_chain_spec
from ..consensus.rules.interface import BlockOutcome
from ..consensus.rules.v1.epoch_record import MAX_RECORD_BYTES, EpochRecord, decode_record, encode_record
from ..consensus.rules.v1.explanation import explain_neuron, rerun
from ..consensus.types import Height, InvalidError, MalformedError
from ..consensus.working_chain import FinalisedBlock
from ..storage.chain import ChainStore
from ..storage.index import IndexStore
from .registry import NotFoundError
from .verify import DiffersError, Progress, executed_blocks

KEPT_EPOCHS: Final = 32
"""Of each subnet, unless the peer is an archive: two days and more of the usual tempo, about 20 KB each."""

LEVEL: Final = 1
"""Of compression: the fastest halves the bytes, better ones save little more."""


def keep_epochs(index: IndexStore, blocks: Sequence[FinalisedBlock], *, archive: bool) -> None:
    """Store the records that final blocks made."""
    records = [
        (epoch.record.netuid, block.header.height, zlib.compress(encode_record(epoch.record), LEVEL))
        for block in blocks
        for epoch in block.outcome.epochs
        if isinstance(epoch.record, EpochRecord)
    ]
    if records:
        index.add_epochs(records, None if archive else KEPT_EPOCHS)


def without_records(outcome: BlockOutcome) -> BlockOutcome:
    """The outcome as it stays in memory."""
    if not outcome.epochs:
        return outcome
    return replace(outcome, epochs=tuple(replace(epoch, record=None) for epoch in outcome.epochs))


def find_record(index: IndexStore, netuid: int, at: Height | None) -> EpochRecord:
    """The record of a subnet's epoch at a height, or of its newest one. Raises NotFoundError naming those there are."""
    packed = index.epoch(netuid, at)
    if packed is None:
        heights = index.epoch_heights(netuid)
        if not heights:
            raise NotFoundError(
                f"no epoch of subnet {netuid} is on record here",
                remedy="wait for its next epoch, or stop the peer and use --replay",
            )
        raise NotFoundError(
            f"the epoch of subnet {netuid} at height {at} is not on record; the newest are at"
            f" {', '.join(map(str, heights[:8]))}",
            remedy="name one of those, or stop the peer and use --replay, which executes the stored chain again",
        )
    return read_record(packed)


def replayed_record(store: ChainStore, netuid: int, at: Height | None, progress: Progress) -> EpochRecord:
    """The record of a subnet's epoch at a height, or of its newest one, by executing the stored chain again.

    Raises NotFoundError without such an epoch, and InvalidError for a chain that does not execute.
    """
    spec = decode_chain_spec(store.spec_bytes())
    last = store.finalised().height if at is None else at
    found: EpochRecord | None = None
    try:
        for block, outcome in executed_blocks(store, spec):
            progress(block.header.height, last)
            for epoch in outcome.epochs:
                if isinstance(epoch.record, EpochRecord) and epoch.netuid == netuid:
                    found = epoch.record
            if block.header.height >= last:
                break
    except DiffersError as differs:
        raise InvalidError(
            f"the stored chain does not execute: {differs.reason}", remedy="run `yumad verify`"
        ) from None
    if found is None or at not in (None, found.height):
        raise NotFoundError(f"subnet {netuid} ran no epoch " + ("yet" if at is None else f"at height {at}"))
    return found


def read_record(packed: bytes) -> EpochRecord:
    """A stored record. Raises MalformedError for a damaged one."""
    try:
        unpacker = zlib.decompressobj()
        return decode_record(unpacker.decompress(packed, MAX_RECORD_BYTES))
    except (zlib.error, ValueError, TypeError, IndexError, KeyError) as error:
        raise MalformedError(
            f"the record of the epoch is damaged: {error}", remedy="delete index.db; new epochs are recorded again"
        ) from None


def explanation_of(record: EpochRecord, uid: int) -> dict[str, Any]:
    """Why a neuron was paid what it was paid, in plain values. Raises InvalidError, UnexplainedError."""
    return explain_neuron(rerun(record), uid)
