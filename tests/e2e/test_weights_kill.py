"""A validator's daemon dies between commit and reveal, and a uid changes its owner in that time (AXON R29).

Real processes: one authority, and a peer with the validator's plugin. The daemon is killed with SIGKILL as soon as its
commit is final; what it knew is on its disk and on the chain.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from processes import DEADLINE
from yumad.consensus.chain_spec import ChainSpec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.ss58 import encode_address
from yumad.consensus.transaction import TransactionDomain, encode_transaction, sign_transaction
from yumad.consensus.types import Hash32
from yumad.daemon.swarm import Swarm, SwarmPeer, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import PLAYED_VALIDATORS, SUBNET, played_spec

SLOT = 500_000
"""Microseconds."""

TEMPO = 24
"""Blocks of an epoch: a window of 12 s leaves a busy machine time to start a daemon again."""

MINERS = 4
VALIDATOR = "sn1/0"
HOTKEY = encode_address(dev_keypair(VALIDATOR).public_key)
OTHERS = PLAYED_VALIDATORS + MINERS - 1
SCORES = {f"sn1/{uid}": 1.0 / uid for uid in range(1, OTHERS + 1)}
ROW = [[1, 65535], [2, 32768], [3, 21845], [4, 16384], [5, 13107]]


def full_subnet_spec() -> ChainSpec:
    """The subnet that plugins play, with no room for another neuron and nobody immune."""
    spec = played_spec("dev", "weights-kill", random_salt(), SLOT, MINERS)
    [subnet] = spec.subnets
    chosen = replace(
        subnet.hyperparameters,
        tempo=TEMPO,
        max_allowed_uids=PLAYED_VALIDATORS + MINERS,
        immunity_period=1,
        min_non_immune_uids=1,
    )
    return replace(spec, subnets=(replace(subnet, hyperparameters=chosen),))


@dataclass
class Network:
    """One authority, and the peer on which the validator's plugin runs."""

    swarm: Swarm

    @property
    def validator(self) -> SwarmPeer:
        return self.swarm.followers[0]

    @property
    def log(self) -> str:
        return self.validator.log.read_text("utf-8", "replace")

    def run_plugin(self) -> None:
        scores = {encode_address(dev_keypair(name).public_key): score for name, score in SCORES.items()}
        started = self.ask_validator(
            "plugin.run",
            name="fixed",
            file=str(Path(__file__).with_name("fixed_scores.py")),
            netuid=SUBNET,
            role="validator",
            hotkey=f"dev:{VALIDATOR}",
            arguments=[json.dumps(scores)],
        )
        assert started["state"] == "ready", started

    def commit_and_die(self) -> dict[str, Any]:
        """Run the plugin, and kill the daemon as soon as its commit is final; the commit."""
        self.run_plugin()
        [commit] = self.until(self.commits)
        self.swarm.kill(self.validator)
        return dict(commit)

    def restart(self) -> None:
        """The daemon with the home it has; its plugin comes back with it."""
        self.swarm.restart(self.validator)
        self.swarm.wait_for(self.validator)

    def ask_validator(self, method: str, **params: Any) -> Any:
        assert self.validator.client is not None
        return self.validator.client.call(method, **params)

    def ask(self, method: str, **params: Any) -> Any:
        """An answer of the authority."""
        client = self.swarm.authorities[0].client
        assert client is not None
        return client.call(method, **params)

    def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition gives once it is true."""
        deadline = time.monotonic() + DEADLINE
        while not (found := condition()):
            if time.monotonic() >= deadline:
                raise AssertionError(f"{self.ask_validator('weight_schedulers')}\n{self.log[-4000:]}")
            time.sleep(0.1)
        return found

    def commits(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("weight_commits", hotkey=HOTKEY, netuid=SUBNET, mechanism=0)["answer"]
        return found

    def row(self) -> Any:
        return self.ask("weights", netuid=SUBNET, mechanism=0, uid=0)["answer"]

    def members(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("metagraph", netuid=SUBNET)["answer"]["members"]
        return found

    def epoch(self) -> int:
        return int(self.ask("subnet", netuid=SUBNET)["answer"]["epoch_index"])

    def register(self, name: str) -> str:
        """A newcomer takes the uid of the weakest miner; gives its address when it is final."""
        call = call_named("neuron.burned_register")
        assert call is not None
        alice, hotkey = dev_keypair("alice"), dev_keypair(name).public_key
        context = self.ask("tx.context", account=encode_address(alice.public_key))
        domain = TransactionDomain(
            Hash32(bytes.fromhex(context["genesis_hash"])), bytes.fromhex(context["fork_digest"])
        )
        transaction = sign_transaction(
            domain,
            alice,
            nonce=context["nonce"],
            valid_until=context["height"] + 40,
            call=call.number,
            args=[SUBNET, hotkey],
        )
        self.ask("tx.send", transaction=encode_transaction(transaction).hex())
        address = encode_address(hotkey)
        self.until(lambda: address in [member["hotkey"] for member in self.members()])
        return address


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    swarm = Swarm(SwarmPlan(tmp_path / "swarm", full_subnet_spec(), 1, 1))
    swarm.make()
    try:
        swarm.start()
        yield Network(swarm)
    finally:
        swarm.stop()


def test_r29_killed_between_commit_and_reveal_the_daemon_reveals_in_the_window_after_its_restart(
    network: Network,
) -> None:
    commit = network.commit_and_die()
    assert network.row() == [], "nothing is revealed yet"
    assert commit["epoch"] < commit["reveal_epoch"]
    network.restart()
    network.until(network.row)
    assert network.row() == ROW
    assert commit["hash"] not in [waiting["hash"] for waiting in network.commits()]
    status = network.ask_validator("weight_scheduler", hotkey=HOTKEY, netuid=SUBNET)
    assert (status["held_back"], status["last_error"]) == (0, None)


def test_r29_uid_that_changes_owner_while_the_daemon_is_dead_inherits_no_weight(network: Network) -> None:
    network.commit_and_die()
    newcomer = network.register("newcomer")
    [uid] = [member["uid"] for member in network.members() if member["hotkey"] == newcomer]
    assert uid in [target for target, _ in ROW], "the commit gives weight to its uid"
    most = 0
    network.restart()

    def others_are_weighed() -> bool:
        nonlocal most
        members = network.members()
        most = max(most, *members[uid]["incentive"])
        return any(sum(member["incentive"]) for member in members)

    network.until(others_are_weighed)
    weighed = dict(network.row())
    assert weighed.get(uid, 0) == 0 and len([value for value in weighed.values() if value]) == OTHERS - 1
    assert most == 0
    assert f"uid {uid} changed owner since" in network.log
