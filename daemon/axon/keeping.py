"""What a peer keeps for its calls and validators, opened and run together: used request ids, scores, weights (AXON R2,
R28, R29).

`open_keeping` after the chain, `run` beside the peer, `close` when it has ended: only then the store of request ids
counts as complete. After a kill it does not, and the first moments refuse what may have been used (replay_ids.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ...consensus.types import Micros
from ...storage.axon_database import axon_folder, open_axon_database
from ...storage.database import Database
from ...storage.home import Home
from ...storage.replay_ids import FLUSH_SECONDS, PersistentReplayStore
from ...storage.score_rows import ScoreRows
from ...storage.sealed_weights import WeightsFolder
from ...storage.weight_notes import WeightNotes
from ..execution import Runner
from ..peer_view import PeerView
from .scores import ScoreKeeper
from .weight_scheduler import WeightScheduler
from .weight_transactions import submit_through

if TYPE_CHECKING:
    from trio_typing import TaskStatus


@dataclass(frozen=True, slots=True)
class Keeping:
    """See the module text. Give `scheduler.block_final` to the peer's `on_final`."""

    database: Database
    replays: PersistentReplayStore
    scores: ScoreKeeper
    scheduler: WeightScheduler
    runner: Runner

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Flush request ids and look after weights, until cancelled. Raises StorageError when the disk refuses."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.scheduler.run)
            task_status.started()
            while True:
                await trio.sleep(FLUSH_SECONDS)
                if self.replays.pending:
                    await self.runner.run(self.replays.flush)

    def close(self) -> None:
        """Flush what is left and close the file. Raises StorageError."""
        try:
            self.replays.close()
        finally:
            self.database.close()


def open_keeping(home: Home, peer: PeerView, runner: Runner, now: Callable[[], Micros]) -> Keeping:
    """Open the database of the peer's chain, made at the first start. Raises StorageError.

    `runner` runs what touches the disk; `now` is Unix time in microseconds.
    """
    database = open_axon_database(axon_folder(home, peer.genesis_hash))
    try:
        replays = PersistentReplayStore(database, now_ns=lambda: now() * 1000)
    except BaseException:
        database.close()
        raise
    scores = ScoreKeeper(ScoreRows(database), runner, now)
    scheduler = WeightScheduler(
        peer,
        WeightsFolder(home.sealed_weights(peer.genesis_hash)),
        WeightNotes(database),
        scores,
        submit_through(peer),
        runner,
    )
    return Keeping(database, replays, scores, scheduler, runner)
