"""A state with two markets and root, on which staking calls run one by one, without blocks between them.

Subnet 1 has 1000 TAO and 1000 alpha in its pool, subnet 2 500 TAO and 1000 alpha. `neuron-0…3` of alice are on both.
What a call does is then exact: no emission, no transaction fee, no injection comes between.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dev_chain import DevChain, account, dev_spec, subnet, total_tao
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.interface import BlockContext, Event
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.errors import CallError
from yumad.consensus.rules.v1.events import event_name
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.stakes import position
from yumad.consensus.state.state import State
from yumad.consensus.types import AccountId, Netuid, Rao

HOT, HOT_2 = account("neuron-1"), account("neuron-2")
ALICE, BOB, CAROL = account("alice"), account("bob"), account("carol")
AUTHORITY = account("authority-1/hot")


@dataclass
class StakeWorld:
    """Runs calls on the state of a chain that stands at its genesis."""

    chain: DevChain = field(default_factory=lambda: DevChain(dev_spec(subnets=(subnet(), second_subnet()))))

    @property
    def state(self) -> State:
        return self.chain.state

    @property
    def ctx(self) -> BlockContext:
        return self.chain.context()

    def run(self, name: str, call: str, *args: Any) -> list[Event]:
        """What a call does; one that fails raises CallError and leaves no effect, as in a block."""
        entry = call_named(call)
        assert entry is not None, call
        mark = self.state.begin()
        try:
            events = entry.execute(self.state, self.ctx, account(name), args)
        except CallError:
            self.state.rollback(mark)
            raise
        self.state.commit(mark)
        assert self.adds_up()
        return list(events)

    def attempt(self, name: str, call: str, *args: Any) -> str:
        """Name of a call's result."""
        try:
            self.run(name, call, *args)
        except CallError as failed:
            return failed.number.name
        return "ok"

    def adds_up(self) -> bool:
        """Whether the ledger is sound."""
        assert broken_invariants(self.state, self.chain.spec) == []
        return total_tao(self.chain) == self.number("chain/issuance", 0)

    def number(self, column: str, row: int) -> int:
        """One integer of the state."""
        return int(self.state.read(column, row))

    def of_subnet(self, netuid: int, *names: str) -> list[int]:
        """Numbers of a subnet."""
        return [self.number(f"subnets/{name}", netuid) for name in names]

    def set_subnet(self, netuid: int, **values: int) -> None:
        """Write numbers of a subnet; whoever changes a reserve answers for the account."""
        for name, value in values.items():
            self.state.write(f"subnets/{name}", netuid, value)

    def held(self, coldkey: AccountId, netuid: int, hotkey: AccountId = HOT) -> int:
        return position(self.state, netuid, hotkey, coldkey)

    def free(self, coldkey: AccountId) -> int:
        return free_balance(self.state, coldkey)


def second_subnet() -> Any:
    """Subnet 2: alpha costs half a TAO."""
    fields = {"netuid": Netuid(2), "tao_reserve": Rao(500 * TAO), "alpha_reserve": Rao(1000 * TAO)}
    neurons = tuple(replace(neuron, stake=Rao(TAO)) for neuron in subnet().neurons)
    return replace(subnet(), **fields, neurons=neurons)


def names(events: list[Event]) -> list[str]:
    """Names of events in order."""
    return [event_name(happened.number) for happened in events]
