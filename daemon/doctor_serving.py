"""Checks of `yumad doctor` about serving and validating: keys, plugins, what is kept, descriptors (AXON R40, 4.2).

They look at files only, so they work whether the daemon runs or not.
"""

from __future__ import annotations

import json
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..storage.axon_database import FILE_NAME as AXON_FILE
from ..storage.axon_database import SCHEMA
from ..storage.database import Database
from ..storage.home import Home
from ..storage.keystore import Keystore
from ..storage.secret_file import MAX_SECRET_BYTES
from .config import load_config
from .doctor_finding import Problem
from .hotkeys import DEV_PREFIX, PASSWORD_VARIABLE, HotkeyError
from .plugins.settings import FILE_NAME as PLUGIN_FILE
from .plugins.settings import PluginSettings, check_file, read_settings

LEAST_DESCRIPTORS: Final = 1024
"""Open files: 64 connections, databases, plugins and their sockets use a few hundred."""

_PLAIN_SECRETS: Final = ("secretPhrase", "secretSeed", "privateKey")
"""Fields of other tools' key files that hold a secret as it is."""


def descriptors() -> Iterator[str]:
    """How many files the peer may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_DESCRIPTORS:
        raise Problem(
            f"a process may have {soft} files open, at least {LEAST_DESCRIPTORS} are needed",
            f"start the peer after `ulimit -n {LEAST_DESCRIPTORS * 4}`, or with LimitNOFILE in its service unit",
        )
    yield f"{soft if soft != resource.RLIM_INFINITY else 'any number of'} open files"


def plugins(home: Home) -> Iterator[str]:
    """Whether the settings of each plugin can be used and its file is there."""
    found = plugin_settings(home)
    for name, settings in found.items():
        if settings.enabled:
            check_file(settings)
        yield f"{name} ({settings.role} of subnet {settings.netuid}{'' if settings.enabled else ', stopped'})"


def plugin_settings(home: Home) -> dict[str, PluginSettings]:
    """Settings of all plugins by name. Raises PluginSettingsError for those that cannot be used."""
    folders = sorted(home.plugins.iterdir()) if home.plugins.is_dir() else []
    return {folder.name: read_settings(folder) for folder in folders if (folder / PLUGIN_FILE).is_file()}


def hotkeys(home: Home) -> Iterator[str]:
    """Whether the keys that the peer signs with can be opened, by it alone."""
    for reference, wallets in _references(home):
        if reference.startswith(DEV_PREFIX):
            yield f"{reference} (anybody knows that key)"
            continue
        wallet, slash, name = reference.partition("/")
        if not (wallet and slash and name):
            raise HotkeyError(f"hotkey {reference!r} is not a key", remedy="write dev:NAME or WALLET/HOTKEY")
        store = Keystore(wallets)
        encrypted = store.needs_password(wallet, name)
        path = store.root / wallet / "hotkeys" / name
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Problem(f"{path} can be read by other users of this machine", f"close it: chmod 600 {path}")
        yield f"{reference}{f' (encrypted: start the peer with {PASSWORD_VARIABLE})' if encrypted else ''}"


def coldkeys(home: Home) -> Iterator[str]:
    """Whether a coldkey lies in the clear where hotkeys serve: who breaks in would have the funds as well (4.2)."""
    roots = dict.fromkeys(
        wallets.expanduser().absolute()
        for reference, wallets in _references(home)
        if not reference.startswith(DEV_PREFIX)
    )
    for root in roots:
        names = sorted(folder.name for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
        open_ones = [name for name in names if _is_plain(root / name / "coldkey")]
        if open_ones:
            raise Problem(
                f"the coldkey of wallet {', '.join(open_ones)} lies unencrypted beside a hotkey that serves, in {root}",
                "move it to a machine that serves nothing; here coldkeypub.txt and hotkeys/ are enough",
            )
        yield f"no unencrypted coldkey among {len(names)} wallets of {root}"


def _is_plain(path: Path) -> bool:
    """Whether a coldkey file can be read by this user and holds its secret as it is."""
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(MAX_SECRET_BYTES))
    except (OSError, ValueError, RecursionError):
        return False  # missing, closed to us, or encrypted, which is no JSON with other tools
    if not isinstance(fields, dict):
        return False
    return any(fields.get(name) for name in _PLAIN_SECRETS) or ("secret" in fields and fields.get("encryption") is None)


def _references(home: Home) -> list[tuple[str, Path]]:
    """Hotkeys that the peer and its plugins use, with the folder of their wallets; each once."""
    config = load_config(home.path, {})
    found = {(config.hotkey, Path(config.wallets)): None} if config.hotkey else {}
    for settings in plugin_settings(home).values():
        if settings.enabled:
            found[settings.hotkey, Path(settings.wallets)] = None
    return list(found)


def axon_database(home: Home) -> Iterator[str]:
    """Whether used request ids, scores and notes about weights can be read."""
    for path in sorted((home.path / "axon").glob(f"*/{AXON_FILE}")):
        mend = f"restore {path} from a backup, or move it away: validators then score from nothing"
        database = Database.open(path, SCHEMA, read_only=True)
        try:
            row = database.one("PRAGMA quick_check(1)")
            tables = database.one("SELECT count(*) FROM score_table")
            ids = database.one("SELECT count(*) FROM replay")
        finally:
            database.close()
        if row is None or row[0] != "ok":
            raise Problem(f"{path} is damaged: {row[0] if row else 'no answer'}", mend)
        assert tables is not None and ids is not None
        yield f"{path.parent.name}: {tables[0]} score tables, {ids[0]} request ids"
