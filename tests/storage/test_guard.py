"""The vote guard: no conflicting statement is ever stored, whatever happens in between (CHAIN 1.3, R7-R11)."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from yumad.consensus.evidence import is_offence
from yumad.consensus.statement import Kind
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Hash32, Height, Micros, View
from yumad.storage.database import StorageError
from yumad.storage.guard import Floor, GuardRefusal, VoteGuard

PUBLIC = AuthorityKey(b"\x05" * 32)
GENESIS = Hash32(b"\x11" * 32)
DOMAIN = (GENESIS, ZERO_HASH)
OTHER_RESTART = (GENESIS, Hash32(b"\x33" * 32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    VoteGuard.create(tmp_path / "guard.db", PUBLIC)
    return tmp_path / "guard.db"


def test_guard_made_with_its_key_is_born_none_and_empty(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    assert guard.born is None
    assert guard.floor(*DOMAIN) is None
    contents = guard.load(*DOMAIN, Era(0))
    assert contents.certificates == contents.own_statements == contents.blocks == ()


def test_guard_made_after_a_loss_is_born_then(tmp_path):
    VoteGuard.recreate_after_loss(tmp_path / "guard.db", PUBLIC, Micros(1_700_000_000_000_000))
    assert VoteGuard.open(tmp_path / "guard.db", PUBLIC).born == 1_700_000_000_000_000


def test_guard_of_another_key_is_refused(path):
    with pytest.raises(StorageError, match="another authority key"):
        VoteGuard.open(path, AuthorityKey(bytes(32)))


def test_votes_certificates_and_blocks_survive_reopening(path, make):
    block = make.block(1)
    statements = [
        make.signed(Kind.NOTARIZE, 1, block.hash),
        make.signed(Kind.FINALIZE, 1, block.hash),
        make.signed(Kind.NULLIFY, 2),
    ]
    certificates = [make.certificate(Kind.NOTARIZE, 0, 1, block.hash), make.certificate(Kind.NULLIFY, 0, 2, ZERO_HASH)]
    guard = VoteGuard.open(path, PUBLIC)
    guard.record_vote(*DOMAIN, statements[0], block)
    for statement in statements[1:]:
        guard.record_vote(*DOMAIN, statement)
    for certificate in certificates:
        guard.store_certificate(*DOMAIN, certificate)
    guard.close()
    guard = VoteGuard.open(path, PUBLIC)
    contents = guard.load(*DOMAIN, Era(0))
    assert contents.own_statements == tuple(statements)
    assert contents.certificates == tuple(certificates)
    assert contents.blocks == (block,)
    assert guard.block(GENESIS, block.hash) == block
    assert guard.block(GENESIS, ZERO_HASH) is None
    assert guard.load(*DOMAIN, Era(1)).own_statements == ()
    assert guard.load(*OTHER_RESTART, Era(0)).own_statements == ()


def test_identical_bytes_may_be_recorded_again_also_below_the_floor(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    block = make.block(1)
    guard.record_vote(*DOMAIN, make.signed(Kind.NOTARIZE, 1, block.hash), block)
    guard.record_vote(*DOMAIN, make.signed(Kind.NOTARIZE, 1, block.hash), block)
    finalize = make.signed(Kind.FINALIZE, 1, block.hash)
    guard.record_vote(*DOMAIN, finalize)
    guard.raise_floor(*DOMAIN, Era(0), View(1), finalised_height=Height(1))
    guard.record_vote(*DOMAIN, finalize)
    assert guard.load(*DOMAIN, Era(0)).own_statements == (finalize,)


@pytest.mark.parametrize(
    ("first", "second"),
    [(Kind.NOTARIZE, Kind.NOTARIZE), (Kind.FINALIZE, Kind.FINALIZE), (Kind.PROPOSE, Kind.PROPOSE)],
)
def test_second_block_in_one_view_is_refused(path, make, first, second):
    guard = VoteGuard.open(path, PUBLIC)
    one, other = make.block(1), make.block(1, salt=1)
    guard.record_vote(*DOMAIN, make.signed(first, 3, one.hash), one)
    with pytest.raises(GuardRefusal, match="view 3"):
        guard.record_vote(*DOMAIN, make.signed(second, 3, other.hash), other)
    assert guard.load(*DOMAIN, Era(0)).blocks == (one,)  # nothing of the refused statement stays


@pytest.mark.parametrize("nullify_first", [True, False])
def test_nullify_and_finalize_exclude_each_other(path, make, nullify_first):
    guard = VoteGuard.open(path, PUBLIC)
    pair = [make.signed(Kind.NULLIFY, 3), make.signed(Kind.FINALIZE, 3, make.block(1).hash)]
    first, second = pair if nullify_first else pair[::-1]
    guard.record_vote(*DOMAIN, first)
    with pytest.raises(GuardRefusal):
        guard.record_vote(*DOMAIN, second)


def test_legal_pairs_are_stored(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    one, other = make.block(1), make.block(1, salt=1)
    guard.record_vote(*DOMAIN, make.signed(Kind.NOTARIZE, 1, one.hash), one)
    guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 1))
    guard.record_vote(*DOMAIN, make.signed(Kind.NOTARIZE, 2, one.hash), one)
    guard.record_vote(*DOMAIN, make.signed(Kind.FINALIZE, 2, other.hash))


def test_same_view_of_another_restart_or_era_is_free(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 1))
    guard.raise_floor(*DOMAIN, Era(0), View(9))
    guard.record_vote(*OTHER_RESTART, make.signed(Kind.FINALIZE, 1, make.block(1).hash))
    guard.record_vote(*DOMAIN, make.signed(Kind.FINALIZE, 1, make.block(30).hash, era=1))


@pytest.mark.parametrize("kind", [Kind.PROPOSE, Kind.NOTARIZE])
def test_vote_for_a_block_without_its_body_is_refused(path, make, kind):
    guard = VoteGuard.open(path, PUBLIC)
    block = make.block(1)
    with pytest.raises(GuardRefusal, match="body"):
        guard.record_vote(*DOMAIN, make.signed(kind, 1, block.hash))
    with pytest.raises(GuardRefusal, match="another block"):
        guard.record_vote(*DOMAIN, make.signed(kind, 1, block.hash), make.block(2))
    guard.store_block(GENESIS, block)  # an earlier flush is as good
    guard.record_vote(*DOMAIN, make.signed(kind, 1, block.hash))


def test_floor_refuses_everything_new_at_or_below_and_never_sinks(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    guard.raise_floor(*DOMAIN, Era(2), View(5))
    guard.raise_floor(*DOMAIN, Era(2), View(3))
    guard.raise_floor(*DOMAIN, Era(1), View(90))
    assert guard.floor(*DOMAIN) == Floor(Era(2), View(5))
    for era, view in ((0, 1), (1, 1000), (2, 5)):
        with pytest.raises(GuardRefusal, match="floor"):
            guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, view, era=era))
    guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 6, era=2))


def test_raise_floor_prunes_and_keeps_the_last_eight_finalize_votes(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    blocks = [make.block(height) for height in range(1, 16)]
    for view, block in enumerate(blocks, start=1):
        guard.record_vote(*DOMAIN, make.signed(Kind.NOTARIZE, view, block.hash), block)
        guard.record_vote(*DOMAIN, make.signed(Kind.FINALIZE, view, block.hash))
        guard.store_certificate(*DOMAIN, make.certificate(Kind.NOTARIZE, 0, view, block.hash))
        guard.store_certificate(*DOMAIN, make.certificate(Kind.FINALIZE, 0, view, block.hash))
    guard.raise_floor(*DOMAIN, Era(0), View(12), finalised_height=Height(12))
    contents = guard.load(*DOMAIN, Era(0))
    kept = [(own.statement.kind, own.statement.view) for own in contents.own_statements]
    above = [(kind, view) for view in (13, 14, 15) for kind in (Kind.NOTARIZE, Kind.FINALIZE)]
    assert kept == [(Kind.FINALIZE, view) for view in range(5, 13)] + above
    assert {certificate.statement.view for certificate in contents.certificates} == {13, 14, 15}
    assert contents.blocks == tuple(blocks[12:])


def test_raise_floor_finds_the_finalised_height_by_its_own_certificate(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    blocks = [make.block(height) for height in (1, 2, 3)]
    for block in blocks:
        guard.store_block(GENESIS, block)
    guard.store_block(GENESIS, make.block(2, salt=7))  # a sibling that lost
    guard.store_certificate(*DOMAIN, make.certificate(Kind.FINALIZE, 0, 5, blocks[1].hash))
    guard.raise_floor(*DOMAIN, Era(0), View(5))
    assert guard.load(*DOMAIN, Era(0)).blocks == (blocks[2],)


def test_certificates_at_or_below_the_floor_are_not_kept_and_the_first_of_a_kind_stays(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    guard.raise_floor(*DOMAIN, Era(0), View(4))
    first = make.certificate(Kind.NULLIFY, 0, 5, ZERO_HASH)
    for view in (3, 4):
        guard.store_certificate(*DOMAIN, make.certificate(Kind.NULLIFY, 0, view, ZERO_HASH))
    guard.store_certificate(*DOMAIN, first)
    guard.store_certificate(*DOMAIN, first)
    assert guard.load(*DOMAIN, Era(0)).certificates == (first,)


def test_batch_shares_one_flush_and_is_dropped_whole_when_it_raises(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    with guard.batch():
        guard.store_certificate(*DOMAIN, make.certificate(Kind.NULLIFY, 0, 1, ZERO_HASH))
        guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 2))
        with pytest.raises(GuardRefusal):  # caught inside: the rest of the batch is untouched
            guard.record_vote(*DOMAIN, make.signed(Kind.FINALIZE, 2, make.block(1).hash))
    with pytest.raises(KeyboardInterrupt):
        _vote_in_a_batch_that_fails(guard, make.signed(Kind.NULLIFY, 3))
    contents = guard.load(*DOMAIN, Era(0))
    assert [own.statement.view for own in contents.own_statements] == [2]
    assert len(contents.certificates) == 1


def test_second_signer_is_proven_only_by_unknown_statements_above_the_floor_in_this_era(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    own = make.signed(Kind.NULLIFY, 6)
    guard.record_vote(*DOMAIN, own)
    guard.raise_floor(*DOMAIN, Era(0), View(5))
    now = Micros(5_000_000)
    assert not guard.record_second_signer(*DOMAIN, Era(0), own, now)
    assert not guard.record_second_signer(*DOMAIN, Era(0), make.signed(Kind.NULLIFY, 5), now)  # pruned, was genuine
    assert not guard.record_second_signer(*DOMAIN, Era(0), make.signed(Kind.NULLIFY, 7, era=1), now)
    assert guard.born is None
    foreign = make.signed(Kind.FINALIZE, 8, make.block(1).hash)
    assert guard.record_second_signer(*DOMAIN, Era(0), foreign, now)
    assert guard.born == now
    assert guard.second_signer_statements(*DOMAIN) == (foreign,)
    huge = make.signed(Kind.NULLIFY, (1 << 64) - 1)
    assert guard.record_second_signer(*DOMAIN, Era(0), huge, Micros(6_000_000))
    assert guard.born == 6_000_000


def test_full_disk_stops_every_later_vote(path, make):
    guard = VoteGuard.open(path, PUBLIC)
    guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 1))
    writer = guard._database._writer
    writer.execute(f"PRAGMA max_page_count = {writer.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(StorageError, match="the disk is full"):
        _vote_for_blocks(guard, make, 200)
    writer.execute("PRAGMA max_page_count = 100000")
    with pytest.raises(StorageError, match="the disk is full"):  # space came back, the process still may not vote
        guard.record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 900))
    guard.close()
    VoteGuard.open(path, PUBLIC).record_vote(*DOMAIN, make.signed(Kind.NULLIFY, 900))


def _vote_in_a_batch_that_fails(guard: VoteGuard, own) -> None:
    with guard.batch():
        guard.record_vote(*DOMAIN, own)
        raise KeyboardInterrupt


def _vote_for_blocks(guard: VoteGuard, make, count: int) -> None:
    for height in range(1, count):
        block = make.block(height)
        guard.record_vote(*DOMAIN, make.signed(Kind.NOTARIZE, height + 1, block.hash), block)


class GuardMachine(RuleBasedStateMachine):
    """Any sequence of attempts, floors, batches that fail, and reopenings: what is accepted never conflicts."""

    views = st.integers(1, 4)
    blocks = st.integers(0, 2)

    @initialize()
    def start(self) -> None:
        from yumad.consensus.block import EMPTY_BODY, Block
        from yumad.consensus.header import Header
        from yumad.consensus.types import Slot

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "guard.db"
        VoteGuard.create(self.path, PUBLIC)
        self.guard = VoteGuard.open(self.path, PUBLIC)
        self.bodies = [
            Block(Header(1, Height(1), Era(0), Slot(n), GENESIS, 0, *[ZERO_HASH] * 6, 1), EMPTY_BODY) for n in range(3)
        ]
        self.accepted: list = []
        self.floor = (0, 0)

    def _attempt(self, kind: Kind, era: int, view: int, block: int, parent: int):
        from yumad.consensus.statement import SignedStatement, Statement
        from yumad.consensus.types import Signature

        body = None if kind is Kind.NULLIFY else self.bodies[block]
        statement = Statement(
            kind,
            Era(era),
            View(view),
            View(0 if body is None else min(parent, view - 1)),
            ZERO_HASH if body is None else body.hash,
        )
        return SignedStatement(statement, 0, Signature(bytes([kind, era, view, block]) * 16)), body

    @rule(kind=st.sampled_from(list(Kind)), era=st.integers(0, 1), view=views, block=blocks, parent=st.integers(0, 3))
    def vote(self, kind, era, view, block, parent) -> None:
        signed, body = self._attempt(kind, era, view, block, parent)
        try:
            self.guard.record_vote(*DOMAIN, signed, body)
        except GuardRefusal:
            return
        if signed not in self.accepted:
            assert (era, view) > self.floor
            self.accepted.append(signed)

    @rule(kind=st.sampled_from(list(Kind)), era=st.integers(0, 1), view=views, block=blocks)
    def vote_in_a_batch_that_fails(self, kind, era, view, block) -> None:
        signed, body = self._attempt(kind, era, view, block, 0)
        try:
            with self.guard.batch():
                self.guard.record_vote(*DOMAIN, signed, body)
                raise KeyboardInterrupt
        except (KeyboardInterrupt, GuardRefusal):
            pass

    @rule(era=st.integers(0, 1), view=st.integers(0, 4))
    def finalise(self, era, view) -> None:
        self.guard.raise_floor(*DOMAIN, Era(era), View(view))
        self.floor = max(self.floor, (era, view))

    @rule()
    def reopen(self) -> None:
        self.guard.close()
        self.guard = VoteGuard.open(self.path, PUBLIC)

    @invariant()
    @precondition(lambda self: hasattr(self, "accepted"))
    def nothing_accepted_is_an_offence(self) -> None:
        for one, other in combinations(self.accepted, 2):
            assert not is_offence(one, other)
            assert not (one.statement == other.statement and one != other)

    @invariant()
    @precondition(lambda self: hasattr(self, "accepted"))
    def everything_accepted_above_the_floor_is_stored_with_its_body(self) -> None:
        for era in (0, 1):
            contents = self.guard.load(*DOMAIN, Era(era))
            for own in self.accepted:
                place = (own.statement.era, own.statement.view)
                if own.statement.era == era and place > self.floor:
                    assert own in contents.own_statements
                    if own.statement.kind in (Kind.PROPOSE, Kind.NOTARIZE):
                        assert own.statement.block_hash in [block.hash for block in contents.blocks]

    def teardown(self) -> None:
        if hasattr(self, "guard"):
            self.guard.close()
            self.folder.cleanup()


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_kill_minus_nine_never_loses_a_vote_that_left_or_stores_a_conflict(tmp_path, make):
    path = tmp_path / "guard.db"
    VoteGuard.create(path, PUBLIC)
    chance = random.Random(9)
    left: dict[tuple[int, int], bytes] = {}
    for round_number in range(40):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            _vote_until_killed(path, make, round_number, write_end)
        os.close(write_end)
        records = b""
        while len(records) < 40 * chance.randrange(1, 20):
            records += os.read(read_end, 40)
        time.sleep(chance.uniform(0, 0.004))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(read_end, "rb") as sent:
            records += sent.read()
        for at in range(0, len(records) // 40 * 40, 40):  # whole records only: a torn write did not leave
            kind, view = records[at], int.from_bytes(records[at + 1 : at + 8], "big")
            content = records[at + 8 : at + 40]
            assert left.setdefault((kind, view), content) == content
        guard = VoteGuard.open(path, PUBLIC)
        floor = guard.floor(*DOMAIN)
        contents = guard.load(*DOMAIN, Era(0))
        stored = {(own.statement.kind, own.statement.view): own.statement.block_hash for own in contents.own_statements}
        bodies = [block.hash for block in contents.blocks]
        for (kind, view), block_hash in left.items():
            if floor is None or view > floor.view:
                assert stored[kind, view] == block_hash
                assert kind != Kind.NOTARIZE or block_hash in bodies
        guard._database.close()
    assert len(left) > 100


def _vote_until_killed(path: Path, make, salt: int, send: int) -> None:
    """The child: vote on, each round for other blocks; a byte record leaves only after the guard has flushed."""
    try:
        guard = VoteGuard.open(path, PUBLIC)
        contents, floor = guard.load(*DOMAIN, Era(0)), guard.floor(*DOMAIN)
        views = [own.statement.view for own in contents.own_statements]
        view = max([1, *views, 0 if floor is None else floor.view])
        while True:
            block = make.block(view, salt=salt)
            for kind in (Kind.NOTARIZE, Kind.FINALIZE):
                own = make.signed(kind, view, block.hash)
                try:
                    guard.record_vote(*DOMAIN, own, block if kind is Kind.NOTARIZE else None)
                except GuardRefusal:
                    continue
                os.write(send, bytes([kind]) + view.to_bytes(7, "big") + block.hash)
            if view % 10 == 0:
                guard.raise_floor(*DOMAIN, Era(0), View(view - 3), finalised_height=Height(view - 3))
            view += 1
    finally:
        os._exit(1)
