"""Transfers that never stop: development accounts of a swarm pay each other through its peers' control sockets.

What a kill must not lose is what somebody was told is final, so the load remembers every transaction that any peer ever
reported final, with the block that peer named. A transaction that vanished before (its only holder was killed) is sent
again, byte for byte, through another peer: it can become final once and no more.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ..consensus.chain_spec import ChainSpec
from ..consensus.dev_accounts import dev_keypair
from ..consensus.rules.v1.calls.table import call_named
from ..consensus.signature import KeyPair
from ..consensus.ss58 import encode_address
from ..consensus.transaction import (
    TransactionDomain,
    encode_transaction,
    fork_digest,
    sign_transaction,
    signing_digest,
)
from ..consensus.types import ZERO_HASH, AccountId, Hash32, Rao, YumadError
from .control_client import ControlClient
from .swarm_spec import DEV_NAMES

IN_FLIGHT: Final = 3
"""Transactions of one account that wait at a time: their nonces must follow each other, so a loss is felt."""

VALID_FOR: Final = 2000
"""Blocks a transaction may wait: none expires within a run, so each that was signed has to end up in the chain."""

MOST_MOVED: Final = 1_000_000_000
"""Rao, 1 TAO: far from emptying a development account."""

RESEND_ROUNDS: Final = 8
"""Looks at a waiting transaction before it is offered to another peer."""


@dataclass(slots=True)
class Transfer:
    """One signed transfer and what is known of it."""

    id: str
    data: bytes
    source: str
    target: str
    amount: Rao
    fee: Rao
    looks: int = 0


@dataclass(frozen=True, slots=True)
class FinalReport:
    """A peer said that a transaction is final in this block."""

    peer: str
    height: int
    block_hash: str


@dataclass(slots=True)
class _Account:
    name: str
    key: KeyPair
    nonce: int = 0
    waiting: deque[Transfer] = field(default_factory=deque)


class TransferLoad:
    """Call `step` again and again; `paused` stops new transfers, what waits is still pursued."""

    def __init__(
        self, spec: ChainSpec, genesis_hash: Hash32, rng: random.Random, names: Sequence[str] = DEV_NAMES
    ) -> None:
        call = call_named("balances.transfer_keep_alive")
        assert call is not None, "the rules have no transfer"
        self._call = call.number
        self._spec = spec
        self._domain = TransactionDomain(genesis_hash, fork_digest(genesis_hash, spec.rules_version, ZERO_HASH))
        self._rng = rng
        self._accounts = [_Account(name, dev_keypair(name)) for name in names]
        self.sent: dict[str, Transfer] = {}
        """Every transfer that was ever signed, by id."""
        self.reported: dict[str, FinalReport] = {}
        """The first report of finality of each."""
        self.contradictions: list[str] = []
        """Two peers that named different blocks for one transaction."""
        self.paused = False

    @property
    def waiting(self) -> int:
        """Signed and not yet reported final."""
        return sum(len(account.waiting) for account in self._accounts)

    def address(self, name: str) -> str:
        """SS58 address of an account of the load."""
        return encode_address(dev_keypair(name).public_key)

    def step(self, peers: Sequence[tuple[str, ControlClient]], height: int) -> None:
        """One look at what waits and one new transfer of each account that may send, through random peers.

        `height` is any recent final height. A peer that does not answer costs nothing but this round.
        """
        if not peers:
            return
        for account in self._accounts:
            name, client = self._rng.choice(peers)
            try:
                self._pursue(account, name, client)
                if not self.paused and len(account.waiting) < IN_FLIGHT:
                    self._send(client, self._sign(account, height))
            except YumadError:
                continue

    def _pursue(self, account: _Account, name: str, client: ControlClient) -> None:
        """Strike out what became final; offer again what seems to be lost, oldest first."""
        while account.waiting:
            first = account.waiting[0]
            try:
                document = client.call("tx.show", id=first.id)
            except YumadError:
                document = None
            if document is None or document["state"] != "final":
                break
            self._note(first.id, FinalReport(name, document["height"], document["block_hash"]))
            account.waiting.popleft()
        for transfer in account.waiting:
            transfer.looks += 1
            if transfer.looks % RESEND_ROUNDS == 0:
                self._send(client, transfer)

    def _note(self, identity: str, report: FinalReport) -> None:
        earlier = self.reported.setdefault(identity, report)
        if (earlier.height, earlier.block_hash) != (report.height, report.block_hash):
            self.contradictions.append(f"{identity}: {earlier} and {report}")

    def _sign(self, account: _Account, height: int) -> Transfer:
        others = [other for other in self._accounts if other is not account]
        target = self._rng.choice(others)
        amount = Rao(self._rng.randint(1, MOST_MOVED))
        transaction = sign_transaction(
            self._domain,
            account.key,
            nonce=account.nonce,
            valid_until=height + VALID_FOR,
            call=self._call,
            args=[target.key.public_key, amount],
            tip=0,
        )
        data = encode_transaction(transaction)
        transfer = Transfer(
            signing_digest(self._domain, transaction).hex(),
            data,
            account.name,
            target.name,
            amount,
            self._spec.fees.of(self._call, len(data)),
        )
        account.nonce += 1
        account.waiting.append(transfer)
        self.sent[transfer.id] = transfer
        return transfer

    @staticmethod
    def _send(client: ControlClient, transfer: Transfer) -> None:
        """Offer it. A refusal says nothing lasting (a peer that is behind, a nonce gap): it is offered again later."""
        client.call("tx.send", transaction=transfer.data.hex())

    def expected_balances(self, included: Sequence[str]) -> dict[str, int]:
        """Free rao of each account after exactly the transfers `included`, all of which succeed."""
        genesis = dict(self._spec.balances)
        balances = {account.name: int(genesis.get(AccountId(account.key.public_key), 0)) for account in self._accounts}
        for identity in included:
            transfer = self.sent[identity]
            balances[transfer.source] -= transfer.amount + transfer.fee
            balances[transfer.target] += transfer.amount
        return balances


__all__ = ["FinalReport", "Transfer", "TransferLoad"]
