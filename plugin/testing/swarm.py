"""A subnet in memory: one plugin on many virtual neurons (AXON R37, R38)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import trio

from ...consensus.types import InvalidError
from ...protocols.axon.codec_offer import own_codecs
from ..calling import Calls
from ..load import Plugin, load_plugin, plugin_of
from ..method import DefinitionError, Method
from ..runner import ValidatorRun, miner_service
from ..subnet import Subnet
from ..validator import Result, Validator
from .adversaries import ADVERSARIES, adversary, flood
from .chain import FakeChain, dev_hotkey
from .host import MemoryHost, MemoryNetwork, Tap
from .wire_host import WireHost, WireNetwork

STAKE: Final = 1_000_000_000_000
"""Of each validator, in rao."""


@dataclass(eq=False)
class Node:
    """One neuron of a swarm."""

    name: str
    """`miner/0`, `validator/0`, `copy/0` or `lazy/0`: role, adversary or variant, and a number."""
    hotkey: str
    """ss58 of the development account of this name."""
    uid: int
    kind: str
    plugin: Plugin
    host: MemoryHost
    run: ValidatorRun | None = None
    """Of a validator."""
    log: list[str] = field(default_factory=list)
    """What its code logged."""


class Swarm:
    """Neurons on a fake chain; open one with `Swarm.of`."""

    def __init__(self, chain: FakeChain, network: MemoryNetwork, rng: random.Random, folder: Path) -> None:
        self.chain, self.network, self.rng, self.folder = chain, network, rng, folder
        self.nodes: list[Node] = []

    @classmethod
    @asynccontextmanager
    async def of(
        cls,
        plugin: Plugin | Subnet | ModuleType | Path | str,
        folder: Path,
        *,
        miners: int = 3,
        validators: int = 1,
        validator: type[Validator] | None = None,
        variants: Mapping[str, int] | None = None,
        adversaries: Mapping[str, int] | None = None,
        seed: int = 0,
        latency: float = 0.0,
        tap: Tap | None = None,
        wire: bool = False,
    ) -> AsyncIterator[Swarm]:
        """All neurons up. `miners` honest ones beside variants and adversaries; `latency` in seconds one way.

        A path is loaded anew for each neuron, so that none shares module variables; everything else is shared. With
        `wire` every call is signed and framed as between live peers (no tap there). Raises InvalidError for an
        adversary or variant there is not.
        """
        check_adversaries(adversaries or {})
        rng, chain = random.Random(seed), FakeChain()
        first = loaded(plugin, validator)
        if first.validator is None and validators:
            validators = 0
        kinds = ["validator"] * validators + ["miner"] * miners
        for kind, count in {**(variants or {}), **(adversaries or {})}.items():
            kinds += [kind] * count
        counts: dict[str, int] = {}
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(chain, random.Random(seed + 1).randbytes, tap)
            if wire:
                network = WireNetwork(chain, seed + 1, latency, await stack.enter_async_context(_background()))
            swarm = cls(chain, network, rng, folder)
            for kind in kinds:
                number = counts[kind] = counts.get(kind, -1) + 1
                own = load_plugin(Path(plugin), anew=True) if isinstance(plugin, Path | str) else first
                node = await swarm.add(f"{kind}/{number}", kind, own, folder, latency)
                if kind == "validator":
                    node.run = await ValidatorRun.start(
                        own, node.host, store=folder / str(node.uid), threads=False, log=node.log.append,
                        rng=random.Random(f"{seed}/{node.name}"),
                    )  # fmt: skip
                    continue
                variant = kind if kind in (variants or {}) else None
                service = await stack.enter_async_context(
                    miner_service(
                        own, node.host, store=folder / str(node.uid), variant=variant, threads=False,
                        log=node.log.append,
                    )
                )  # fmt: skip
                if kind in ADVERSARIES:
                    node.host.handler = adversary(kind, service.handle, node.host, swarm._honest, rng)
            yield swarm

    async def add(self, name: str, kind: str, plugin: Plugin, folder: Path, latency: float = 0.0) -> Node:
        """One more neuron, registered and without code that runs: a caller, or one to be started."""
        hotkey, is_validator = dev_hotkey(name), kind == "validator"
        # A neuron that copies has to be let in by the miners it asks, as a validator of its own would be.
        trusted = is_validator or kind == "copy"
        neuron = self.chain.register(hotkey, stake=STAKE if is_validator else 0, permit=trusted)
        store = folder / str(neuron.uid)
        store.mkdir(parents=True, exist_ok=True)
        host = (
            await WireHost.up(self.network, name, store)
            if isinstance(self.network, WireNetwork)
            else MemoryHost(self.network, hotkey, latency, store=store)
        )
        node = Node(name, hotkey, neuron.uid, kind, plugin, host)
        self.nodes.append(node)
        return node

    def _honest(self) -> Sequence[str]:
        return [node.hotkey for node in self.nodes if node.kind == "miner"]

    @property
    def miners(self) -> list[Node]:
        """All that serve: honest, variants and adversaries."""
        return [node for node in self.nodes if node.kind != "validator"]

    @property
    def validators(self) -> list[Node]:
        """All that score."""
        return [node for node in self.nodes if node.kind == "validator"]

    def node(self, name: str) -> Node:
        """The neuron of this name."""
        return next(node for node in self.nodes if node.name == name)

    async def rounds(self, count: int = 1) -> None:
        """Every validator plays so many rounds, all at the same time; flooding neurons flood beside them."""
        for _ in range(count):
            async with trio.open_nursery() as nursery:
                for node in self.validators:
                    assert node.run is not None
                    nursery.start_soon(node.run.round)
                for node in self.nodes:
                    if node.kind == "flood":
                        nursery.start_soon(self._flood, node)
            self.chain.block += 1

    async def _flood(self, node: Node) -> None:
        targets = [other.hotkey for other in self.miners if other is not node]
        for method in node.plugin.subnet.served_methods()[:1]:
            await flood(node.host, targets, method.name, method.version, b"\x00" * 64)

    async def call(
        self, method: Method, request: Any = None, *, to: Node | str, caller: Node | None = None, timeout: float = 10.0
    ) -> Result:
        """One call; from the first validator unless another caller is named."""
        target = self.node(to) if isinstance(to, str) else to
        calling = caller or next(iter(self.validators), None)
        if calling is None:
            calling = await self.add("validator/0", "validator", target.plugin, self.folder)
        calls = Calls(
            calling.host, calling.hotkey, {node.hotkey: node.uid for node in self.nodes}, self.network.random_bytes,
            {node.hotkey: own_codecs() for node in self.nodes},
        )  # fmt: skip
        return await calls.call(target.hotkey, method, request, timeout)

    def scores(self) -> dict[str, float]:
        """Name of each miner -> mean over the validators of what its scores are worth."""
        tables = [node.host.values for node in self.validators]
        return {
            miner.name: sum(table.get(miner.hotkey, 0.0) for table in tables) / max(len(tables), 1)
            for miner in self.miners
        }


@asynccontextmanager
async def _background() -> AsyncIterator[trio.Nursery]:
    """A nursery that ends with its block, and lets the block's own error through as it is: a failed assertion of a
    test should read like one."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


def loaded(what: Plugin | Subnet | ModuleType | Path | str, validator: type[Validator] | None = None) -> Plugin:
    """Anything that stands for a plugin as one. Raises DefinitionError."""
    if isinstance(what, Plugin):
        return what
    if isinstance(what, Subnet):
        return Plugin(what, validator)
    if isinstance(what, ModuleType):
        return plugin_of(what, Path(what.__file__) if what.__file__ else None)
    if isinstance(what, Path | str):
        return load_plugin(Path(what))
    raise DefinitionError(f"{what!r} is no plugin", remedy="give a file, a module or a Subnet")


def check_adversaries(adversaries: Mapping[str, int]) -> None:
    """Raises InvalidError for one that there is not."""
    for kind, count in adversaries.items():
        if kind not in ADVERSARIES:
            raise InvalidError(f"there is no adversary {kind!r}", remedy=f"use {', '.join(ADVERSARIES)}")
        if type(count) is not int or count < 0:
            raise InvalidError(f"adversary {kind}: {count!r}", remedy="give a number of neurons")
