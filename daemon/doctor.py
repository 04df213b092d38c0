"""`yumad doctor`: looks at a home and its machine the way a helpful operator would (DESIGN section 7)."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Final

from ..consensus.signature_check import check_signatures
from ..consensus.types import ZERO_HASH, AuthorityKey, Hash32, YumadError
from ..protocols.bootstrap import parse_bootstrap
from ..storage.authority_key import list_authorities, read_authority_key
from ..storage.chain import ChainStore
from ..storage.guard import VoteGuard
from ..storage.home import ChainFolder, Home
from .chain_home import genesis_hash_of_folder, the_chain_of
from .config import load_config
from .doctor_finding import Finding, Look, Problem, guarded
from .doctor_running import RunningDaemon
from .doctor_serving import axon_database, coldkeys, descriptors, hotkeys, plugins

__all__ = ["Finding", "examine"]

LEAST_FREE: Final = 1 << 30
"""A gibibyte: a year of headers, and room for the database to grow while it is written."""


def examine(home: Home) -> list[Finding]:
    """All findings, in the order in which a start would meet them. Never raises for what it finds."""
    running = RunningDaemon(home)
    checks: list[tuple[str, Look]] = [
        *(
            (name, partial(look, home))
            for name, look in (
                ("signatures", _signatures),
                ("home", _home),
                ("settings", _settings),
                ("disk", _disk),
                ("clock", _clock),
                ("daemon", _daemon),
                ("port", _port),
                ("chain", _chain),
                ("authority", _authority),
                ("hotkeys", hotkeys),
                ("coldkeys", coldkeys),
                ("plugins", plugins),
                ("axon database", axon_database),
            )
        ),
        ("descriptors", descriptors),
        *running.checks(),
    ]
    return [guarded(name, look) for name, look in checks]


def _signatures(home: Home) -> Iterator[str]:
    yield f"{check_signatures()} edge cases of Ed25519 judged as the rules expect"


def _home(home: Home) -> Iterator[str]:
    if not home.path.exists():
        yield f"{home.path} does not exist yet: `yumad init` or `yumad join` makes it"
        return
    home.prepare()
    yield str(home.path)


def _settings(home: Home) -> Iterator[str]:
    config = load_config(home.path, {})
    for text in config.bootstrap:
        parse_bootstrap(text)
    yield f"{sum(origin != 'default' for origin in config.origins.values())} settings differ from the defaults"


def _disk(home: Home) -> Iterator[str]:
    place = home.path if home.path.exists() else home.path.parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE:
        raise Problem(f"{free >> 20} MiB free at {place}", "free some space: a full disk stops the peer")
    yield f"{free >> 30} GiB free"


def _clock(home: Home) -> Iterator[str]:
    year = time.gmtime().tm_year
    if not 2024 <= year <= 2100:
        raise Problem(f"the clock says year {year}", "set the clock: slots are counted from wall time")
    yield time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _daemon(home: Home) -> Iterator[str]:
    if not home.path.exists():
        return
    try:
        home.lock().release()
    except YumadError as error:
        yield f"running: {error.message}"
    else:
        yield "not running"


def _port(home: Home) -> Iterator[str]:
    for address in load_config(home.path, {}).listen:
        parts = address.split("/")
        if len(parts) < 5 or parts[1] not in ("ip4", "ip6") or parts[3] != "tcp":
            yield address
            continue
        family = socket.AF_INET6 if parts[1] == "ip6" else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((parts[2], int(parts[4])))
            except (OSError, ValueError, OverflowError) as error:
                yield f"{address} is taken ({error}): fine if this home's daemon has it"
            else:
                yield f"{address} is free"


def _chain(home: Home) -> Iterator[str]:
    if not home.chains.is_dir():
        return
    folder = the_chain_of(home)
    store = ChainStore.open(folder.chain_database, genesis_hash_of_folder(folder), read_only=True)
    try:
        point = store.finalised()
        yield f"{folder.path.name}, block {point.height}, {store.size_bytes() >> 10} KiB"
        fault = store.verify_columns()
        if fault is not None:
            raise Problem(f"the stored state is damaged: {fault}", "delete the chain folder to sync anew")
        yield "every state column is whole"
    finally:
        store.close()


def _authority(home: Home) -> Iterator[str]:
    for folder in list_authorities(home.authority_folder):
        key = read_authority_key(folder)
        path = folder / "guard.db"
        if not path.exists():
            raise Problem(
                f"key {folder.name} has no vote guard",
                "restore authority/ from a backup; without it the key abstains until a later era",
            )
        guard = VoteGuard.open(path, AuthorityKey(key.public_key))
        try:
            born = guard.born
            seen = [s for chain in _chains(home) for s in guard.second_signer_statements(chain, ZERO_HASH)]
        finally:
            guard.close()
        if seen:
            last = seen[-1].statement
            raise Problem(
                f"key {folder.name} was used by another process, or its guard is an old copy: {len(seen)} statements "
                f"unknown here, the last a {last.kind.name.lower()} of era {last.era} view {last.view}",
                "run a key in one place only; here it abstains until an era that opened after the discovery",
            )
        yield f"key {folder.name} with its guard"
        if born is not None:
            when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(born // 1_000_000))
            yield f"the guard was made anew at {when}: the key votes in eras opened after that"


def _chains(home: Home) -> list[Hash32]:
    """Genesis hashes of the chains in the home, the empty ones and the unreadable left out."""
    found = []
    for path in sorted(home.chains.glob("*")):
        try:
            found.append(genesis_hash_of_folder(ChainFolder(path)))
        except YumadError:  # the chain check says so
            continue
    return found
