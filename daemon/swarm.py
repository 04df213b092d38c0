"""A test swarm on one host: N authorities and some followers as real processes over loopback (DESIGN section 2).

The swarm makes homes and keys like an operator would, builds one chain spec from the authority records, starts the
peers, watches them over their control sockets and keeps the genesis subnets' validators active by setting their weights
again with the derived keys.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import base58

from ..consensus.chain_spec import AuthoritySpec, ChainSpec, check_chain_spec, prove_possession
from ..consensus.dev_accounts import dev_keypair
from ..consensus.types import AccountId, AuthorityKey, Micros, Rao, YumadError
from ..storage.authority_key import list_authorities, read_authority_key
from ..storage.home import Home
from .chain_home import create_chain
from .config import Config, config_text
from .control_client import ControlClient
from .initialise import initialise
from .spec_file import LoadedSpec, loaded, write_file

AUTHORITY_STAKE: Final = Rao(100_000 * 10**9)
"""Root stake of each authority; equal, so that any one of four may stop."""

START_SECONDS: Final = 30.0
"""Longest wait for a peer's control socket. Four peers starting on two busy cores take a few seconds."""

GENESIS_DELAY: Final = 2_000_000
START_PER_PEER: Final = 1_000_000
"""Microseconds between making the spec and slot 0, and more for each process: who leads the first slot should not be
alone yet. A slow machine costs a view or two, nothing else."""

STOP_SECONDS: Final = 7.0

POLL_SECONDS: Final = 0.25


class SwarmError(YumadError):
    """The swarm cannot start, or one of its peers ended."""

    code = "swarm"


@dataclass(slots=True)
class SwarmPeer:
    """One process of the swarm."""

    name: str
    home: Path
    account: str = ""
    """Development account of an authority: its hotkey and coldkey are derived from it."""
    process: subprocess.Popen[bytes] | None = None
    client: ControlClient | None = None
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Where its log goes."""
        return self.home / "log.jsonl"

    def last_lines(self) -> str:
        """The end of its log, for an error message."""
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-5:])
        except OSError:
            return ""


@dataclass(frozen=True, slots=True)
class SwarmPlan:
    """What to start."""

    base: Path
    spec: ChainSpec
    """Its authorities are replaced by the swarm's own; genesis time is set anew."""
    authorities: int
    followers: int


