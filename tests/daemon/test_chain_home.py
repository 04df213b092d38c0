"""A chain in a home: made once, opened whole or not at all, and what an engine hears at its start (CHAIN 4.4, R7)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_peer import SmallPeer, small_spec
from stored_chain import AUTHORITY, alter, make_blocks, open_store, store_chain
from yumad.consensus.chain_spec import encode_chain_spec, genesis_hash
from yumad.consensus.effects import NO_FLOOR
from yumad.consensus.statement import SignedStatement, nullify
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Hash32, InvalidError, Signature, View
from yumad.daemon.chain_home import (
    LAST_VIEW,
    NoChainError,
    create_chain,
    era_context,
    finalised_ref,
    genesis_hash_of_folder,
    open_chain,
    restart_event,
    standing_point,
    the_chain_of,
    vote_floor,
)
from yumad.storage.chain import ChainStore
from yumad.storage.database import StorageError
from yumad.storage.guard import Floor, VoteGuard
from yumad.storage.home import Home

ERA = 8
"""Blocks in an era of the small chain."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallPeer, dict[int, Path]]:
    """Homes of one chain that end in the middle of an era and on a boundary."""
    peer, _ = make_blocks(ERA + 3)
    base, homes = tmp_path_factory.mktemp("made"), {}
    whole = list(peer.blocks)
    for height in (ERA, ERA + 3):
        peer.blocks = whole[:height]
        store_chain(Home(base / str(height)), peer)
        homes[height] = base / str(height)
    return peer, homes


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[VoteGuard]:
    public = AuthorityKey(AUTHORITY.public_key)
    VoteGuard.create(tmp_path / "guard.db", public)
    guard = VoteGuard.open(tmp_path / "guard.db", public)
    yield guard
    guard.close()


def store_at(made: tuple[SmallPeer, dict[int, Path]], height: int) -> ChainStore:
    return open_store(the_chain_of(Home(made[1][height])), read_only=True)


def test_making_a_chain_twice_changes_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    data = encode_chain_spec(small_spec())
    assert create_chain(home, data) == create_chain(home, data) == genesis_hash(small_spec())
    opened = open_chain(the_chain_of(home), genesis_hash(small_spec()))
    assert opened.spec == small_spec()
    assert opened.working.finalised == finalised_ref(opened.store)
    opened.store.close()


def test_spec_without_authorities_makes_no_chain(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    with pytest.raises(InvalidError) as raised:
        create_chain(home, encode_chain_spec(replace(small_spec(), authorities=())))
    assert raised.value.remedy
    assert list(home.chains.iterdir()) == []


def test_home_with_several_chains_needs_the_first_digits_of_one(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    with pytest.raises(NoChainError, match="holds no chain"):
        the_chain_of(home)
    first = create_chain(home, encode_chain_spec(small_spec()))
    other = replace(small_spec(), genesis_time=small_spec().genesis_time + 1)
    second = create_chain(home, encode_chain_spec(other))
    with pytest.raises(NoChainError, match="several chains"):
        the_chain_of(home)
    assert genesis_hash_of_folder(the_chain_of(home, first.hex())) == first
    assert genesis_hash_of_folder(the_chain_of(home, second.hex()[:8])) == second


def test_chain_with_a_damaged_state_is_not_opened_and_its_file_is_let_go(
    made: tuple[SmallPeer, dict[int, Path]], tmp_path: Path
) -> None:
    home = Home(Path(shutil.copytree(made[1][ERA], tmp_path / "home")))
    folder = the_chain_of(home)
    alter(folder.chain_database, "UPDATE chunk SET data = zeroblob(1024) WHERE key = (SELECT min(key) FROM chunk)")
    with pytest.raises(StorageError, match="damaged"):
        open_chain(folder, made[0].genesis_hash)
    shutil.rmtree(home.path)


def test_point_in_the_middle_of_an_era_is_f_with_its_certificate(made: tuple[SmallPeer, dict[int, Path]]) -> None:
    store = store_at(made, ERA + 3)
    point = standing_point(store, made[0].spec)
    assert point.context.era == 1
    assert (point.finalised.height, point.view) == (ERA + 3, 3)
    assert point.finality is not None and point.finality.statement.block_hash == point.finalised.hash
    assert point.context.opening.height == ERA
    assert era_context(store, made[0].spec) == point.context
    store.close()


def test_point_on_a_boundary_is_the_fresh_era_at_view_nought(made: tuple[SmallPeer, dict[int, Path]]) -> None:
    store = store_at(made, ERA)
    point = standing_point(store, made[0].spec)
    assert point.context.era == 1
    assert point.finalised == point.context.opening
    assert (point.view, point.finality) == (0, None)
    store.close()


@pytest.mark.parametrize(
    ("floor", "era", "expected"),
    [
        (None, 3, NO_FLOOR),
        (Floor(Era(2), View(9)), 3, NO_FLOOR),
        (Floor(Era(3), View(9)), 3, View(9)),
        (Floor(Era(4), View(1)), 3, LAST_VIEW),
    ],
)
def test_vote_floor_covers_a_whole_era_that_the_guard_has_left(floor: Floor | None, era: int, expected: View) -> None:
    assert vote_floor(floor, Era(era)) == expected


def test_follower_hears_of_f_alone(made: tuple[SmallPeer, dict[int, Path]]) -> None:
    store = store_at(made, ERA + 3)
    event = restart_event(store, made[0].spec, None)
    assert (event.certificates, event.own_statements, event.blocks) == ((), (), ())
    assert event.finalised.height == ERA + 3
    store.close()


def test_authority_hears_of_what_its_guard_holds_in_the_running_era(
    made: tuple[SmallPeer, dict[int, Path]], guard: VoteGuard
) -> None:
    store, genesis = store_at(made, ERA), made[0].genesis_hash
    own = [SignedStatement(nullify(Era(era), View(4)), 0, Signature(bytes(64))) for era in (0, 1)]
    for signed in own:
        guard.record_vote(genesis, ZERO_HASH, signed)
    event = restart_event(store, made[0].spec, guard)
    assert event.own_statements == (own[1],)
    assert event.vote_floor == NO_FLOOR
    store.close()


def test_authority_whose_chain_was_deleted_signs_nothing_below_its_guards_floor(
    made: tuple[SmallPeer, dict[int, Path]], guard: VoteGuard
) -> None:
    store, genesis = store_at(made, ERA), made[0].genesis_hash
    guard.raise_floor(genesis, Hash32(bytes(32)), Era(5), View(2))
    assert restart_event(store, made[0].spec, guard).vote_floor == LAST_VIEW
    store.close()
