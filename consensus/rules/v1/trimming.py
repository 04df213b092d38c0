"""Trimming a subnet to fewer neurons (YUMA 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .errors import CallError, ErrorCode
from .neurons import hotkey_of, immortal_uids, neuron_array
from .registration import forget_serving
from .schema import MAX_PAIRS, NEURON_STRIDE, NEURONS, mechanism_columns
from .subnets import neuron_count, parameter

if TYPE_CHECKING:
    from ...state.state import State

MAX_PROTECTED_PERCENT: Final = 80
"""At this rounded-down share of protected neurons a trimming is refused."""


def trim_neurons(state: State, netuid: int, most: int, height: int) -> int:
    """Keep `most` neurons, the best paid and the protected ones; gives how many there are. Raises CallError."""
    lowest, highest = (parameter(state, netuid, f"{which}_allowed_uids") for which in ("min", "max"))
    if not lowest <= most <= highest or most == 0:
        raise CallError(ErrorCode.ValueNotInBounds)
    if neuron_count(state, netuid) > most:
        _remove_worst(state, netuid, most, height)
    state.write("subnets/max_allowed_uids", netuid, most)
    return neuron_count(state, netuid)


def _remove_worst(state: State, netuid: int, most: int, height: int) -> None:
    """From the least paid on, of equals the highest uid first; fewer than 80 % protected leave enough to remove."""
    protected = _protected(state, netuid, height)
    if len(protected) * 100 // most >= MAX_PROTECTED_PERCENT:
        raise CallError(ErrorCode.TrimmingWouldExceedMaxImmunePercentage)
    count = neuron_count(state, netuid)
    emission = neuron_array(state, netuid, "emission").tolist()
    ranked = sorted(range(count), key=lambda uid: -emission[uid])
    removed = [uid for uid in reversed(ranked) if uid not in protected][: count - most]
    for uid in removed:
        forget_serving(state, netuid, hotkey_of(state, netuid, uid))
    _compress(state, netuid, [uid for uid in range(count) if uid not in removed])


def _protected(state: State, netuid: int, height: int) -> list[int]:
    """Neurons of the owner that are never replaced, and those still immune."""
    immunity = parameter(state, netuid, "immunity_period")
    registered = neuron_array(state, netuid, "registered_at").tolist()
    immortal = immortal_uids(state, netuid)
    return [uid for uid, at in enumerate(registered) if uid in immortal or height - at < immunity]


def _compress(state: State, netuid: int, kept: list[int]) -> None:
    """Move the kept neurons to the lowest uids in their order, and name them so in every weight and bond row."""
    count, first = neuron_count(state, netuid), netuid * NEURON_STRIDE
    for spec in NEURONS:
        values = state.array(spec.name)[[first + uid for uid in kept]].copy()
        state.write(spec.name, slice(first, first + count), 0)
        state.write(spec.name, slice(first, first + len(kept)), values)
    for mechanism in range(parameter(state, netuid, "mechanism_count")):
        for spec in mechanism_columns(netuid, mechanism):
            values = state.array(spec.name)[kept].copy()
            state.resize(spec.name, len(kept))
            state.write(spec.name, slice(0, len(kept)), values)
        for kind in ("weight", "bond"):
            _rename_targets(state, f"sn/{netuid}/{mechanism}", kind, kept)
    state.write("subnets/neurons", netuid, len(kept))


def _rename_targets(state: State, prefix: str, kind: str, kept: list[int]) -> None:
    """Rows with the new uids; pairs that name a removed neuron are gone. All rows at once: there may be 256 of 256."""
    renamed = np.full(NEURON_STRIDE, -1, dtype=np.int64)
    renamed[kept] = np.arange(len(kept))
    counts, pairs = state.array(f"{prefix}/{kind}_count"), state.array(f"{prefix}/{kind}s")
    named = renamed[pairs[:, :, 0]]
    stays = (np.arange(MAX_PAIRS) < counts[:, None]) & (named >= 0)
    place = stays.cumsum(axis=1) - 1
    rows = np.zeros(pairs.shape, dtype="<u2")
    source, at = np.nonzero(stays)
    rows[source, place[source, at], 0] = named[source, at]
    rows[source, place[source, at], 1] = pairs[source, at, 1]
    state.write(f"{prefix}/{kind}s", slice(0, len(rows)), rows)
    state.write(f"{prefix}/{kind}_count", slice(0, len(rows)), stays.sum(axis=1))
