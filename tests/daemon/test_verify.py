"""`yumad verify` re-executes a stored chain and names the first thing that is not as it must be."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from small_peer import SmallPeer
from stored_chain import alter, certificate_for, make_blocks, open_store, store_chain
from typer.testing import CliRunner
from yumad.consensus.block import encode_body
from yumad.consensus.certificate import encode_certificate
from yumad.consensus.header import encode_header
from yumad.daemon.chain_home import the_chain_of
from yumad.daemon.commands import verify as verify_command
from yumad.daemon.verify import VerifyReport, verify_chain
from yumad.storage.home import ChainFolder, Home

BLOCKS = 18
"""Two eras of eight and two blocks of a third."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallPeer, Path]:
    home = tmp_path_factory.mktemp("good") / "home"
    peer, _ = make_blocks(BLOCKS)
    store_chain(Home(home), peer)
    return peer, home


@pytest.fixture
def home(made: tuple[SmallPeer, Path], tmp_path: Path) -> Home:
    """A copy to damage."""
    shutil.copytree(made[1], tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def folder(home: Home) -> ChainFolder:
    return the_chain_of(home)


@pytest.fixture
def peer(made: tuple[SmallPeer, Path]) -> SmallPeer:
    return made[0]


def verify(folder: ChainFolder) -> VerifyReport:
    store = open_store(folder, read_only=True)
    try:
        return verify_chain(store)
    finally:
        store.close()


def difference(folder: ChainFolder) -> tuple[int, str]:
    found = verify(folder).difference
    assert found is not None
    return found.height, found.column


def stored(folder: ChainFolder, query: str, *parameters: object) -> bytes:
    with sqlite3.connect(folder.chain_database) as database:
        (value,) = database.execute(query, parameters).fetchone()
    database.close()
    return bytes(value)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_good_chain_verifies_to_its_last_block(folder: ChainFolder, peer: SmallPeer) -> None:
    report = verify(folder)
    assert report.difference is None
    assert (report.finalised, report.verified) == (BLOCKS, BLOCKS)
    assert report.state_root == peer.blocks[-1].block.header.state_root
    assert report.genesis_hash == peer.genesis_hash


def test_progress_is_told_for_every_block(folder: ChainFolder) -> None:
    told: list[tuple[int, int]] = []
    store = open_store(folder, read_only=True)
    verify_chain(store, lambda done, total: told.append((done, total)))
    store.close()
    assert told == [(height, BLOCKS) for height in range(1, BLOCKS + 1)]


def test_altered_body_is_named_with_its_height(folder: ChainFolder, peer: SmallPeer) -> None:
    other = encode_body(peer.blocks[1].block.body)
    assert alter(folder.chain_database, "UPDATE body SET bytes = ? WHERE height = 4", other) == 1
    assert difference(folder) == (4, "body")
    assert verify(folder).verified == 3


def test_missing_body_is_named(folder: ChainFolder) -> None:
    alter(folder.chain_database, "DELETE FROM body WHERE height = 6")
    assert difference(folder) == (6, "body")


def test_bytes_that_do_not_decode_are_named(folder: ChainFolder) -> None:
    alter(folder.chain_database, "UPDATE body SET bytes = x'ff' WHERE height = 5")
    assert difference(folder) == (5, "block")


@pytest.mark.parametrize("height", [3, BLOCKS])
def test_altered_header_is_named(folder: ChainFolder, height: int) -> None:
    data = stored(folder, "SELECT bytes FROM header WHERE height = ?", height)
    alter(folder.chain_database, "UPDATE header SET bytes = ? WHERE height = ?", flipped(data, len(data) // 2), height)
    assert difference(folder) == (height, "header")


def test_header_with_a_wrong_root_and_a_fitting_hash_is_named_by_its_field(
    folder: ChainFolder, peer: SmallPeer
) -> None:
    from dataclasses import replace

    from yumad.consensus.header import block_hash
    from yumad.consensus.types import ZERO_HASH

    header = replace(peer.blocks[8].block.header, state_root=ZERO_HASH)
    alter(
        folder.chain_database,
        "UPDATE header SET bytes = ?, hash = ? WHERE height = 9",
        encode_header(header),
        bytes(block_hash(header)),
    )
    alter(folder.chain_database, "DELETE FROM certificate WHERE height = 9")
    assert difference(folder) == (9, "state_root")


@pytest.mark.parametrize(
    ("damage", "height"),
    [
        (lambda peer, data: flipped(data, len(data) - 1), 8),
        (lambda peer, data: encode_certificate(certificate_for(peer, 7)), 8),
        (lambda peer, data: b"\x00", 8),
    ],
    ids=["signature", "another block's", "no certificate at all"],
)
def test_altered_certificate_is_named(
    folder: ChainFolder, peer: SmallPeer, damage: Callable[[SmallPeer, bytes], bytes], height: int
) -> None:
    data = stored(folder, "SELECT bytes FROM certificate WHERE height = ?", height)
    alter(folder.chain_database, "UPDATE certificate SET bytes = ? WHERE height = ?", damage(peer, data), height)
    assert difference(folder) == (height, "certificate")


def test_boundary_without_its_certificate_is_named(folder: ChainFolder) -> None:
    alter(folder.chain_database, "DELETE FROM certificate WHERE height = 16")
    assert difference(folder) == (16, "certificate")


def test_altered_state_chunk_is_named_by_its_column_after_all_blocks_passed(folder: ChainFolder) -> None:
    number = stored(folder, "SELECT CAST(id AS BLOB) FROM column WHERE name = 'accounts/key'").decode()
    key = int(number) << 32
    data = stored(folder, "SELECT data FROM chunk WHERE key = ?", key)
    alter(folder.chain_database, "UPDATE chunk SET data = ? WHERE key = ?", flipped(data, 40), key)
    report = verify(folder)
    assert report.verified == BLOCKS
    assert report.difference is not None
    assert (report.difference.height, report.difference.column) == (BLOCKS, "accounts/key")


@pytest.fixture
def run() -> Callable[..., object]:
    app = typer.Typer()
    verify_command.register(app)
    app.command()(lambda: None)
    return lambda *arguments: CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_command_reports_a_good_chain_and_fails_on_a_damaged_one(run, home: Home, folder: ChainFolder) -> None:  # type: ignore[no-untyped-def]
    good = run("--home", home.path, "--json")
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["verified"] == BLOCKS
    alter(folder.chain_database, "DELETE FROM body WHERE height = 2")
    bad = run("--home", home.path)
    assert bad.exit_code == 1
    assert "2" in bad.output and "body" in bad.output


def test_command_on_a_home_in_use_is_refused_in_one_line(run, home: Home) -> None:  # type: ignore[no-untyped-def]
    lock = home.lock()
    refused = run("--home", home.path)
    lock.release()
    assert refused.exit_code == 1
    assert "end that process first" in refused.output
