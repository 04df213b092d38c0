"""Making a home: peer key, chain, authority key with its guard, authority record (DESIGN decisions 11 and 13)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import base58

from ..consensus.chain_spec import AuthoritySpec, prove_possession
from ..consensus.chain_spec_toml import parse_account
from ..consensus.dev_accounts import dev_keypair
from ..consensus.signature import KeyPair
from ..consensus.types import AccountId, AuthorityKey, Hash32
from ..protocols.peer_records import peer_id_of
from ..storage.authority_key import list_authorities, make_authority, read_authority_key
from ..storage.home import Home
from ..storage.keystore import Keystore
from .chain_home import create_chain
from .config import Config, ConfigError, config_text, load_config
from .spec_file import encode_authority_record, read_spec_file, write_file


@dataclass(frozen=True, slots=True)
class MadeHome:
    """What `init` made or found."""

    peer_id: str
    genesis_hash: Hash32 | None
    authority_key: AuthorityKey | None


def initialise(home: Home, spec: Path | None, *, with_authority: bool) -> MadeHome:
    """Make what is missing in a home; nothing that is there is changed."""
    home.prepare()
    lock = home.lock()
    try:
        seed = home.peer_seed(lambda: secrets.token_bytes(32))
        genesis_hash = None if spec is None else create_chain(home, read_spec_file(spec).data)
        folders = list_authorities(home.authority_folder)
        if folders:
            key: AuthorityKey | None = AuthorityKey(read_authority_key(folders[0]).public_key)
        elif with_authority:
            key = make_authority(home.authority_folder, secrets.token_bytes(32))
        else:
            key = None
    finally:
        lock.release()
    return MadeHome(peer_id_of(KeyPair(seed).public_key), genesis_hash, key)


def write_record(home: Home, path: Path, config: Config, chain: str, salt: str, coldkey: str) -> None:
    """Write the authority record of this home's key for the chain of that name and salt."""
    if not chain:
        raise ConfigError("the record needs the chain's name", remedy="pass --chain NAME and --salt HEX of its spec")
    if not config.hotkey:
        raise ConfigError("the record needs a hotkey", remedy="pass --hotkey dev:NAME or --hotkey WALLET/HOTKEY")
    try:
        salt_bytes = bytes.fromhex(salt)
    except ValueError:
        raise ConfigError(f"--salt {salt!r} is not hex", remedy="copy it from `yumad genesis show`") from None
    hotkey = _hotkey_address(config)
    key = read_authority_key(list_authorities(home.authority_folder)[0])
    peer_id = peer_id_of(KeyPair(home.peer_seed(lambda: secrets.token_bytes(32))).public_key)
    record = AuthoritySpec(
        hotkey,
        hotkey if not coldkey else parse_account(coldkey, what="--coldkey"),
        AuthorityKey(key.public_key),
        prove_possession(key, chain, salt_bytes, hotkey),
        base58.b58decode(peer_id),
    )
    write_file(path, encode_authority_record(record, chain, salt_bytes), overwrite=True)


def _hotkey_address(config: Config) -> AccountId:
    if config.hotkey.startswith("dev:"):
        return AccountId(dev_keypair(config.hotkey.removeprefix("dev:")).public_key)
    wallet, slash, name = config.hotkey.partition("/")
    if not slash:
        raise ConfigError(f"hotkey {config.hotkey!r} is not a key", remedy="write dev:NAME or WALLET/HOTKEY")
    return Keystore(Path(config.wallets).expanduser()).hotkey_address(wallet, name)


def remember_bootstrap(home: Home, joined: list[str]) -> None:
    """Write the addresses into the home's settings, so that `yumad run` finds the network again."""
    config = load_config(home.path, {}, {})
    known = tuple(dict.fromkeys((*joined, *config.bootstrap)))
    if known != config.bootstrap:
        text = config_text(replace(config, bootstrap=known))
        write_file(home.config_file, text.encode(), overwrite=True)