class Swarm:
    """Makes, starts, watches and ends the processes."""

    def __init__(self, plan: SwarmPlan) -> None:
        self.plan = plan
        self.authorities = [
            SwarmPeer(f"authority-{n}", plan.base / f"authority-{n}", f"authority/{n}")
            for n in range(1, plan.authorities + 1)
        ]
        self.followers = [SwarmPeer(f"follower-{n}", plan.base / f"follower-{n}") for n in range(1, plan.followers + 1)]
        self.spec: LoadedSpec
        self.bootstrap = ""

    @property
    def peers(self) -> list[SwarmPeer]:
        """All, authorities first."""
        return [*self.authorities, *self.followers]

    # --- making -----------------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Homes, keys, spec and chains of the authorities."""
        records = [self._make_home(peer) for peer in self.authorities]
        base = self.plan.spec
        stakes = {hotkey: (hotkey, coldkey, amount) for hotkey, coldkey, amount in base.stakes}
        for record in records:
            stakes.setdefault(record.hotkey, (record.hotkey, record.coldkey, AUTHORITY_STAKE))
        spec = replace(
            base,
            genesis_time=Micros(time.time_ns() // 1000 + GENESIS_DELAY + START_PER_PEER * len(self.peers)),
            stakes=tuple(sorted(stakes.values())),
            authorities=tuple(sorted(records, key=lambda record: record.hotkey)),
        )
        check_chain_spec(spec)
        self.spec = loaded(spec)
        write_file(self.plan.base / "spec.cbor", self.spec.data, overwrite=True)
        for peer in self.authorities:
            create_chain(Home(peer.home), self.spec.data)

    def _make_home(self, peer: SwarmPeer) -> AuthoritySpec:
        home = Home(peer.home)
        made = initialise(home, None, with_authority=True)
        key = read_authority_key(list_authorities(home.authority_folder)[0])
        hotkey = AccountId(dev_keypair(peer.account + "/hotkey").public_key)
        return AuthoritySpec(
            hotkey,
            AccountId(dev_keypair(peer.account + "/coldkey").public_key),
            AuthorityKey(key.public_key),
            prove_possession(key, self.plan.spec.name, self.plan.spec.salt, hotkey),
            base58.b58decode(made.peer_id),
        )

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the first authority, then the others by its address; followers join by it and fetch the spec."""
        first, *others = self.authorities
        self.start_authority(first, None)
        self.bootstrap = self.wait_for(first)["addresses"][0]
        for peer in others:
            self.start_authority(peer, self.bootstrap)
        for peer in self.followers:
            self.start_follower(peer)
        for peer in [*others, *self.followers]:
            self.wait_for(peer)

    def start_authority(self, peer: SwarmPeer, bootstrap: str | None) -> None:
        """Start the process of an authority's home."""
        if bootstrap is not None:
            config = Config(
                listen=("/ip4/127.0.0.1/tcp/0",),
                bootstrap=(bootstrap,),
                hotkey=f"dev:{peer.account}/hotkey",
                private=True,
            )
            Home(peer.home).config_file.write_text(config_text(config), "utf-8")
        self._spawn(peer, ["run", "--hotkey", f"dev:{peer.account}/hotkey"])

    def start_follower(self, peer: SwarmPeer) -> None:
        """Start a fresh peer that knows one bootstrap string and nothing else."""
        self._spawn(peer, ["join", self.bootstrap])

    def restart(self, peer: SwarmPeer) -> None:
        """Start a peer that was stopped or killed, with the home it has."""
        if peer in self.followers:
            self._spawn(peer, ["run"])
        else:
            self._spawn(peer, ["run", "--hotkey", f"dev:{peer.account}/hotkey"])

    def _spawn(self, peer: SwarmPeer, arguments: Sequence[str]) -> None:
        peer.home.mkdir(parents=True, exist_ok=True)
        peer.client = None
        with peer.log.open("ab") as log:
            peer.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "yumad.daemon.main",
                    *arguments,
                    "--home",
                    str(peer.home),
                    "--name",
                    peer.name,
                    "--listen",
                    self._listen_of(peer),
                    "--log-format",
                    "json",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "YUMAD_PRIVATE": "true"},
                start_new_session=True,
            )

    def _listen_of(self, peer: SwarmPeer) -> str:
        """The port a peer had before, so that others find it again after a restart; any free one the first time."""
        for address in peer.status.get("addresses", ()):
            return str(address).partition("/p2p/")[0]
        return "/ip4/127.0.0.1/tcp/0"

    def wait_for(self, peer: SwarmPeer) -> dict[str, Any]:
        """The status of a peer once its control socket answers. Raises SwarmError when it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_alive(peer)
            if self.poll(peer) and peer.status["addresses"]:
                return peer.status
            time.sleep(0.05)
        raise SwarmError(f"{peer.name} did not start within {START_SECONDS:.0f} s", remedy=f"see {peer.log}")

    def poll(self, peer: SwarmPeer) -> bool:
        """Refresh a peer's status; False when it does not answer."""
        try:
            if peer.client is None:
                peer.client = ControlClient.connect(peer.home)
            peer.status = peer.client.call("status")
        except YumadError:
            if peer.client is not None:
                peer.client.close()
            peer.client = None
            return False
        return True

    def check_alive(self, peer: SwarmPeer) -> None:
        """Raise SwarmError when a peer's process has ended."""
        if peer.process is not None and peer.process.poll() is not None:
            raise SwarmError(
                f"{peer.name} ended with code {peer.process.returncode}\n{peer.last_lines()}",
                remedy=f"its whole log: {peer.log}",
            )

    def watch(
        self,
        until_height: int | None,
        on_round: Callable[[Swarm], None],
        enough: Callable[[], bool] | None = None,
    ) -> None:
        """Poll all peers, calling `on_round` each time, until all have finalised `until_height` or it is `enough`."""
        while True:
            for peer in self.peers:
                self.check_alive(peer)
                self.poll(peer)
            on_round(self)
            if until_height is not None and all(p.status.get("finalised", 0) >= until_height for p in self.peers):
                return
            if enough is not None and enough():
                return
            time.sleep(POLL_SECONDS)

    def report(self) -> dict[str, Any]:
        """Where every peer stands, with the state root of each at the highest height all have finalised."""
        for peer in self.peers:
            self.poll(peer)
        common = min(peer.status["finalised"] for peer in self.peers)
        return {
            "common_height": common,
            "peers": [self._peer_report(peer, common) for peer in self.peers],
        }

    @staticmethod
    def _peer_report(peer: SwarmPeer, common: int) -> dict[str, Any]:
        status = peer.status
        root = None
        if common and peer.client is not None:
            root = peer.client.call("block", at=str(common))["header"]["state_root"]
        return {
            "name": peer.name,
            "height": status["height"],
            "finalised": status["finalised"],
            "state_root": root,
            "finality_p50_ms": status["finality_p50_ms"],
            "finality_p99_ms": status["finality_p99_ms"],
            "epochs": status["epochs"],
        }

    def kill(self, peer: SwarmPeer, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a peer's process; for SIGKILL and SIGTERM also wait for its end."""
        if peer.process is None:
            return
        peer.process.send_signal(how)
        if how in (signal.SIGKILL, signal.SIGTERM):
            peer.process.wait(STOP_SECONDS)
            peer.process = None
            if peer.client is not None:
                peer.client.close()
                peer.client = None

    def stop(self) -> None:
        """End every process: politely, then not."""
        running = [peer.process for peer in self.peers if peer.process is not None and peer.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def random_salt() -> bytes:
    """A dev spec holds a random salt, so that a wiped swarm is a new chain (DESIGN decision 11)."""
    return secrets.token_bytes(16)


__all__ = ["Swarm", "SwarmError", "SwarmPeer", "SwarmPlan", "random_salt"]
