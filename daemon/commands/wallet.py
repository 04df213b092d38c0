"""`yumad wallet new|list|show|balance`: keys in the field's folder shape (DESIGN section 5, decision 11).

The words of a new key are shown once and stored nowhere; whoever has them has the money.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .grid import print_grid
from .options import (
    DEFAULT_HOME,
    DEFAULT_WALLETS,
    HomeOption,
    JsonOption,
    PasswordFileOption,
    WalletsOption,
)
from .output import format_tao, print_fields, print_json, reporting, usage_error

if TYPE_CHECKING:
    from ...storage.keystore import Keystore, ListedWallet

ENTROPY_BYTES: Final = {12: 16, 24: 32}
"""Random bytes behind so many words."""

_LONGEST_MNEMONIC: Final = 1024


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    wallets = typer.Typer(help="Make, list and look at wallets.", no_args_is_help=True, rich_markup_mode=None)
    wallets.command("new")(new)
    wallets.command("list")(list_wallets)
    wallets.command("show")(show)
    wallets.command("balance")(balance)
    app.add_typer(wallets, name="wallet")


def new(
    name: Annotated[str, typer.Argument(help="Name of the wallet, that is of its coldkey.")],
    hotkey: Annotated[str, typer.Option("--hotkey", help="Name of a hotkey made beside it.")] = "default",
    words: Annotated[int, typer.Option("--words", help="Words of a new mnemonic: 12 or 24.")] = 12,
    mnemonic_file: Annotated[
        Path | None, typer.Option("--mnemonic-file", help="Make the coldkey from the words in this file instead.")
    ] = None,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a wallet with an encrypted coldkey and a hotkey; for a wallet that exists, another hotkey."""
    with reporting(as_json):
        from ...consensus.ss58 import encode_address
        from ...storage.keystore import Keystore
        from ...storage.mnemonic_seed import seed_from_phrase
        from .signer import ask_password

        if words not in ENTROPY_BYTES:
            raise usage_error(f"--words is {words}", remedy="use 12 or 24")
        keystore = Keystore(wallets)
        existing = next((wallet for wallet in keystore.list() if wallet.coldkey.name == name), None)
        made: dict[str, Any] = {"wallet": name}
        if existing is None or existing.coldkey.address is None:
            phrase = _new_phrase(words) if mnemonic_file is None else _read_phrase(mnemonic_file)
            seed = seed_from_phrase(phrase)
            password = ask_password(password_file, f"password for the new coldkey {name}", confirm=True)
            made["coldkey"] = encode_address(keystore.new_coldkey(name, seed, password))
            if mnemonic_file is None:
                made["coldkey_mnemonic"] = phrase
        elif mnemonic_file is not None:
            raise usage_error(f"wallet {name!r} exists already", remedy="choose another name for the recovered coldkey")
        elif any(key.name == hotkey for key in existing.hotkeys):
            raise usage_error(
                f"wallet {name!r} with hotkey {hotkey!r} exists already",
                remedy="choose another --hotkey to add one to it, or another wallet name",
            )
        hotkey_phrase = _new_phrase(words)
        made["hotkey_name"] = hotkey
        made["hotkey"] = encode_address(keystore.new_hotkey(name, hotkey, seed_from_phrase(hotkey_phrase)))
        made["hotkey_mnemonic"] = hotkey_phrase
        if as_json:
            print_json(made)
        else:
            _print_new(made, keystore)


def _new_phrase(words: int) -> str:
    from ...storage.mnemonic_seed import phrase_from_entropy

    return phrase_from_entropy(secrets.token_bytes(ENTROPY_BYTES[words]))


def _read_phrase(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_MNEMONIC).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise usage_error(f"mnemonic file {path} cannot be read: {error}", remedy="give a file of words") from error


def _print_new(made: dict[str, Any], keystore: Keystore) -> None:
    if "coldkey" in made:
        print_fields({"coldkey": made["coldkey"], "folder": keystore.root / made["wallet"]})
        if "coldkey_mnemonic" in made:
            print(f"\n    {made['coldkey_mnemonic']}\n")
            print("These words are the coldkey. Write them down now: they are not shown again.\n")
    print_fields({f"hotkey {made['hotkey_name']}": made["hotkey"]})
    print(f"\n    {made['hotkey_mnemonic']}\n")


def list_wallets(wallets: WalletsOption = DEFAULT_WALLETS, as_json: JsonOption = False) -> None:
    """All wallets with the addresses of their keys."""
    with reporting(as_json):
        from ...storage.keystore import Keystore

        keystore = Keystore(wallets)
        found = keystore.list()
        if as_json:
            print_json({"folder": str(keystore.root), "wallets": [_wallet_document(wallet) for wallet in found]})
            return
        if not found:
            print(f"no wallets in {keystore.root}; `yumad wallet new NAME` makes one")
            return
        rows: list[tuple[str, ...]] = []
        for wallet in found:
            document = _wallet_document(wallet)
            rows.append((document["name"], "", *_key_cells(document["coldkey"])))
            rows += [("", key["name"], *_key_cells(key)) for key in document["hotkeys"]]
        print_grid(str(keystore.root), ("wallet", "hotkey", "address", ""), rows)


