"""`yumad verify`: re-execute the chain of a home from genesis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .output import CommandError, Exit, print_json, reporting
from .progress import progress_bar


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def verify(
        home: Annotated[Path, typer.Option(help="Home of the peer; its daemon must be stopped.")] = Path("~/.yumad"),
        invariants: Annotated[
            bool, typer.Option("--invariants", help="Check after each block that the whole ledger adds up; slower.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    ) -> None:
        """Re-execute the stored chain from genesis and name the first differing height and column."""
        with reporting(as_json):
            from ...storage.chain import ChainStore
            from ...storage.home import Home
            from ..chain_home import genesis_hash_of_folder, the_chain_of
            from ..verify import verify_chain

            folder = Home(home)
            chain = the_chain_of(folder)
            lock = folder.lock()
            try:
                store = ChainStore.open(chain.chain_database, genesis_hash_of_folder(chain), read_only=True)
                started = time.monotonic()
                try:
                    with progress_bar("verify", unit="blocks", quiet=as_json) as advance:
                        report = verify_chain(store, advance, invariants=invariants)
                finally:
                    store.close()
            finally:
                lock.release()
            seconds = time.monotonic() - started
            difference = report.difference
            if as_json:
                print_json(
                    {
                        "genesis_hash": report.genesis_hash.hex(),
                        "finalised": report.finalised,
                        "verified": report.verified,
                        "state_root": report.state_root.hex(),
                        "blocks_per_second": round(report.verified / seconds, 1) if seconds else None,
                        "first_difference": None
                        if difference is None
                        else {"height": difference.height, "column": difference.column, "reason": difference.reason},
                    }
                )
                if difference is not None:
                    raise SystemExit(Exit.REFUSED)
            elif difference is None:
                print(
                    f"{report.verified} blocks re-executed in {seconds:.1f} s: every root is right"
                    f"{' and the ledger adds up after each' if invariants else ''}.\n"
                    f"state root at {report.finalised}: {report.state_root.hex()}"
                )
            else:
                raise CommandError(
                    "differs",
                    f"first difference at height {difference.height}, {difference.column}: {difference.reason}",
                    remedy="restore the chain folder from a backup, or delete it to sync anew (keep `authority/`)",
                )
