#!/usr/bin/env python3
"""How fast the ledger is on a generated network of the real one's size: blocks, replay, memory, metagraph.

    scripts/bench_ledger.py [--quick] [--profile] [--json]

Rows, all of one run; ratios are to C, this machine's yardstick, measured in the same run:
  block            an empty block without an epoch, state root included; about three subnets buy
  block_all_buy    the same where all 128 subnets buy
  scaling          the first row for 16, 64 and 128 subnets
  replay           blocks with 20 transactions, a third of them weights, and epochs: executed again as sync does, with
                   every root, the durable commits and the index; the better of two passes; `final` leaves out the
                   transactions' signatures
  metagraph        `subnet metagraph` of 256 uids over a peer's control socket
  memory           resident memory of a peer that runs the network

--quick measures fewer blocks; --profile prints where the replay's time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import pstats
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from bench_epoch import load_yardstick
from make_network import HOLDERS, Shape, holder_name, network_spec, validator_name, validators_of
from swarm_run import enter_environment

enter_environment("bench_ledger")

import numpy as np  # noqa: E402
from lone_authority import BATCH, LoneAuthority, replay, signed_call, with_authority  # noqa: E402
from yumad.consensus.block import Body  # noqa: E402
from yumad.consensus.chain_spec import ChainSpec  # noqa: E402
from yumad.consensus.dev_accounts import dev_keypair  # noqa: E402
from yumad.consensus.rules.interface import BlockOutcome  # noqa: E402
from yumad.consensus.rules.v1.calls.call import pack_u16  # noqa: E402
from yumad.consensus.transaction import TransactionDomain  # noqa: E402
from yumad.consensus.types import Micros  # noqa: E402
from yumad.daemon.simulate.memory_chain import MemoryChain  # noqa: E402

if TYPE_CHECKING:
    from yumad.consensus.state.state import State

REAL_SLOT = 12.0
"""Seconds of a block on the real network: replay is measured against it."""

TRANSACTIONS = 20
WEIGHTS = 7
TEMPO = 360

PASSES = 2
"""Of a replay: what another process takes from the machine is in the worse one."""


def stagger(state: State) -> None:
    """Spread the epochs over the tempo, as subnets that were created one after another have them."""
    count = state.rows("subnets/exists")
    state.write("subnets/last_epoch_block", slice(0, count), 0)
    for netuid in range(1, count):
        state.write("subnets/blocks_since_last_step", netuid, 0)
        state.write("subnets/pending_epoch_at", netuid, netuid * TEMPO // count + 1)


class Grower(Protocol):
    """What traffic needs to know of the chain that it is for."""

    @property
    def spec(self) -> ChainSpec: ...
    @property
    def domain(self) -> TransactionDomain: ...
    @property
    def height(self) -> int: ...


MEASURED_SUBNETS = 10
"""The fullest subnets: their metagraphs are asked for in turn."""


class Chain(MemoryChain):
    """A network in memory: builds blocks, or executes given ones, without votes."""

    def __init__(self, spec: ChainSpec) -> None:
        super().__init__(with_authority(spec)[0])
        stagger(self.state)
        gc.collect()
        gc.freeze()  # as a peer does when its chain is loaded

    def build(self, candidates: list[bytes]) -> tuple[Body, BlockOutcome]:
        """Make and keep a block."""
        selection = self.rules.select(self.state, self.context(), candidates)
        self.advance(selection.outcome, self.state.root())
        return selection.body, selection.outcome

    def execute(self, body: Body, *, skip_signatures: bool) -> BlockOutcome:
        """Execute a block in a scope of its own, with its root and what storage would write, as a peer does."""
        mark = self.state.begin()
        outcome = self.rules.apply_block(self.state, self.context(), body, skip_signatures)
        root = self.state.root()
        self.state.changes_since(mark)
        self.state.commit(mark)
        self.advance(outcome, root)
        return outcome


class Traffic:
    """Transactions of a network at work: weights of validators, transfers, purchases and sales of stake."""

    def __init__(self, chain: Grower, seed: int) -> None:
        self.chain = chain
        self.rng = Random(seed)
        self._validators = validators_of(chain.spec)
        self.rng.shuffle(self._validators)
        self._nonces: dict[str, int] = {}
        self._next = 0

    def block(self) -> list[bytes]:
        """Candidates of one block."""
        return [*(self._weights() for _ in range(WEIGHTS)), *(self._trade() for _ in range(TRANSACTIONS - WEIGHTS))]

    def _weights(self) -> bytes:
        netuid, uid, targets = self._validators[self._next % len(self._validators)]
        self._next += 1
        values = [self.rng.randrange(65_536) for _ in targets]
        name = validator_name(netuid, uid)
        return self._sign(name, "weights.set_weights", netuid, pack_u16(targets), pack_u16(values), 0)

    def _trade(self) -> bytes:
        name = holder_name(self.rng.randrange(HOLDERS))
        netuid, uid, _ = self.rng.choice(self._validators)
        hotkey = dev_keypair(validator_name(netuid, uid)).public_key
        if self.rng.random() < 0.4:
            receiver = dev_keypair(holder_name(self.rng.randrange(HOLDERS))).public_key
            return self._sign(name, "balances.transfer_keep_alive", receiver, 10**6 + self.rng.randrange(10**6))
        return self._sign(name, "stake.add_stake", hotkey, netuid, 10**8 + self.rng.randrange(10**7))

    def _sign(self, name: str, call: str, *args: Any) -> bytes:
        nonce = self._nonces.get(name, 0)
        self._nonces[name] = nonce + 1
        until = self.chain.height + 100
        return signed_call(self.chain.domain, dev_keypair(name), call, *args, nonce=nonce, valid_until=until)


def empty_blocks(shape: Shape, blocks: int) -> dict[str, Any]:
    """Milliseconds of blocks without transactions and without an epoch, roots included."""
    chain = Chain(network_spec(shape))
    for netuid in range(1, chain.state.rows("subnets/exists")):
        chain.state.write("subnets/pending_epoch_at", netuid, 0)
    chain.execute(Body(None, (), ()), skip_signatures=True)  # indexes are built at the first use
    times, buyers = [], []
    for _ in range(blocks):
        started = time.perf_counter()
        outcome = chain.execute(Body(None, (), ()), skip_signatures=True)
        times.append((time.perf_counter() - started) * 1000)
        buyers.append(int(np.count_nonzero(chain.state.array("subnets/excess_tao"))))
        assert not outcome.epochs
    return {"ms_min": min(times), "ms_median": statistics.median(times), "buyers": statistics.median(buyers)}


def replayed(shape: Shape, blocks: int, *, profile: bool) -> dict[str, Any]:
    """Milliseconds of a block with transactions and epochs, replayed as sync does after one batch to warm up."""
    maker = LoneAuthority(network_spec(shape), stagger)
    traffic = Traffic(maker, shape.seed)
    outcomes = [maker.make(traffic.block()) for _ in range(BATCH + blocks)][BATCH:]
    transactions = [transaction for outcome in outcomes for transaction in outcome.transactions]
    rows: dict[str, Any] = {
        "blocks": blocks,
        "epochs": sum(len(outcome.epochs) for outcome in outcomes),
        "transactions": len(transactions),
        "failed_calls": sum(1 for transaction in transactions if transaction.code),
    }
    for name, skip in (("final", True), ("with_signatures", False)):
        passes = []
        for _ in range(PASSES):
            with tempfile.TemporaryDirectory(prefix="yumad-ledger-") as folder:
                passes.append(replay(maker, Path(folder), skip_signatures=skip, warm_up=BATCH))
        milliseconds = min(passes) * 1000 / blocks
        rows[name] = {"ms_per_block": milliseconds, "times_real": REAL_SLOT * 1000 / milliseconds}
    if profile:
        profiler = cProfile.Profile()
        with tempfile.TemporaryDirectory(prefix="yumad-ledger-") as folder:
            profiler.runcall(replay, maker, Path(folder), warm_up=BATCH)
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    return rows


def running_peer(shape: Shape, requests: int) -> dict[str, Any]:
    """Memory of a peer that makes blocks of the network, and times of `metagraph` over its control socket."""
    from yumad.daemon.swarm import Swarm, SwarmPlan

    spec = replace(network_spec(shape), slot_length=Micros(1_000_000))
    with tempfile.TemporaryDirectory(prefix="yumad-ledger-") as folder:
        swarm = Swarm(SwarmPlan(Path(folder), spec, 1, 0))
        try:
            swarm.make()
            swarm.start()
            peer = swarm.authorities[0]
            deadline = time.monotonic() + 120
            while not (swarm.poll(peer) and peer.status["finalised"] >= 5):
                if time.monotonic() > deadline:
                    raise SystemExit(f"bench_ledger: the peer made no blocks\n{peer.last_lines()}")
                time.sleep(0.2)
            assert peer.client is not None and peer.process is not None
            times, members = [], []
            full = sorted(spec.subnets, key=lambda subnet: -len(subnet.neurons))[:MEASURED_SUBNETS]
            for request in range(requests):
                started = time.perf_counter()
                answer = peer.client.call("metagraph", netuid=full[request % len(full)].netuid)["answer"]
                times.append((time.perf_counter() - started) * 1000)
                members.append(len(answer["members"]))
            resident = _resident(peer.process.pid)
        finally:
            swarm.stop()
    times.sort()
    return {
        "metagraph": {
            "uids": min(members),
            "ms_p50": times[len(times) // 2],
            "ms_p95": times[len(times) * 95 // 100],
            "requests": requests,
        },
        "memory": {"rss_mb": resident / 1e6, "peak_mb": _peak / 1e6},
    }


_peak = 0.0


def _resident(process: int) -> float:
    """Resident bytes of a process now; its peak is noted beside."""
    global _peak
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    _peak = int(fields["VmHWM"].split()[0]) * 1024
    return int(fields["VmRSS"].split()[0]) * 1024


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--only", choices=("block", "replay", "peer"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    blocks = 15 if options.quick else 60
    work = load_yardstick()
    yardstick = min(work() for _ in range(15))
    report: dict[str, Any] = {"calibrate_ms": yardstick}
    if options.only in (None, "block"):
        for name, shape in (("block", Shape()), ("block_all_buy", Shape(all_buy=True))):
            row = empty_blocks(shape, blocks)
            report[name] = row | {"ratio": row["ms_median"] / yardstick, "ratio_min": row["ms_min"] / yardstick}
        scaling = {}
        for subnets in (16, 64, 128):
            row = empty_blocks(Shape(subnets, subnets * 234), blocks)
            scaling[str(subnets)] = {"ms_median": row["ms_median"], "ms_per_subnet": row["ms_median"] / subnets}
        report["scaling"] = scaling
    if options.only in (None, "replay"):
        report["replay"] = replayed(Shape(), 60 if options.quick else 360, profile=options.profile)
    if options.only in (None, "peer"):
        report |= running_peer(Shape(), 60 if options.quick else 200)
    print(json.dumps(report, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
