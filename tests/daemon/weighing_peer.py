"""A small peer whose subnet 7 is full: the owner's validator, four miners, and a validator's parts around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from small_peer import SmallPeer, small_spec
from yumad.consensus.chain_spec import ChainSpec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.admin import order_digest, order_named
from yumad.consensus.rules.v1.calls.table import call_named, call_numbered
from yumad.consensus.rules.v1.neurons import uid_of
from yumad.consensus.rules.v1.weights import read_row
from yumad.consensus.transaction import decode_transaction
from yumad.consensus.types import AccountId, Micros
from yumad.daemon.axon.scores import ScoreKeeper
from yumad.daemon.axon.weight_scheduler import WeightScheduler
from yumad.daemon.axon.weight_transactions import submit_through
from yumad.daemon.execution import InlineRunner
from yumad.storage.axon_database import open_axon_database
from yumad.storage.score_rows import ScoreKey, ScoreRows
from yumad.storage.sealed_weights import WeightsFolder
from yumad.storage.weight_notes import WeightNotes

TEMPO = 10
MINERS = 4
VALIDATOR = dev_keypair("authority-hot")
KEY = ScoreKey(7, 0, AccountId(VALIDATOR.public_key))

SPEC = """
name = "small"
profile = "dev"
genesis_time = 1_000_000
salt = "00"
[chain]
era_blocks = 8
[dev]
names = ["alice", "bob", "carol"]
funds = 1_000_000_000_000
[admin]
threshold = 1
keys = ["dev:admin"]
[[stakes]]
hotkey = "dev:authority-hot"
coldkey = "dev:authority"
amount = 50_000_000_000
[[subnets]]
netuid = 7
owner_hotkey = "dev:authority-hot"
owner_coldkey = "dev:authority"
hyperparameters = {max_allowed_uids = 5, immunity_period = 1, min_non_immune_uids = 1}
neurons = [
  { hotkey = "dev:authority-hot", coldkey = "dev:authority", stake = 1_000_000_000_000, permit = true },
MINERS
]
"""


def miner(number: int) -> AccountId:
    """Hotkey of the miner that begins as this uid."""
    return AccountId(dev_keypair(f"miner-{number}").public_key)


def weighing_spec(**hyperparameters: Any) -> ChainSpec:
    """The chain; commit-reveal is on unless said otherwise."""
    rows = "\n".join(f'  {{ hotkey = "dev:miner-{n}", coldkey = "dev:bob" }},' for n in range(1, MINERS + 1))
    spec = small_spec(SPEC.replace("MINERS", rows))
    [subnet] = spec.subnets
    chosen = {"commit_reveal_weights_enabled": True, **hyperparameters}
    return replace(spec, subnets=(replace(subnet, hyperparameters=replace(subnet.hyperparameters, **chosen)),))


class WeighingPeer:
    """The peer, and the parts of a validator that can be lost and started again from `folder`."""

    def __init__(self, folder: Path, **hyperparameters: Any) -> None:
        self.folder = folder
        self.peer = SmallPeer(weighing_spec(**hyperparameters))
        self.start()

    def start(self) -> None:
        """A fresh scheduler and a fresh score keeper, as after a kill: only the disk and the chain remember."""
        self.database = open_axon_database(self.folder / "axon")
        self.sealed = WeightsFolder(self.folder / "weights")
        self.scores = ScoreKeeper(ScoreRows(self.database), InlineRunner(), lambda: Micros(0))
        self.scheduler = WeightScheduler(
            self.peer,
            self.sealed,
            WeightNotes(self.database),
            self.scores,
            submit_through(self.peer),
            InlineRunner(),
        )

    async def run(self, scores: Mapping[int, float] | None = None, version_key: int = 0) -> None:
        """Load the table, give it a round of scores by miner, and let the scheduler take care of the validator."""
        await self.scores.load(KEY)
        if scores is not None:
            await self.score(scores)
        await self.scheduler.add(VALIDATOR, 7, version_key=version_key)

    async def score(self, scores: Mapping[int, float]) -> None:
        await self.scores.update(
            KEY, {miner(number): score for number, score in scores.items()}, ("ema", {"alpha": 1.0}), self.height
        )

    async def restart(self) -> None:
        """Kill -9 of everything but the chain."""
        self.start()
        await self.run()

    # --- the chain ----------------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        return self.peer.chain.finalised.height

    @property
    def state(self) -> Any:
        return self.peer.chain.state_at_finalised()

    async def step(self, blocks: int = 1) -> None:
        """Blocks, and the scheduler's look after each."""
        for _ in range(blocks):
            self.peer.make_block()
            await self.scheduler.look()

    async def until(self, done: Any, most: int = 5 * TEMPO) -> None:
        for _ in range(most):
            if done():
                return
            await self.step()
        raise AssertionError(f"not within {most} blocks: {self.status()}")

    def calls(self) -> list[tuple[int, str]]:
        """(height, name) of the validator's weights calls that are in blocks; each must have succeeded."""
        found = []
        for kept in self.peer.blocks:
            for data, outcome in zip(kept.block.body.transactions, kept.outcome.transactions, strict=True):
                transaction = decode_transaction(data)
                call = call_numbered(transaction.call)
                assert call is not None
                if transaction.signer == VALIDATOR.public_key and call.name.startswith("weights."):
                    assert outcome.code == 0
                    found.append((kept.block.header.height, call.name.removeprefix("weights.")))
        return found

    def names(self) -> list[str]:
        return [name for _, name in self.calls()]

    def row(self, mechanism: int = 0) -> dict[int, int]:
        return dict(read_row(self.state, f"sn/7/{mechanism}", "weight", 0))

    def incentive(self, hotkey: AccountId) -> int:
        uid = uid_of(self.state, 7, hotkey)
        assert uid is not None
        return int(self.state.read("sn/7/0/incentive", uid))

    def epochs(self) -> list[int]:
        """Heights at which subnet 7 had an epoch."""
        return [kept.block.header.height for kept in self.peer.blocks if kept.outcome.epochs]

    def status(self) -> dict[str, Any]:
        document = self.scheduler.status(KEY.validator, 7)
        assert document is not None
        return document

    async def send(self, who: str, name: str, args: list[Any]) -> None:
        """Somebody's call, in the pool."""
        call = call_named(name)
        assert call is not None
        sent = await submit_through(self.peer)(call, args, dev_keypair(who), self.height + 20)
        assert sent.taken, sent

    async def order(self, name: str, *values: int) -> None:
        """An administrative order about subnet 7; in the pool."""
        order = order_named(name)
        assert order is not None
        admin, until = dev_keypair("admin"), self.height + 20
        nonce = int(self.state.read("chain/admin_nonce", 0))
        message = order_digest(self.peer.genesis_hash, order.number, [7, *values], nonce, until)
        signatures = [[admin.public_key, admin.sign(message)]]
        await self.send("alice", "admin.execute", [order.number, [7, *values], nonce, until, signatures])

    async def register(self, name: str) -> AccountId:
        """A newcomer takes the uid of the weakest miner; in the pool. Gives its hotkey."""
        hotkey = AccountId(dev_keypair(name).public_key)
        await self.send("carol", "neuron.burned_register", [7, hotkey])
        return hotkey
