#!/usr/bin/env python3
"""How fast a peer re-executes a chain: near-empty blocks on a spec, executed, finalised and stored as sync does.

    scripts/bench_replay.py SPEC [--blocks 2000] [--json]

SPEC is a file of `yumad genesis import`. One authority makes the blocks first (each with one transfer, heartbeats and
certificates as on a real chain); then a fresh store replays them in batches of 64, every root compared, every
transaction signature checked, each batch one durable commit. Prints blocks per second and the process's memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from swarm_run import enter_environment

enter_environment("bench_replay")

from yumad.consensus.authority import AuthoritySet  # noqa: E402
from yumad.consensus.block import Block  # noqa: E402
from yumad.consensus.certificate import Certificate, certificate_from_votes  # noqa: E402
from yumad.consensus.chain_spec import ChainSpec, encode_chain_spec, genesis_hash_of_bytes  # noqa: E402
from yumad.consensus.dev_accounts import dev_authority, dev_keypair  # noqa: E402
from yumad.consensus.effects import BlockRef  # noqa: E402
from yumad.consensus.rules.registry import rules_for  # noqa: E402
from yumad.consensus.rules.v1.calls.table import call_named  # noqa: E402
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, signing_digest  # noqa: E402
from yumad.consensus.transaction import encode_transaction, sign_transaction  # noqa: E402
from yumad.consensus.types import ZERO_HASH, Era, Height, Slot, View  # noqa: E402
from yumad.consensus.working_chain import WorkingChain  # noqa: E402
from yumad.daemon.chain_home import create_chain, genesis_hash_of_folder, open_chain, the_chain_of  # noqa: E402
from yumad.daemon.metrics import resident_bytes  # noqa: E402
from yumad.daemon.spec_file import read_spec_file  # noqa: E402
from yumad.storage.home import Home  # noqa: E402

BATCH = 64
"""As in range sync."""


class Maker:
    """A lone development authority that builds a chain in memory."""

    def __init__(self, spec: ChainSpec) -> None:
        self.authority = dev_authority(1, spec.name, spec.salt)
        self.spec = replace(spec, authorities=(self.authority.spec,))
        self.data = encode_chain_spec(self.spec)
        self.genesis_hash = genesis_hash_of_bytes(self.data)
        rules = rules_for(self.spec.rules_version)
        opening = BlockRef(self.genesis_hash, Height(0), Slot(0), ZERO_HASH)
        self.chain = WorkingChain(self.spec, self.genesis_hash, rules.build_genesis(self.spec), opening)
        self.authorities = rules.genesis_authorities(self.spec, self.genesis_hash)
        self.view = 0
        self.nonces = {"alice": 0, "hotkey": 0}

    def make(self, count: int) -> list[tuple[Block, Certificate, AuthoritySet]]:
        """`count` blocks with their certificates and the set that decides each."""
        made: list[tuple[Block, Certificate, AuthoritySet]] = []
        for height in range(1, count + 1):
            era = Era(self.spec.timing.era_of(height))
            self.view = 1 if (height - 1) % self.spec.era_blocks == 0 else self.view + 1
            parent = self.chain.finalised
            carried = made[-2][1] if len(made) >= 2 and made[-2][0].header.era == era else None
            block, outcome = self.chain.build(
                parent.hash, Slot(height), era, 0, self.authorities, self._transactions(height), carried
            )
            certificate = self._certificate(block, era)
            made.append((block, certificate, self.authorities))
            self.chain.finalise(block.hash)
            if outcome.next_authorities is not None:
                self.authorities = outcome.next_authorities
        return made

    def _transactions(self, height: int) -> list[bytes]:
        bob = dev_keypair("bob").public_key
        transactions = [self._sign("alice", "balances.transfer_keep_alive", [bob, 1_000_000 + height], height)]
        if (height - 1) % self.spec.era_blocks == 0:
            transactions.append(self._sign("hotkey", "authority.heartbeat", [b""], height))
        return transactions

    def _sign(self, who: str, call: str, args: list[object], height: int) -> bytes:
        key = self.authority.hotkey if who == "hotkey" else dev_keypair(who)
        described = call_named(call)
        assert described is not None, call
        transaction = sign_transaction(
            self.chain.transaction_domain,
            key,
            nonce=self.nonces[who],
            valid_until=height + 10,
            call=described.number,
            args=args,
        )
        self.nonces[who] += 1
        return encode_transaction(transaction)

    def _certificate(self, block: Block, era: Era) -> Certificate:
        statement = Statement(Kind.FINALIZE, era, View(self.view), View(self.view - 1), block.hash)
        message = signing_digest(VoteDomain(self.genesis_hash), statement)
        return certificate_from_votes([SignedStatement(statement, 0, self.authority.key.sign(message))])


def replay(data: bytes, chain: list[tuple[Block, Certificate, AuthoritySet]], folder: Path) -> float:
    """Seconds to execute, finalise and store the chain in a fresh home."""
    home = Home(folder)
    home.prepare()
    create_chain(home, data)
    place = the_chain_of(home)
    opened = open_chain(place, genesis_hash_of_folder(place))
    started = time.perf_counter()
    try:
        for start in range(0, len(chain), BATCH):
            batch = chain[start : start + BATCH]
            for block, _, authorities in batch:
                opened.working.execute(block, authorities)
            done = tuple(opened.working.finalise(block.hash) for block, _, _ in batch)
            certificates = {block.header.height: certificate for block, certificate, _ in batch}
            last = batch[-1][1]
            opened.store.finalise(done, last, last.statement.view, certificates)
    finally:
        opened.store.close()
    return time.perf_counter() - started


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--profile", action="store_true", help="print where the replay's time goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    maker = Maker(read_spec_file(options.spec).spec)
    started = time.perf_counter()
    chain = maker.make(options.blocks)
    built = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        if options.profile:
            import cProfile
            import pstats

            profiler = cProfile.Profile()
            seconds = profiler.runcall(replay, maker.data, chain, Path(folder) / "home")
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
        else:
            seconds = replay(maker.data, chain, Path(folder) / "home")
    report = {
        "blocks": options.blocks,
        "seconds": round(seconds, 3),
        "blocks_per_second": round(options.blocks / seconds, 1),
        "build_blocks_per_second": round(options.blocks / built, 1),
        "rss_mb": round(resident_bytes() / 1e6, 1),
    }
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name:<26}{value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