def _key_cells(key: dict[str, Any]) -> tuple[str, str]:
    return key["address"] or "-", key["problem"] or ("encrypted" if key["encrypted"] else "")


def _wallet_document(wallet: ListedWallet) -> dict[str, Any]:
    from ...consensus.ss58 import encode_address

    def key(listed: Any) -> dict[str, Any]:
        return {
            "name": listed.name,
            "address": None if listed.address is None else encode_address(listed.address),
            "encrypted": listed.encrypted,
            "problem": listed.problem,
        }

    return {
        "name": wallet.coldkey.name,
        "coldkey": key(wallet.coldkey),
        "hotkeys": [key(hotkey) for hotkey in wallet.hotkeys],
    }


def show(
    name: Annotated[str, typer.Argument(help="Name of the wallet.")],
    wallets: WalletsOption = DEFAULT_WALLETS,
    as_json: JsonOption = False,
) -> None:
    """The addresses of one wallet."""
    with reporting(as_json):
        from ...storage.keystore import Keystore

        keystore = Keystore(wallets)
        keystore.coldkey_address(name)  # raises with the remedy when it is not there
        wallet = next(wallet for wallet in keystore.list() if wallet.coldkey.name == name)
        document = _wallet_document(wallet)
        if as_json:
            print_json(document)
            return
        print_fields(
            {"coldkey": " ".join(_key_cells(document["coldkey"]))}
            | {f"hotkey {key['name']}": " ".join(_key_cells(key)) for key in document["hotkeys"]}
        )


def balance(
    names: Annotated[
        list[str] | None, typer.Argument(help="Wallet names, SS58 addresses or dev:NAME; all wallets without.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    wallets: WalletsOption = DEFAULT_WALLETS,
    as_json: JsonOption = False,
) -> None:
    """Free TAO and stake of wallets or addresses, from the finalised state."""
    with reporting(as_json):
        from ..control_client import ControlClient

        accounts = _accounts(names or [], wallets)
        with ControlClient.connect(home) as client:
            rows = [_balance_row(name, client.call("account", account=address)) for name, address in accounts]
        if as_json:
            print_json({"balances": rows})
            return
        print_grid(
            "",
            ("name", "address", "free", "root stake", "subnets with stake"),
            [
                (
                    row["name"],
                    row["address"],
                    format_tao(int(row["free"])),
                    format_tao(int(row["root_stake"])),
                    " ".join(f"{netuid}:{format_tao(int(stake), 'α')}" for netuid, stake in row["subnets"].items()),
                )
                for row in rows
            ],
        )


def _accounts(names: list[str], wallets: Path) -> list[tuple[str, str]]:
    """Name and SS58 address of what the user named."""
    from ...consensus.chain_spec_toml import parse_account
    from ...consensus.ss58 import encode_address
    from ...consensus.types import YumadError
    from ...storage.keystore import Keystore

    keystore = Keystore(wallets)
    if not names:
        listed = [(wallet.coldkey.name, wallet.coldkey.address) for wallet in keystore.list()]
        found = [(name, encode_address(address)) for name, address in listed if address is not None]
        if not found:
            raise usage_error(
                f"no wallets in {keystore.root}", remedy="name an address, or make a wallet with `yumad wallet new`"
            )
        return found
    known = {wallet.coldkey.name for wallet in keystore.list()}
    accounts = []
    for name in names:
        if name in known:
            account = keystore.coldkey_address(name)
        else:
            try:
                account = parse_account(name, what="account")
            except YumadError as error:
                raise usage_error(
                    f"{name!r} is neither a wallet in {keystore.root} nor an address",
                    remedy="see `yumad wallet list`, or write an SS58 address or dev:NAME",
                ) from error
        accounts.append((name, encode_address(account)))
    return accounts


def _balance_row(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    account = answer["answer"]
    by_subnet: dict[int, int] = {}
    for position in account["stakes"]:
        netuid = position["netuid"]
        by_subnet[netuid] = by_subnet.get(netuid, 0) + int(position["amount"])
    return {
        "name": name,
        "address": account["account"],
        "free": account["free"],
        "root_stake": str(by_subnet.pop(0, 0)),
        "subnets": {str(netuid): str(stake) for netuid, stake in sorted(by_subnet.items())},
        "nonce": account["nonce"],
        "height": answer["height"],
    }
