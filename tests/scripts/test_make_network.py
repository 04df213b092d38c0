"""A generated network is a chain spec that follows from its seed, and a chain whose ledger adds up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from yumad.consensus.block import Body
from yumad.consensus.chain_spec import ChainSpec, decode_chain_spec, genesis_hash, genesis_hash_of_bytes
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.domains import Domain, digest
from yumad.consensus.rules.checked import checked_rules_for
from yumad.consensus.rules.interface import BlockContext, BlockOutcome
from yumad.consensus.rules.v1.calls.call import pack_u16
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.statement import VoteDomain
from yumad.consensus.transaction import TransactionDomain, encode_transaction, fork_digest, sign_transaction
from yumad.consensus.types import ZERO_HASH, Era, Hash32, Height, Slot

SUBNETS, NEURONS = 4, 60
SMALL = ("--subnets", str(SUBNETS), "--neurons", str(NEURONS))
TAO = 10**9
TEMPO = 5
"""Instead of 360, so that epochs and payouts fall into a few blocks."""


def make_network(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts/make_network.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def generated(root: Path, file: Path, *arguments: str) -> dict[str, Any]:
    """The report of a network written to `file`."""
    done = make_network(root, str(file), *SMALL, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def small_spec(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ChainSpec:
    """The small network of seed 1."""
    file = tmp_path_factory.mktemp("network") / "spec.cbor"
    generated(repository_root, file)
    return decode_chain_spec(file.read_bytes())


def test_small_network_is_a_valid_spec_of_the_size_it_reports(repository_root: Path, tmp_path: Path) -> None:
    report = generated(repository_root, tmp_path / "spec.cbor")
    data = (tmp_path / "spec.cbor").read_bytes()
    spec = decode_chain_spec(data)
    assert (report["subnets"], report["neurons"]) == (SUBNETS, NEURONS)
    assert len(spec.subnets) == SUBNETS
    assert sum(len(subnet.neurons) for subnet in spec.subnets) == NEURONS
    assert report["bytes"] == len(data)
    assert report["genesis_hash"] == genesis_hash_of_bytes(data).hex()
    assert report["issuance"] == str(spec.issuance)


def test_network_of_the_same_seed_is_the_same_and_of_another_seed_another(
    repository_root: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("one", "again", "other")]
    for file, seed in zip(files, ("7", "7", "8"), strict=True):
        generated(repository_root, file, "--seed", seed)
    one, again, other = (file.read_bytes() for file in files)
    assert one == again
    assert one != other


@pytest.mark.parametrize(("subnets", "neurons"), [("0", "60"), ("129", "1000"), ("4", "3"), ("4", "1025")])
def test_network_of_an_impossible_size_exits_two_and_writes_nothing(
    repository_root: Path, tmp_path: Path, subnets: str, neurons: str
) -> None:
    file = tmp_path / "spec.cbor"
    done = make_network(repository_root, str(file), "--subnets", subnets, "--neurons", neurons)
    assert done.returncode == 2
    assert "1 to 128 subnets" in done.stderr
    assert not file.exists()


class CheckedChain:
    """Executes blocks of a spec one after another, every invariant checked behind each."""

    def __init__(self, spec: ChainSpec) -> None:
        self.spec = spec
        self.rules = checked_rules_for(spec.rules_version)
        self.genesis = genesis_hash(spec)
        self.state = self.rules.build_genesis(spec)
        self.authorities = self.rules.genesis_authorities(spec, self.genesis)
        self.domain = TransactionDomain(self.genesis, fork_digest(self.genesis, spec.rules_version, ZERO_HASH))
        self.height = 0
        self.parent: Hash32 = self.genesis

    def block(self, *transactions: bytes) -> BlockOutcome:
        """The next block."""
        self.height += 1
        context = BlockContext(
            spec=self.spec,
            genesis_hash=self.genesis,
            domain=self.domain,
            vote_domain=VoteDomain(self.genesis),
            height=Height(self.height),
            era=Era(0),
            slot=Slot(self.height),
            parent_hash=self.parent,
            proposer_index=0,
            authorities=self.authorities,
        )
        outcome = self.rules.apply_block(self.state, context, Body(None, (), transactions))
        self.parent = digest(Domain.BLOCK, self.height.to_bytes(8, "big"), self.state.root())
        return outcome

    def sign(self, name: str, nonce: int, call: str, *args: Any) -> bytes:
        """A transaction of a development key."""
        entry = call_named(call)
        assert entry is not None
        key = dev_keypair(name)
        signed = sign_transaction(
            self.domain, key, nonce=nonce, valid_until=self.height + 100, call=entry.number, args=args
        )
        return encode_transaction(signed)


def test_blocks_of_a_small_network_with_epochs_and_trade_leave_a_sound_ledger(small_spec: ChainSpec) -> None:
    quick = tuple(
        replace(subnet, hyperparameters=replace(subnet.hyperparameters, tempo=TEMPO)) for subnet in small_spec.subnets
    )
    chain = CheckedChain(replace(small_spec, subnets=quick))
    before = int(chain.state.read("chain/issuance", 0))
    chain.block()  # genesis weights count as set in block 1
    codes = []
    validator = small_spec.subnets[0].neurons[0].hotkey
    for nonce in range(3 * TEMPO):
        row = small_spec.subnets[nonce % SUBNETS]
        weights = pack_u16([len(row.neurons) - 1]), pack_u16([65_535])
        outcome = chain.block(
            chain.sign("alice", nonce, "stake.add_stake", validator, nonce % (SUBNETS + 1), 2 * TAO),
            chain.sign(f"net/{row.netuid}/0", nonce // SUBNETS, "weights.set_weights", row.netuid, *weights, 0),
        )
        codes += [transaction.code for transaction in outcome.transactions]
    assert codes == [0] * len(codes)
    assert len(codes) == 6 * TEMPO
    assert all(int(chain.state.read("subnets/epoch_index", netuid)) >= 2 for netuid in range(1, SUBNETS + 1))
    assert int(chain.state.read("chain/issuance", 0)) > before


def test_two_executions_of_a_small_network_have_the_same_roots(small_spec: ChainSpec) -> None:
    def roots() -> list[Hash32]:
        chain = CheckedChain(small_spec)
        return [chain.state.root() for _ in range(5) if chain.block()]

    assert roots() == roots()
