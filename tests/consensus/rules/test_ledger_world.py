"""Any sequence of calls, good and bad, with epochs between: no invariant breaks, no failed call leaves an effect.

The state machine is small here; `YUMAD_LEDGER_EXAMPLES` and `YUMAD_LEDGER_STEPS` make it as long as one likes.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from dev_chain import DevChain, account
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from ledger_mutants import VECTORS, WORLD, Mutant
from ledger_world import LedgerWorld
from yumad.consensus.rules.checked import BrokenInvariantError
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.schema_tables import POSITIONS
from yumad.consensus.rules.v1.stakes import decrease_position, increase_position, position, position_key
from yumad.daemon.vector_files import check_file

EXAMPLES = int(os.environ.get("YUMAD_LEDGER_EXAMPLES", "12"))
STEPS = int(os.environ.get("YUMAD_LEDGER_STEPS", "40"))

ledger_calls = st.integers(0, 2**32 - 1)
"""Seeds: what a block offers follows from one, so that shrinking looks for fewer blocks, not for smaller numbers."""


class LedgerMachine(RuleBasedStateMachine):
    """A world whose every block is checked by its rules (`checked_rules_for`)."""

    def __init__(self) -> None:
        super().__init__()
        self.world = LedgerWorld(Random(0))

    @rule(seed=ledger_calls)
    def block_with_calls(self, seed: int) -> None:
        self._draw_from(seed)
        self.world.live()

    @rule(seed=ledger_calls)
    def one_call(self, seed: int) -> None:
        """Alone in its block, so that a failure is compared with the block without it."""
        self._draw_from(seed)
        self.world.block([self.world.draws.draw()])

    @rule(blocks=st.integers(1, 12))
    def wait(self, blocks: int) -> None:
        """Epochs, and delays that run out."""
        for _ in range(blocks):
            self.world.block([])

    def _draw_from(self, seed: int) -> None:
        self.world.rng = self.world.draws.rng = Random(seed)

    def teardown(self) -> None:
        """Rules that check nothing come to the same root from the same bodies."""
        again = DevChain(self.world.chain.spec)
        for body in self.world.bodies:
            again.block(*body.transactions)
        assert again.state.root() == self.world.chain.state.root()


TestLedgerMachine = pytest.mark.filterwarnings("default")(LedgerMachine.TestCase)
LedgerMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_world_meets_most_calls_and_runs_epochs() -> None:
    """The machine would prove little if its calls all failed or no epoch came."""
    world = LedgerWorld(Random(11))
    for _ in range(250):
        world.live()
    succeeded = {call for call, result in world.results if result == "ok"}
    assert world.epochs >= 40
    assert len(succeeded) >= 35


def test_share_lost_in_its_pools_rounding_outlives_the_pool_and_is_worth_nothing() -> None:
    """Found by the world: bob's dust was too small for the sum of shares, and alice's sale emptied the pool."""
    chain = DevChain()
    hotkey, alice, bob = account("neuron-1"), account("alice"), account("bob")
    increase_position(chain.state, 1, hotkey, alice, 10**10)
    row = chain.state.key_table(POSITIONS).open(position_key(1, hotkey, bob))
    chain.state.write_wide("positions/share_mantissa", row, 10**20 + 1)
    chain.state.write("positions/share_exponent", row, -32)
    decrease_position(chain.state, 1, hotkey, alice, 10**10)
    assert position(chain.state, 1, hotkey, bob) == 0
    assert not [line for line in broken_invariants(chain.state, chain.spec) if "share" in line or "pool" in line]


@pytest.mark.parametrize("mutant", WORLD, ids=[mutant.name for mutant in WORLD])
def test_planted_bug_breaks_the_world(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    assert _breaks(mutant)


def test_world_without_a_bug_does_not_break() -> None:
    """The control: the same seeds, for as long."""
    assert not _breaks(Mutant("none", lambda _: None, seeds=2))


def _breaks(mutant: Mutant) -> bool:
    for seed in range(mutant.seeds):
        world = LedgerWorld(Random(seed))
        try:
            for _ in range(mutant.blocks):
                world.live()
        except (BrokenInvariantError, AssertionError):
            return True
    return False


@pytest.mark.parametrize("mutant", VECTORS, ids=[mutant.name for mutant in VECTORS])
def test_planted_bug_differs_from_the_vectors(
    mutant: Mutant, repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(repository_root / f"tests/vectors/{name}_small.jsonl.gz") for name in ("coinbase", "primitives")]
    assert all(report.checked == report.matched for report in map(check_file, files))
    mutant.plant(monkeypatch)
    assert any(report.checked != report.matched for report in map(check_file, files))
