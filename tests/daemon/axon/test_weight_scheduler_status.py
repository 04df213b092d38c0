"""`yumad weights status` beside a scheduler: when, why not now, and what was refused (AXON R29, complaint C13)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from test_cli_chain import document, run
from weighing_peer import WeighingPeer
from yumad.daemon.axon.weight_methods import weight_methods
from yumad.daemon.control import ControlServer
from yumad.daemon.control_address import choose_socket_path
from yumad.daemon.node_methods import node_registry
from yumad.daemon.registry import Registry


@contextmanager
def serving(world: WeighingPeer, home: Path) -> Iterator[None]:
    """The world's control socket, in a thread of its own."""
    home.mkdir(mode=0o700, exist_ok=True)
    started, scopes = threading.Event(), []

    async def serve() -> None:
        registry = Registry([*node_registry(world.peer), *weight_methods(world.scheduler)])
        hello = {"program": "0.0", "network": world.peer.spec.name}
        server = ControlServer(choose_socket_path(home), registry, world.peer.feed, hello)
        with trio.CancelScope() as scope:
            scopes.append((trio.lowlevel.current_trio_token(), scope))
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                started.set()
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        for token, scope in scopes:
            token.run_sync_soon(scope.cancel)
        thread.join(10)


@pytest.fixture
def world(tmp_path: Path) -> WeighingPeer:
    return WeighingPeer(tmp_path)


def shown(world: WeighingPeer, *more: str) -> Any:
    common = ["weights", "status", "--netuid", "7", "--dev", "authority-hot", "--home", str(world.folder / "home")]
    with serving(world, world.folder / "home"):
        return run(*common, *more)


def test_r29_status_shows_the_next_block_the_last_commit_and_when_the_reveal_is_due(world: WeighingPeer) -> None:
    async def main() -> None:
        await world.run({1: 1.0, 2: 0.5})
        await world.until(lambda: world.names() == ["commit_weights"])

    trio.run(main)
    [reveal] = world.status()["reveals"]
    text = shown(world).stdout
    assert f"next allowed: block {world.status()['last_update'] + 5}" in text
    assert "last sent:    weights.commit_weights at block" in text
    assert f"blocks {reveal['opens']} to {reveal['opens'] + 9}" in text
    assert document(shown(world, "--json"))["scheduler"] == world.status()


def test_r29_status_shows_why_nothing_is_sent(world: WeighingPeer) -> None:
    async def main() -> None:
        await world.run({})
        await world.step()

    trio.run(main)
    text = shown(world).stdout
    assert "now:          nothing is scored yet (nothing_scored)" in text
    assert "last sent:    nothing" in text


def test_r29_status_shows_what_is_held_back_and_why(world: WeighingPeer) -> None:
    async def main() -> None:
        await world.run({1: 1.0, 2: 0.5})
        await world.until(lambda: world.names() == ["commit_weights"])
        await world.register("newcomer")
        await world.until(lambda: world.scheduler.held_back == 1)

    trio.run(main)
    text = shown(world).stdout
    assert "not revealed, uid 1 changed owner since" in text
    assert "last refusal: the commit of block" in text


def test_r29_status_of_a_hotkey_that_no_plugin_validates_with_says_so(world: WeighingPeer) -> None:
    assert "set by hand" in shown(world).stdout
