"""When an epoch of a subnet is due, and which of the due ones run in a block (YUMA section 7).

Pure functions on plain scalars; the transition reads them from state, and writes the returned ones back.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ...types import U64_MAX

MAX_BLOCKS_WITHOUT_STEP: Final = 50_400
"""A subnet that has not run for longer (a week of 12 s blocks) is due whatever its tempo says."""


class SubnetSchedule(NamedTuple):
    """Scheduling scalars of one subnet, as stored."""

    netuid: int
    """u16; root (0) has no epochs and is left out by the caller."""

    tempo: int
    """u16 blocks between epochs; 0 switches them off."""

    last_epoch_block: int
    """Height the period is counted from."""

    pending_epoch_at: int
    """Height from which an epoch is owed whatever the period says; 0 for none."""

    blocks_since_last_step: int
    """Blocks since an epoch last ran; saturating u64."""

    epoch_index: int
    """Number of slots that have fired."""


@dataclass(frozen=True, slots=True)
class SlotOutcome:
    """What one block's slot processing decides."""

    schedules: tuple[SubnetSchedule, ...]
    """The given subnets in the given order, with the scalars to store."""

    fired: tuple[int, ...]
    """Netuids whose slot fired, in visiting order; scheduled child keys change for these (YUMA 7.1, step 7)."""

    drained: tuple[int, ...]
    """Netuids whose pools are drained and whose epoch runs in this block, ascending."""

    deferred: tuple[int, ...]
    """Netuids put off to the next block because the block's epochs are used up."""


def due(schedule: SubnetSchedule, block: int) -> bool:
    """Whether an epoch is due at this height (YUMA 7.2)."""
    if schedule.tempo == 0:
        return False
    if 0 < schedule.pending_epoch_at <= block:
        return True
    if schedule.blocks_since_last_step > MAX_BLOCKS_WITHOUT_STEP:
        return True
    return max(block - schedule.last_epoch_block, 0) >= schedule.tempo


def epoch_index_lookahead(schedule: SubnetSchedule, block: int) -> int:
    """EPI (YUMA 7.4): the index commits count in. One ahead while the subnet is due or deferred."""
    return min(schedule.epoch_index + due(schedule, block), U64_MAX)


def first_last_epoch_block(netuid: int, tempo: int, block: int) -> int:
    """`LastEpochBlock` of a new subnet: staggers subnets created together (YUMA 7.2)."""
    return max(block - netuid % max(tempo, 1), 0)


def blocks_until_automatic_epoch(schedule: SubnetSchedule, block: int) -> int:
    """Blocks until the period ends by itself; 0 when it already has. Meaningless for tempo 0."""
    return max(schedule.last_epoch_block + schedule.tempo - block, 0)


def freeze_window_closed(schedule: SubnetSchedule, block: int, window: int) -> bool:
    """Whether owner and admin calls are shut out just before an epoch (YUMA 7.5); `window` is AdminFreezeWindow."""
    if schedule.tempo == 0:
        return False
    return schedule.pending_epoch_at > block or blocks_until_automatic_epoch(schedule, block) < window


def process_slots(
    schedules: Sequence[SubnetSchedule],
    block: int,
    max_epochs_per_block: int,
    with_duplicate_hotkeys: Collection[int] = (),
) -> SlotOutcome:
    """Decide for every subnet of a block, in ascending netuid order (YUMA 7.3; DESIGN 7 sets the order).

    `with_duplicate_hotkeys` names the netuids in which a hotkey occurs twice; their slot fires, but no epoch runs and
    the pools are kept. After its epoch has run, the caller sets a drained subnet's `last_step = block`.
    """
    after: list[SubnetSchedule] = []
    fired: list[int] = []
    drained: list[int] = []
    deferred: list[int] = []
    for stored in sorted(schedules, key=lambda schedule: schedule.netuid):
        schedule = stored._replace(blocks_since_last_step=min(stored.blocks_since_last_step + 1, U64_MAX))
        if due(schedule, block):
            if len(drained) >= max_epochs_per_block:
                schedule = schedule._replace(pending_epoch_at=block + 1)
                deferred.append(schedule.netuid)
            else:
                if schedule.netuid not in with_duplicate_hotkeys:
                    schedule = schedule._replace(blocks_since_last_step=0)
                    drained.append(schedule.netuid)
                index = min(schedule.epoch_index + 1, U64_MAX)
                schedule = schedule._replace(last_epoch_block=block, pending_epoch_at=0, epoch_index=index)
                fired.append(schedule.netuid)
        after.append(schedule)
    return SlotOutcome(tuple(after), tuple(fired), tuple(drained), tuple(deferred))
