"""Large content of real plugin processes, by paths in their own folders (AXON R11)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hosted import hosting, settings, write
from yumad.consensus.dev_accounts import dev_keypair
from yumad.daemon.plugins.life import default_launcher
from yumad.daemon.plugins.store_files import PluginFileError, open_inside, place_inside
from yumad.plugin.message import Message
from yumad.protocols.axon.status import Status

AUTHOR = """
from yumad import BlobUnavailable, Call, Policy, Subnet

subnet = Subnet("keeps")

@subnet.method(policy=Policy(require_permit=False))
async def keep(text: str, call: Call) -> bytes:
    return await call.put_blob(text.encode() * 100_000, to=[call.caller])

@subnet.method(policy=Policy(require_permit=False))
async def size(blob: bytes, call: Call) -> str:
    try:
        path = await call.fetch_blob(blob, call.caller, max_size=1 << 20)
    except BlobUnavailable as error:
        return str(error)
    return f"{path.relative_to(call.store)} {path.stat().st_size}"
"""


async def test_r11_author_s_handler_puts_and_fetches_large_content(tmp_path: Path) -> None:
    file = tmp_path / "keeps.py"
    file.write_text(AUTHOR)
    async with hosting(tmp_path, launcher=default_launcher) as (host, peer):
        document = await host.start("keeps", settings(file))
        assert document["state"] == "ready", document["error"]
        reply = await peer.ask(Message(str).encode("ab"), name="keep")
        assert reply.status is Status.OK, reply.text
        blob_hash = Message(bytes).decode(reply.body)
        assert peer.blobs == {blob_hash: b"ab" * 100_000}
        caller = dev_keypair("caller").public_key
        assert peer.asked[-1][0::2] == ("blob_put", [caller])
        reply = await peer.ask(Message(bytes).encode(blob_hash), name="size")
        assert Message(str).decode(reply.body) == f"blobs/{blob_hash.hex()} 200000"
        assert peer.asked[-1][2] == (blob_hash, caller, 1 << 20)
        reply = await peer.ask(Message(bytes).encode(bytes(32)), name="size")
        assert Message(str).decode(reply.body) == "no source gave its list"
        store = tmp_path / "plugins" / "keeps" / "store"
        assert [path.name for path in store.iterdir()] == ["blobs"], "what was put is not left behind"


async def test_r11_process_fetches_only_in_its_own_name(tmp_path: Path) -> None:
    code = """
async def ask(call):
    while not CLIENT:
        await trio.sleep(0.01)
    try:
        await CLIENT[0]._ask("blob.put", {"path": "x", "to": None, "hotkey": bytes(32)})
    except Exception as error:
        return CallReply(body=str(error).encode())
CLIENT = []
async def beside(client):
    CLIENT.append(client)
serve(ask, beside=beside)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        assert b"there is no field 'hotkey'" in (await peer.ask()).body
        assert peer.asked == []


def test_r11_path_through_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "store" / "deep").mkdir(parents=True)
    (tmp_path / "store" / "deep" / "file").write_bytes(b"content")
    (tmp_path / "store" / "short").symlink_to(tmp_path / "store" / "deep")
    for path in ("deep/file", "short/file", str(tmp_path / "store" / "short" / "file")):
        with open_inside(tmp_path / "store", path) as file:
            assert file.read() == b"content"


def test_r11_link_that_appears_after_the_look_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    (store / "deep").mkdir(parents=True)
    (store / "deep" / "file").write_bytes(b"content")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"secret")
    real = os.open

    def swapping(path: object, *arguments: object, **how: object) -> int:
        if path == "deep":
            (store / "deep").rename(store / "moved")
            (store / "deep").symlink_to(tmp_path / "outside")
        return real(path, *arguments, **how)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(PluginFileError, match="cannot be read"):
        open_inside(store, "deep/file")


def test_r11_fetched_blob_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    store, source = tmp_path / "store", tmp_path / "source"
    store.mkdir()
    source.write_bytes(b"content")
    for before in (None, b"changed by the plugin", b"the same file"):
        if before == b"changed by the plugin":
            (store / "blobs" / "name").unlink()
            (store / "blobs" / "name").write_bytes(before)
        path = place_inside(store, source, "name")
        assert path.read_bytes() == b"content"
        assert path.samefile(source)
        assert [found.name for found in (store / "blobs").iterdir()] == ["name"]


def test_r11_blob_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **how: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    store, source = tmp_path / "store", tmp_path / "source"
    store.mkdir()
    source.write_bytes(b"content")
    path = place_inside(store, source, "name")
    assert path.read_bytes() == b"content"
    assert not path.samefile(source)


def test_r11_folder_for_blobs_that_is_a_link_or_a_file_gets_none(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    (tmp_path / "outside").mkdir()
    for number, make in enumerate(
        (
            lambda blobs: blobs.symlink_to(tmp_path / "outside"),
            lambda blobs: blobs.write_bytes(b""),
            lambda blobs: (blobs / "name").mkdir(parents=True),
        )
    ):
        store = tmp_path / f"store{number}"
        store.mkdir()
        make(store / "blobs")
        with pytest.raises(PluginFileError, match="cannot be made"):
            place_inside(store, source, "name")
    assert list((tmp_path / "outside").iterdir()) == []
