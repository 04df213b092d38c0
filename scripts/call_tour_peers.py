"""What the call tour needs of a swarm: its chain spec, signing, sending, waiting until all peers hold a call as final.

    from call_tour_peers import Tour, tour_spec

Not a program by itself.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from swarm_run import Stuck
from yumad.consensus.chain_spec import ChainSpec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.admin import order_digest
from yumad.consensus.rules.v1.calls.orders import order_named
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.ss58 import encode_address
from yumad.consensus.transaction import (
    TransactionDomain,
    encode_transaction,
    fork_digest,
    sign_transaction,
    signing_digest,
)
from yumad.consensus.types import ZERO_HASH, AccountId, YumadError
from yumad.daemon.control_client import ControlClient
from yumad.daemon.swarm import Swarm, SwarmPeer
from yumad.daemon.swarm_spec import swarm_spec

ADMINS = ("tour/admin/1", "tour/admin/2", "tour/admin/3")
THRESHOLD = 2
"""Two of three, so that an order needs more than one signature."""

ROUND_SECONDS = 0.05
STEP_SECONDS = 60.0
"""Longest wait for one batch to become final everywhere; seconds on an idle machine."""

RESEND_SECONDS = 5.0
"""A transaction that a peer does not know for so long is offered again."""

VALID_FOR = 500

OK = "ok"


def tour_spec(salt: bytes, slot_length: int) -> ChainSpec:
    """The dev profile with admin keys, timelocked commits and pauses of a few blocks."""
    base = swarm_spec("dev", "tour", salt, slot_length)
    return replace(
        base,
        admin_keys=tuple(sorted(account_of(name) for name in ADMINS)),
        admin_threshold=THRESHOLD,
        parameters=replace(
            base.parameters,
            timelocked_weights_enabled=True,
            admin_freeze_window=0,  # else every owner's call would have to look for its moment
            network_rate_limit=1,
            tx_rate_limit=1,
            tx_delegate_take_rate_limit=1,
            hotkey_swap_on_subnet_interval=1,
            coldkey_swap_announcement_delay=4,
            coldkey_swap_reannouncement_delay=2,
        ),
    )


def account_of(name: str) -> AccountId:
    """The account of a development key."""
    return AccountId(dev_keypair(name).public_key)


@dataclass(slots=True)
class Sent:
    """One call on its way, and what became of it."""

    signer: str
    call: str
    expected: str
    id: str
    data: bytes
    before: int | None
    """Free rao of the signer before it, where nothing else may change them: of deliberate failures."""
    offered: float = 0.0
    height: int = 0
    result: str = ""
    fee: int = 0
    left: int | None = None
    """Free rao of the signer after a deliberate failure."""

    @property
    def wrong(self) -> str:
        """What is not as expected, in words; empty if all is."""
        if self.result != self.expected:
            return f"{self.call} of {self.signer} in block {self.height}: {self.result}, expected {self.expected}"
        if self.before is not None and self.left != self.before - self.fee:
            return f"{self.call} of {self.signer} failed and left {self.left} of {self.before} rao, fee {self.fee}"
        return ""


class Tour:
    """Sends calls through random peers. `send` as many as do not depend on each other, then `settle`."""

    def __init__(self, swarm: Swarm, rng: random.Random, *, verbose: bool = False) -> None:
        self.swarm = swarm
        self.genesis = swarm.spec.genesis_hash
        self.domain = TransactionDomain(
            self.genesis, fork_digest(self.genesis, swarm.spec.spec.rules_version, ZERO_HASH)
        )
        self.done: list[Sent] = []
        self.effects = 0
        """Effects that were looked for and seen."""
        self.names: dict[str, None] = dict.fromkeys(swarm.spec.spec.dev_names)
        """Every account that the tour met, in order."""
        self._rng = rng
        self._verbose = verbose
        self._nonces: dict[str, int] = {}
        self._waiting: list[Sent] = []
        self._admin_nonce = 0

    # --- sending ------------------------------------------------------------------------------------------------------

    def key(self, name: str) -> AccountId:
        """The account of a name."""
        self.names.setdefault(name)
        return account_of(name)

    def send(self, signer: str, call: str, *args: Any, fails: str = "") -> None:
        """Sign and send a call that is to succeed, or to fail with the error named `fails`.

        A failure is expected of an account that does nothing else meanwhile: what it has left is checked.
        """
        entry = call_named(call)
        assert entry is not None, call
        self.key(signer)
        before = self.free(signer) if fails else None
        nonce = self._nonces.get(signer, 0)
        transaction = sign_transaction(
            self.domain,
            dev_keypair(signer),
            nonce=nonce,
            valid_until=self.height() + VALID_FOR,
            call=entry.number,
            args=args,
        )
        self._nonces[signer] = nonce + 1
        identity = signing_digest(self.domain, transaction).hex()
        sent = Sent(signer, call, fails or OK, identity, encode_transaction(transaction), before)
        self._waiting.append(sent)
        self._offer(sent)

    def order(self, name: str, *values: Any) -> tuple[Any, ...]:
        """Arguments of `admin.execute` for one administrative call, signed by enough admins; it has to be sent."""
        entry = order_named(name)
        assert entry is not None, name
        valid_until = self.height() + VALID_FOR
        message = order_digest(self.genesis, entry.number, list(values), self._admin_nonce, valid_until)
        chosen = self._rng.sample(ADMINS, THRESHOLD)
        proofs = sorted([account_of(admin), dev_keypair(admin).sign(message)] for admin in chosen)
        self._admin_nonce += 1
        return entry.number, list(values), self._admin_nonce - 1, valid_until, proofs

    def owner_order(self, name: str, *values: Any) -> tuple[Any, ...]:
        """Arguments of `subnet.owner_order`."""
        entry = order_named(name)
        assert entry is not None, name
        return entry.number, list(values)

    def _offer(self, sent: Sent) -> None:
        """Give it to a random peer; a peer that is a block behind may refuse what another takes."""
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            try:
                self._client(self._rng.choice(self.swarm.peers)).call("tx.send", transaction=sent.data.hex())
            except YumadError as error:
                if time.monotonic() > deadline:
                    raise Stuck(f"{sent.call} of {sent.signer}: {error.message}") from error
                time.sleep(ROUND_SECONDS)
            else:
                sent.offered = time.monotonic()
                return

    # --- waiting ------------------------------------------------------------------------------------------------------

    def settle(self) -> list[Sent]:
        """Wait until everything sent is final on every peer. Raises Stuck for a result that was not expected."""
        batch, self._waiting = self._waiting, []
        for sent in batch:
            self.wait(f"{sent.call} of {sent.signer} becoming final", lambda sent=sent: self._pursue(sent))  # type: ignore[misc]
        self._wait_for_all(max((sent.height for sent in batch), default=0))
        for sent in batch:
            if sent.before is not None:
                sent.left = self.free(sent.signer)
        self.done += batch
        wrong = [sent.wrong for sent in batch if sent.wrong]
        if wrong:
            raise Stuck("; ".join(wrong))
        if self._verbose:
            print(f"{len(self.done)} calls, final height {self.height()}", file=sys.stderr, flush=True)
        return batch

    def _pursue(self, sent: Sent) -> bool:
        """Ask a peer after a transaction; True once it is final."""
        try:
            document = self._client(self.swarm.peers[0]).call("tx.show", id=sent.id)
        except YumadError:
            if time.monotonic() - sent.offered > RESEND_SECONDS:
                self._offer(sent)
            return False
        if document["state"] != "final" or "result" not in document:
            return False
        sent.height, sent.fee = int(document["height"]), int(document["fee"])
        sent.result = OK if int(document["code"]) == 0 else str(document["result"])
        return True

    def _wait_for_all(self, height: int) -> None:
        for peer in self.swarm.peers:
            self.wait(f"{peer.name} finalising {height}", lambda peer=peer: self._finalised(peer) >= height)  # type: ignore[misc]

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Return once the condition holds. Raises Stuck, or SwarmError when a peer has ended."""
        deadline = time.monotonic() + STEP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise Stuck(f"{what}: not within {STEP_SECONDS:.0f} s")
            for peer in self.swarm.peers:
                self.swarm.check_alive(peer)
            time.sleep(ROUND_SECONDS)

    def wait_for_height(self, height: int) -> None:
        """Return once every peer has finalised a height."""
        self._wait_for_all(height)

    def expect(self, what: str, holds: bool) -> None:
        """Note an effect. Raises Stuck when it is not there."""
        if not holds:
            raise Stuck(f"at height {self.height()} it does not hold that {what}")
        self.effects += 1

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, name: str, *params: Any, peer: int = 0) -> Any:
        """The answer of one read at the final height; accounts are given as bytes."""
        return self.read_at(name, *params, peer=peer)[1]

    def read_at(self, name: str, *params: Any, peer: int = 0) -> tuple[int, Any]:
        """(height, answer) of one read."""
        shown = [encode_address(AccountId(value)) if isinstance(value, bytes) else value for value in params]
        document = self._client(self.swarm.peers[peer]).call("query", name=name, params=shown)
        return int(document["height"]), document["answer"]

    def height(self) -> int:
        """Final height of the first peer."""
        return self._finalised(self.swarm.peers[0])

    def address(self, name: str) -> str:
        """SS58 address of a name, as answers have it."""
        return encode_address(self.key(name))

    def free(self, name: str) -> int:
        """Free rao of a name."""
        return int(self.read("balance", self.key(name)))

    def stake(self, coldkey: str, hotkey: str, netuid: int) -> int:
        """Alpha, or TAO on root, that a coldkey holds behind a hotkey."""
        wanted = self.address(hotkey)
        held = self.read("positions", self.key(coldkey))
        return sum(int(row["amount"]) for row in held if row["netuid"] == netuid and row["hotkey"] == wanted)

    def staked_on(self, coldkey: str) -> list[int]:
        """Netuids of a coldkey's stakes, ascending; shares that are worth nothing may stay behind (DTAO 13.14)."""
        return sorted(row["netuid"] for row in self.read("positions", self.key(coldkey)) if int(row["amount"]))

    def _finalised(self, peer: SwarmPeer) -> int:
        return int(self._client(peer).call("status")["finalised"])

    def _client(self, peer: SwarmPeer) -> ControlClient:
        if peer.client is None and not self.swarm.poll(peer):
            raise Stuck(f"{peer.name} does not answer\n{peer.last_lines()}")
        assert peer.client is not None
        return peer.client
