"""A peer as a process: opens a home, wires the real clock, disk and sockets, and ends cleanly on a signal.

SIGTERM and SIGINT end the peer within DRAIN_SECONDS: no new work is taken, what is being written is finished, stores
are closed. Consensus needs no farewell: whatever was durable is offered again after the next start (R10).
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import trio

from .. import __version__
from ..consensus.signature import KeyPair
from ..consensus.types import Slot, YumadError
from ..protocols.bootstrap import Anchor, Bootstrap, parse_bootstrap
from ..protocols.libp2p.connection_limits import ConnectionLimits
from ..protocols.libp2p.host import Libp2pTransport
from ..protocols.peer_ledger import PeerLedger
from ..protocols.sync.trust import check_anchor_age
from ..protocols.transport import TransportError
from ..storage.authority_key import Authority, list_authorities, open_authority
from ..storage.home import Home
from ..storage.index import IndexStore
from ..storage.peers import PeerStore
from .axon.axon_methods import axon_methods
from .axon.backend import ServiceBackend
from .axon.discovery import DiscoverySettings
from .axon.fan_out import FanOutNotice
from .axon.health import health_pages
from .axon.service import AxonService, AxonSurroundings
from .axon.weight_methods import weight_methods
from .chain_home import OpenedChain, finalised_ref, genesis_hash_of_folder, open_chain, the_chain_of
from .clock import SystemClock
from .config import Config
from .control import ControlServer
from .control_address import choose_socket_path
from .execution import ThreadRunner
from .first_cause import first_cause
from .head_feed import HeadFeed
from .heartbeat import Heartbeat
from .hotkeys import open_hotkey
from .logging import get_logger
from .metrics import serve_metrics
from .node import Peer, PeerSettings, Surroundings
from .node_methods import node_registry
from .own_transactions import OwnTransactions
from .peer_answers import PeerAnswers
from .plugin_methods import plugin_methods
from .plugins.host import PluginHost
from .plugins.process_runner import deny_inspection
from .plugins.socket import plugin_socket_path
from .watch import watch_peer

DRAIN_SECONDS: Final = 5.0
"""From SIGTERM to the end of the process; up to 10 s (AXON C15) where plugins are answering calls."""

PLUGIN_DRAIN: Final = 5.0
"""Of these for plugins: to answer the calls they have, and to end. Without plugins it takes no time."""


class StartError(YumadError):
    """The peer cannot start; says what to change."""

    code = "start"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one start was asked for beside the configuration."""

    name: str = ""
    genesis_prefix: str = ""
    trust_genesis: bool = False
    trusted: tuple[Anchor, ...] = ()
    on_started: Callable[[Peer], None] = lambda peer: None
    on_sync: Callable[[str, int, int], None] = lambda stage, done, total: None


def run_peer(home: Home, config: Config, options: RunOptions) -> None:
    """Run the peer of a home until a signal ends it. Raises YumadError for everything that must stop it."""
    deny_inspection()  # plugins run as the same user, and must not read keys out of this process
    with ExitStack() as stack:
        home.prepare()
        stack.callback(home.lock().release)
        folder = the_chain_of(home, options.genesis_prefix)
        opened = open_chain(folder, genesis_hash_of_folder(folder), check_invariants=config.check_invariants)
        stack.callback(opened.store.close)
        authority = _open_authority(home, stack)
        _check_trust(opened, config, options)
        gc.freeze()  # what was loaded stays: the collector need not walk a chain's state again and again
        try:
            trio.run(_run, home, config, options, opened, authority, stack)
        except BaseExceptionGroup as group:
            cause = first_cause(group)
            if isinstance(cause, TransportError):
                remedy = "choose another --listen address, or end what uses it"
                raise StartError(str(cause), remedy=remedy) from group
            raise cause from group


