"""Keeps the validators of genesis subnets active in a swarm: sets their rows again with the derived keys (DESIGN 7).

On a real network validators do this by themselves; in a swarm nobody plays them, and after the activity cutoff their
stake would no longer count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..consensus.chain_spec import ChainSpec, SubnetSpec, WeightsSpec
from ..consensus.dev_accounts import dev_keypair
from ..consensus.rules.v1.calls.table import call_named
from ..consensus.signature import KeyPair
from ..consensus.ss58 import encode_address
from ..consensus.transaction import TransactionDomain, encode_transaction, sign_transaction
from ..consensus.types import Hash32, YumadError
from .control_client import ControlClient

if TYPE_CHECKING:
    from .swarm import Swarm

PER_ROUND: Final = 4
"""Transactions sent in one look: a real subnet has dozens of validators, and the pool is shared."""

_VALID_FOR: Final = 40
"""Blocks a transaction may wait."""


@dataclass(slots=True)
class _Row:
    subnet: SubnetSpec
    weights: WeightsSpec
    key: KeyPair
    due: int = 0


@dataclass(slots=True)
class WeightKeeper:
    """Sends through one peer's control socket; whatever goes wrong is tried again in a later round."""

    spec: ChainSpec
    rows: list[_Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [
            _Row(subnet, weights, dev_keypair(f"sn{subnet.netuid}/{weights.uid}"))
            for subnet in self.spec.subnets
            if not subnet.hyperparameters.commit_reveal_weights_enabled
            for weights in subnet.weights
            if weights.mechanism == 0
        ]
        self.rows = [
            row for row in self.rows if row.subnet.neurons[row.weights.uid].hotkey == row.key.public_key
        ]  # a spec made elsewhere may hold keys that nobody here has

    def keep(self, swarm: Swarm) -> None:
        """One look through the swarm's first authority, while that answers."""
        first = swarm.authorities[0]
        if first.client is not None and first.status:
            self.look(first.client, int(first.status["finalised"]))

    def look(self, client: ControlClient, height: int) -> int:
        """Send what is due at this height; how many transactions were taken."""
        sent = 0
        for row in self.rows:
            if sent >= PER_ROUND:
                break
            if height >= row.due:
                row.due = height + self._interval(row.subnet)
                sent += self._send(client, row, height)
        return sent

    @staticmethod
    def _interval(subnet: SubnetSpec) -> int:
        h = subnet.hyperparameters
        cutoff = max(1, h.activity_cutoff_factor_milli * h.tempo // 1000)
        return max(h.weights_set_rate_limit + 2, min(h.tempo, cutoff // 3))

    def _send(self, client: ControlClient, row: _Row, height: int) -> int:
        call = call_named("weights.set_weights")
        assert call is not None, "the rules have no set_weights call"
        try:
            context = client.call("tx.context", account=encode_address(row.key.public_key))
            domain = TransactionDomain(
                Hash32(bytes.fromhex(context["genesis_hash"])), bytes.fromhex(context["fork_digest"])
            )
            transaction = sign_transaction(
                domain,
                row.key,
                nonce=context["nonce"],
                valid_until=height + _VALID_FOR,
                call=call.number,
                args=[
                    row.subnet.netuid,
                    row.weights.uids,
                    row.weights.values,
                    row.subnet.hyperparameters.weights_version_key,
                ],
            )
            client.call("tx.send", transaction=encode_transaction(transaction).hex())
        except YumadError:
            row.due = height + 2
            return 0
        return 1
