"""A daemon around the small peer, in a thread of its own: what commands talk to in tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from small_peer import SmallPeer
from yumad.consensus.chain_spec import ChainSpec
from yumad.daemon.control import ControlServer
from yumad.daemon.control_address import choose_socket_path
from yumad.daemon.node_methods import node_registry

BLOCK_INTERVAL = 0.02
"""Seconds between blocks of the daemon in a thread: commands that wait for finality take a few of them."""


@dataclass
class Daemon:
    """A small peer that serves its control socket and makes blocks."""

    home: Path
    peer: SmallPeer
    making_blocks: bool = True


@contextmanager
def running_daemon(home: Path, spec: ChainSpec | None = None) -> Iterator[Daemon]:
    """A running daemon of a small peer, in a thread of its own."""
    home.mkdir(mode=0o700)
    running = Daemon(home, SmallPeer(spec))
    running.peer.make_block()
    started, scopes = threading.Event(), []

    async def serve() -> None:
        peer = running.peer
        hello = {"program": "0.0", "network": peer.spec.name}
        server = ControlServer(choose_socket_path(home), node_registry(peer), peer.feed, hello)
        with trio.CancelScope() as scope:
            scopes.append((trio.lowlevel.current_trio_token(), scope))
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                started.set()
                while True:
                    await trio.sleep(BLOCK_INTERVAL)
                    if running.making_blocks:
                        peer.make_block()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert started.wait(10), "the daemon did not start"
    try:
        yield running
    finally:
        for token, scope in scopes:
            token.run_sync_soon(scope.cancel)
        thread.join(10)
    assert not thread.is_alive()