async def _run(
    home: Home,
    config: Config,
    options: RunOptions,
    opened: OpenedChain,
    authority: Authority | None,
    stack: ExitStack,
) -> None:
    clock = SystemClock()
    rng = random.Random(secrets.randbits(128))
    ledger = PeerLedger(clock)
    seed = home.peer_seed(lambda: secrets.token_bytes(32))
    bootstraps = _bootstraps(config, opened)
    protected = frozenset(bootstrap.peer for bootstrap in bootstraps)
    try:
        transport = Libp2pTransport(
            seed,
            config.listen,
            rng=rng,
            score=ledger.score,
            is_protected=lambda peer: peer in protected,
            on_misbehaviour=lambda who, what: peer.enforcer.misbehaved(who, what),
            limits=ConnectionLimits(total=config.max_peers, exempt_private=config.private),
            announce=config.announce,
            agent=f"yumad/{__version__}",
        )
    except ValueError as error:
        addresses = ", ".join((*config.listen, *config.announce))
        raise StartError(
            f"an address in `listen` or `announce` cannot be used ({addresses}): {error}",
            remedy="write it like /ip4/0.0.0.0/tcp/30333, in the settings or with --listen",
        ) from error
    peer_store = PeerStore.open(opened.folder.peer_database)
    stack.callback(peer_store.close)
    index = IndexStore.open(opened.folder.index_database)
    stack.callback(index.close)
    hotkey = _hotkey(config)
    peer = Peer(
        opened,
        transport,
        KeyPair(seed),
        Surroundings(clock, rng, ThreadRunner(), ThreadRunner()),
        PeerSettings(
            name=options.name or home.path.name,
            bootstrap=tuple(bootstrap.address for bootstrap in bootstraps),
            announce=config.announce,
            archive=config.archive,
            hotkey=hotkey,
            trusted=(*options.trusted, *(b.anchor for b in bootstraps if b.anchor is not None)),
        ),
        authority=authority,
        peer_store=peer_store,
        index=index,
        ledger=ledger,
        own_transactions=OwnTransactions(opened.folder.path),
    )
    peer.sync.on_progress = options.on_sync
    log = get_logger("daemon")
    feed = HeadFeed()
    answers = PeerAnswers(peer)
    discovery = DiscoverySettings(
        config.announce, config.relay_only, serve_relay=config.relay and not config.relay_only, probe=config.probe
    )
    axon = AxonService(peer, answers, AxonSurroundings(home, clock, rng, ThreadRunner()), discovery)
    stack.callback(axon.close)
    socket_path = choose_socket_path(home.path)
    backend = ServiceBackend(axon, FanOutNotice(config.max_peers))
    plugins = PluginHost(home.plugins, plugin_socket_path(socket_path), backend)
    peer.peers.is_hidden = lambda: config.relay_only or plugins.hides_peer
    axon.plugin_states = lambda: {plugin["name"]: plugin["state"] for plugin in plugins.documents()}
    control = ControlServer(
        socket_path,
        node_registry(
            answers,
            [*axon_methods(axon), *weight_methods(axon.keeping.scheduler), *plugin_methods(plugins)],
        ),
        feed,
        {"program": __version__, "network": opened.spec.name, "genesis_hash": opened.genesis_hash.hex()},
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_on_signal, nursery.cancel_scope, plugins)
        await nursery.start(peer.run)
        await nursery.start(axon.run)
        await nursery.start(plugins.run)
        await nursery.start(control.run)
        watch_peer(peer, feed, log)
        if config.metrics:
            await nursery.start(serve_metrics, config.metrics, peer, axon.metrics.exposition, health_pages(axon.health))
        if authority is not None and hotkey is not None:
            nursery.start_soon(Heartbeat(answers, hotkey, transport.local_peer, clock, rng).run)
        log.info(
            "peer started",
            network=opened.spec.name,
            genesis=opened.genesis_hash.hex()[:16],
            height=opened.store.finalised().height,
            peer=transport.local_peer,
            addresses=list(transport.addresses()),
            authority=None if authority is None else authority.key.public_key.hex()[:16],
        )
        options.on_started(peer)
    log.info("peer stopped", height=opened.store.finalised().height)


async def _end_on_signal(scope: trio.CancelScope, plugins: PluginHost) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            watchdog = threading.Timer(DRAIN_SECONDS + PLUGIN_DRAIN - 0.2, os._exit, (1,))
            watchdog.daemon = True
            watchdog.start()
            await plugins.close(PLUGIN_DRAIN)
            scope.cancel()
            return


def _open_authority(home: Home, stack: ExitStack) -> Authority | None:
    folders = list_authorities(home.authority_folder)
    if not folders:
        return None
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise StartError(f"{home.authority_folder} holds several keys: {names}", remedy="keep one per home")
    authority = open_authority(folders[0], SystemClock().now())
    stack.callback(authority.close)
    if authority.guard_was_lost:
        get_logger("daemon").warning(
            "the vote guard of this authority key was missing: it abstains until an era opens that began after now",
            key=authority.key.public_key.hex()[:16],
        )
    return authority


def _check_trust(opened: OpenedChain, config: Config, options: RunOptions) -> None:
    """Decision 13: past the trust window a start needs a trusted block, which sync then holds the chain to."""
    vouched = bool(options.trusted) or any(parse_bootstrap(text).anchor is not None for text in config.bootstrap)
    window = opened.spec.trust_window or None
    check_anchor_age(
        opened.spec.timing,
        window,
        Slot(finalised_ref(opened.store).slot),
        SystemClock().now(),
        trust_genesis=options.trust_genesis or vouched,
    )


def _bootstraps(config: Config, opened: OpenedChain) -> tuple[Bootstrap, ...]:
    parsed = tuple(parse_bootstrap(text) for text in config.bootstrap)
    for bootstrap in parsed:
        if not bootstrap.matches(opened.genesis_hash):
            raise StartError(
                f"bootstrap {bootstrap.address} is for genesis {bootstrap.genesis_digits}, this home holds "
                f"{opened.genesis_hash.hex()}",
                remedy="use another --home for another chain",
            )
    return parsed


def _hotkey(config: Config) -> KeyPair | None:
    return open_hotkey(config.hotkey, config.wallets) if config.hotkey else None
