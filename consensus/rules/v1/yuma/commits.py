"""The oldest live weight commit of each uid (YUMA 3.5.1)."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ....types import U64_MAX


def commit_blocks(
    count: int,
    hash_commits: Iterable[tuple[int, Sequence[tuple[int, int]]]],
    timelocked_commits: Iterable[tuple[int, Sequence[tuple[int, int]]]],
    epoch_index: int,
    reveal_period: int,
) -> NDArray[np.uint64]:
    """`cb`, shape (count,): block of the commit that shields a target registered after it; u64 MAX when there is none.

    `hash_commits`: (uid, its queue of (commit epoch, commit block)); of each queue only the first live commit counts.
    `timelocked_commits`: (commit epoch, its bucket of (uid, commit block)); every entry of a live bucket counts.
    `epoch_index` is EPI with look-ahead (YUMA 7.4). Hotkeys outside the subnet have no uid and are left out by the
    caller; uids outside 0..count-1 are ignored.
    """
    blocks = np.full(count, U64_MAX, dtype=np.uint64)

    def is_live(commit_epoch: int) -> bool:
        return epoch_index <= commit_epoch + reveal_period

    def shield(uid: int, block: int) -> None:
        if 0 <= uid < count:
            blocks[uid] = min(int(blocks[uid]), block)

    for uid, queue in hash_commits:
        first_live = next((block for commit_epoch, block in queue if is_live(commit_epoch)), None)
        if first_live is not None:
            shield(uid, first_live)
    for commit_epoch, bucket in timelocked_commits:
        if is_live(commit_epoch):
            for uid, block in bucket:
                shield(uid, block)
    return blocks
