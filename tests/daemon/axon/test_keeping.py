"""The axon database of a running peer: flushed while it runs, complete only after a proper end (AXON R2, R28)."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing
from small_peer import SmallPeer
from yumad.consensus.types import AccountId, Micros
from yumad.daemon.axon.keeping import Keeping, open_keeping
from yumad.daemon.execution import InlineRunner
from yumad.storage.axon_database import axon_folder, open_axon_database
from yumad.storage.home import Home
from yumad.storage.score_rows import ScoreKey

CALLER = AccountId(b"c" * 32)
KEY = ScoreKey(7, 0, AccountId(b"v" * 32))
NOW = Micros(1_700_000_000_000_000)


def opened(home: Home, peer: SmallPeer) -> Keeping:
    return open_keeping(home, peer, InlineRunner(), lambda: NOW)


async def run_for_a_second(keeping: Keeping) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(keeping.run)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def test_r2_used_ids_reach_the_disk_while_the_peer_runs(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    keeping = opened(Home(tmp_path), SmallPeer())
    keeping.replays.seen(CALLER, bytes(16), NOW * 1000)
    await run_for_a_second(keeping)
    assert keeping.replays.pending == 0
    assert keeping.database.one("SELECT count(*) FROM replay") == (1,)
    keeping.close()


async def test_r2_r28_ids_and_scores_are_there_after_a_proper_end_and_calls_are_taken_at_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    home, peer = Home(tmp_path), SmallPeer()
    keeping = opened(home, peer)
    keeping.replays.seen(CALLER, bytes(16), NOW * 1000)
    await keeping.scores.update(KEY, {CALLER: 1.0}, ("ema", {"alpha": 0.5}), 3)
    keeping.close()
    again = opened(home, peer)
    assert again.replays.seen(CALLER, bytes(16), NOW * 1000)
    assert not again.replays.seen(CALLER, b"\1" * 16, NOW * 1000)
    assert list((await again.scores.load(KEY)).rows) == [CALLER]
    again.close()


async def test_r2_after_a_kill_calls_of_before_the_start_are_refused(tmp_path: Path) -> None:
    home, peer = Home(tmp_path), SmallPeer()
    killed = opened(home, peer)
    killed.database.close()
    again = opened(home, peer)
    assert again.replays.seen(CALLER, bytes(16), NOW * 1000)
    again.close()


def test_each_chain_has_its_own_folder(tmp_path: Path) -> None:
    peer = SmallPeer()
    opened(Home(tmp_path), peer).close()
    open_axon_database(axon_folder(Home(tmp_path), peer.genesis_hash)).close()
    assert [folder.name for folder in (tmp_path / "axon").iterdir()] == [peer.genesis_hash.hex()[:8]]
