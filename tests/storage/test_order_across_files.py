"""R7's order over guard and chain database: a crash between any two steps loses nothing and forks nothing.

A child plays an authority: body and votes, certificates, chain database, floor. It kills itself after a given step; the
parent looks at both files as the next start would, and finishes what the crash interrupted from what they hold.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from yumad.consensus.block import Block, decode_body
from yumad.consensus.statement import Kind
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Height, View
from yumad.storage.chain import ChainStore
from yumad.storage.guard import Floor, VoteGuard

PUBLIC = AuthorityKey(b"\x05" * 32)

STEPS = (
    "body_and_notarize",
    "notarization",
    "finalize",
    "finalization",
    "chain",
    "floor",
)


class AuthorityModel:
    """One authority of a chain with n = 1: every block takes one view and all of R7's steps, in order."""

    def __init__(self, folder: Path, make) -> None:
        self.make = make
        self.factory = make.factory(rows=400)
        self.store = ChainStore.open(folder / "chain.db", make.genesis)
        self.guard = VoteGuard.open(folder / "guard.db", PUBLIC)
        while self.factory.height < self.store.finalised().height:
            self.factory.block()
        self.made = None

    def next_block(self) -> None:
        self.made = self.factory.block()

    @property
    def place(self) -> tuple[Era, View]:
        return self.made.header.era, self.factory.view_of(self.made)

    def step(self, name: str) -> None:
        domain = (self.make.genesis, ZERO_HASH)
        (era, view), made = self.place, self.made
        body = Block(made.header, decode_body(made.body))
        if name == "body_and_notarize":
            vote = self.make.signed(Kind.NOTARIZE, view, made.hash, era=era)
            self.guard.record_vote(*domain, vote, body)
        elif name == "notarization":
            self.guard.store_certificate(*domain, self.make.certificate(Kind.NOTARIZE, era, view, made.hash))
        elif name == "finalize":
            self.guard.record_vote(*domain, self.make.signed(Kind.FINALIZE, view, made.hash, era=era))
        elif name == "finalization":
            self.guard.store_certificate(*domain, self.factory.certificate(made))
        elif name == "chain":
            self.store.finalise([made], self.factory.certificate(made), view)
        elif name == "floor":
            self.guard.raise_floor(*domain, era, view, finalised_height=made.header.height)

    def check_and_recover(self) -> None:
        """What a start does: R7, feed stored certificates back; first assert that the files allow it."""
        point, domain = self.store.finalised(), (self.make.genesis, ZERO_HASH)
        assert point.height == 0 or point.certificate.statement.block_hash == point.hash
        floor = self.guard.floor(*domain)
        reached = (point.era, point.view)
        assert floor is None or (floor.era, floor.view) <= reached  # the chain may lag the guard, never its floor
        era = Era(point.height // self.make.era_blocks)
        for asked in {era, point.era}:
            contents = self.guard.load(*domain, asked)
            held = {block.hash for block in contents.blocks}
            for own in contents.own_statements:
                if own.statement.kind is Kind.NOTARIZE and (asked, own.statement.view) > reached:
                    assert own.statement.block_hash in held
            above = [c for c in contents.certificates if (c.statement.era, c.statement.view) > reached]
            for certificate in above:
                if certificate.kind is Kind.FINALIZE:
                    self.next_block()
                    assert self.made.hash == certificate.statement.block_hash
                    assert certificate.statement.block_hash in held
                    self.step("chain")
                    self.step("floor")
        point = self.store.finalised()
        assert self.store.load_state().root() == self.store.state_root()
        self.guard.raise_floor(*domain, point.era, point.view, finalised_height=point.height)


@pytest.fixture
def folder(tmp_path: Path, make) -> Path:
    make.factory(rows=400).create(tmp_path / "chain.db")
    VoteGuard.create(tmp_path / "guard.db", PUBLIC)
    return tmp_path


def _in_killed_child(action: Callable[[], None]) -> None:
    """Run `action` in a child that kills itself with -9 right after it."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


@pytest.mark.parametrize("height", [1, 2, 20, 21], ids=["first", "second", "boundary", "after_boundary"])
@pytest.mark.parametrize("last_step", range(len(STEPS)), ids=STEPS)
def test_crash_after_each_step_leaves_both_files_recoverable(folder, make, height, last_step):
    def live_and_die() -> None:
        authority = AuthorityModel(folder, make)
        for _ in range(height - 1):
            authority.next_block()
            for step in STEPS:
                authority.step(step)
        authority.next_block()
        for step in STEPS[: last_step + 1]:
            authority.step(step)

    _in_killed_child(live_and_die)
    authority = AuthorityModel(folder, make)
    before = authority.store.finalised().height
    assert before == (height if STEPS[last_step] in ("chain", "floor") else height - 1)
    authority.check_and_recover()
    finalised = height if last_step >= STEPS.index("finalization") else height - 1
    assert authority.store.finalised().height == finalised
    point = authority.store.finalised()
    if finalised:
        assert authority.guard.floor(make.genesis, ZERO_HASH) == Floor(point.era, point.view)
    if finalised < height:  # voted, not final: the same vote may be sent again, another block may not be voted for
        authority.next_block()
        era, view = authority.place
        other = make.block(height, salt=99)
        authority.step("body_and_notarize")
        with pytest.raises(Exception, match="another notarize is signed already"):
            authority.guard.record_vote(
                make.genesis, ZERO_HASH, make.signed(Kind.NOTARIZE, view, other.hash, era=era), other
            )
    for step in STEPS[4:] if finalised < height else ():
        authority.step(step)
    assert authority.store.finalised().height == height


def test_forty_kills_at_any_moment_never_tear_the_two_files_apart(folder, make):
    def live(progress: int) -> None:
        authority = AuthorityModel(folder, make)
        authority.check_and_recover()
        while True:
            os.write(progress, b".")
            authority.next_block()
            for step in STEPS:
                authority.step(step)

    chance, reached = random.Random(11), 0
    for _ in range(40):
        _kill_while_running(live, blocks=chance.randrange(1, 5), then=chance.uniform(0, 0.012))
        authority = AuthorityModel(folder, make)
        authority.check_and_recover()
        height = authority.store.finalised().height
        assert height >= reached
        assert [h.height for h in authority.store.headers(Height(1), 512)] == list(range(1, height + 1))[:512]
        reached = height
        authority.store._database.close()
        authority.guard._database.close()
    assert reached > 40


def _kill_while_running(live: Callable[[int], None], blocks: int, then: float) -> None:
    """Start `live` in a child, wait until it reports `blocks` times, then a moment more, and kill it."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(write_end)
        finally:
            os._exit(3)
    os.close(write_end)
    for _ in range(blocks):
        assert os.read(read_end, 1) == b".", "the child ended by itself: its own checks failed"
    time.sleep(then)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(read_end)
    assert os.WIFSIGNALED(status), "the child ended by itself: its own checks failed"
