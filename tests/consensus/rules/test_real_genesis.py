"""The real network's snapshot and a real subnet under these rules: sums to the rao, epochs equal to the pure ones."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from dev_chain import DevChain, check_conservation, dev_spec
from yumad.consensus.chain_spec import genesis_hash
from yumad.consensus.effects import BlockRef
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.rules.v1.reads import READS
from yumad.consensus.rules.v1.subnet_epoch import epoch_inputs
from yumad.consensus.rules.v1.weights import read_rows
from yumad.consensus.rules.v1.yuma.mechanisms import run_mechanisms
from yumad.consensus.types import ZERO_HASH, Era, Height, Slot
from yumad.consensus.working_chain import WorkingChain
from yumad.daemon.genesis_import import SNAPSHOT_TOTAL, Snapshot, read_snapshot, read_subnet

NETUID = 15


@cache
def snapshot_of(folder: Path) -> Snapshot:
    return read_snapshot((folder / "data/mainnet/finney_genesis_snapshot.json.gz").read_bytes())


@pytest.fixture
def chain(shared_folder: Path) -> DevChain:
    snapshot = snapshot_of(shared_folder)
    subnet = read_subnet((shared_folder / "data/mainnet/sn15_metagraph_4769998.npz").read_bytes(), DEV)
    base = dev_spec()
    return DevChain(
        replace(
            base,
            balances=tuple(sorted((*snapshot.balances, *base.balances))),
            stakes=tuple(sorted((*snapshot.stakes, *base.stakes))),
            subnets=(subnet,),
        )
    )


def test_real_genesis_holds_every_rao_of_the_snapshot(chain: DevChain) -> None:
    check_conservation(chain)
    extra = dev_spec().issuance
    assert chain.state.read("chain/issuance", 0) == SNAPSHOT_TOTAL + extra
    assert chain.state.rows("accounts/free") == 18_618 + len(dev_spec().balances)
    assert len(chain.state.key_table("hotkeys")) == 4096 + 4 + 256 + 1  # and the subnet owner's
    members = READS["metagraph"].answer(chain.state, NETUID)["members"]  # type: ignore[index, call-overload]
    assert len(members) == 256


def test_epochs_of_the_real_subnet_in_blocks_equal_the_pure_ones(chain: DevChain) -> None:
    for last in (9, 19):
        chain.skip_to(last)
        inputs = epoch_inputs(chain.state, NETUID, last + 1)
        epoch = chain.block().epochs[0]
        expected = run_mechanisms(inputs, epoch.emission, None)
        bonds = expected.mechanisms[0].bonds.to_lists()
        assert epoch.server_total == int(expected.server_emission.sum())
        assert epoch.server_total > 0
        assert read_rows(chain.state, f"sn/{NETUID}/0", "bond").to_lists() == bonds
    check_conservation(chain)


def test_every_read_of_the_finalised_state_ignores_blocks_above_it(chain: DevChain) -> None:
    genesis = genesis_hash(chain.spec)
    working = WorkingChain(chain.spec, genesis, chain.state, BlockRef(genesis, Height(0), Slot(0), ZERO_HASH))
    questions = [("chain", ()), ("subnet", (NETUID,)), ("metagraph", (NETUID,)), ("authorities", ()), ("subnets", ())]
    before = [READS[name].answer(working.state_at_finalised(), *args) for name, args in questions]
    authorities = rules_for(1).genesis_authorities(chain.spec, genesis)
    parent = genesis
    for height in range(1, 12):
        block, _ = working.build(parent, Slot(height), Era(0), 0, authorities, [])
        parent = block.hash
    after = [READS[name].answer(working.state_at_finalised(), *args) for name, args in questions]
    ahead = [READS[name].answer(working.state_at_head(), *args) for name, args in questions]
    assert after == before
    assert ahead != before
