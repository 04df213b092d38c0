"""`yumad wallet` on disk: making, listing, recovering, passwords, and signing with what was made."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from daemon_thread import Daemon
from typer.testing import CliRunner, Result
from yumad.consensus.signature import KeyPair
from yumad.consensus.ss58 import encode_address
from yumad.daemon.commands.output import Exit
from yumad.daemon.main import build_app
from yumad.storage.mnemonic_seed import seed_from_phrase

PASSWORD = "correct horse battery"


@pytest.fixture
def wallets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wallets"
    monkeypatch.setenv("YUMAD_WALLETS", str(folder))
    monkeypatch.setenv("YUMAD_WALLET_PASSWORD", PASSWORD)
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments))


def document(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def error(*arguments: str) -> tuple[int, str, str]:
    """Exit code, error code and the whole text."""
    result = run(*arguments, "--json")
    assert result.stdout == ""
    found = json.loads(result.stderr)["error"]
    return result.exit_code, found["code"], f"{found['message']} | {found['remedy']}"


def address_of(phrase: str) -> str:
    return encode_address(KeyPair(seed_from_phrase(phrase)).public_key)


def test_new_wallet_shows_words_that_make_its_keys_and_stores_the_coldkey_encrypted(wallets: Path) -> None:
    made = document("wallet", "new", "main")
    assert made["coldkey"] == address_of(made["coldkey_mnemonic"])
    assert made["hotkey"] == address_of(made["hotkey_mnemonic"])
    assert len(made["coldkey_mnemonic"].split()) == 12
    stored = (wallets / "main" / "coldkey").read_text()
    assert seed_from_phrase(made["coldkey_mnemonic"]).hex() not in stored
    words = made["coldkey_mnemonic"].split()
    assert not any(" ".join(pair) in stored for pair in pairwise(words))  # one word may stand in a field name
    listed = document("wallet", "list")["wallets"]
    assert [(w["name"], w["coldkey"]["encrypted"], w["hotkeys"][0]["name"]) for w in listed] == [
        ("main", True, "default")
    ]
    assert document("wallet", "show", "main")["coldkey"]["address"] == made["coldkey"]


def test_wallet_for_people_shows_the_words_once(wallets: Path) -> None:
    shown = run("wallet", "new", "main")
    assert shown.exit_code == 0 and "not shown again" in shown.stdout
    assert "main" in run("wallet", "list").stdout and "coldkey" in run("wallet", "show", "main").stdout


def test_wallet_gets_another_hotkey(wallets: Path) -> None:
    document("wallet", "new", "main")
    more = document("wallet", "new", "main", "--hotkey", "second")
    assert "coldkey" not in more
    hotkeys = document("wallet", "show", "main")["hotkeys"]
    assert [key["name"] for key in hotkeys] == ["default", "second"]


def test_wallet_is_recovered_from_its_words(wallets: Path, tmp_path: Path) -> None:
    made = document("wallet", "new", "main")
    words = tmp_path / "words"
    words.write_text(made["coldkey_mnemonic"].upper() + "\n")
    again = document("wallet", "new", "again", "--mnemonic-file", str(words))
    assert again["coldkey"] == made["coldkey"] and "coldkey_mnemonic" not in again


def test_wallet_that_exists_is_never_overwritten(wallets: Path) -> None:
    document("wallet", "new", "main")
    before = (wallets / "main" / "coldkey").read_bytes()
    assert error("wallet", "new", "main")[0] == Exit.USAGE
    assert (wallets / "main" / "coldkey").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "text"),
    [("abandon " * 5, "mnemonic of 5 words"), ("abandon " * 12, "checksum"), ("zzz " * 12, "not in the English list")],
)
def test_wrong_words_make_nothing(wallets: Path, tmp_path: Path, words: str, text: str) -> None:
    (tmp_path / "words").write_text(words)
    assert text in error("wallet", "new", "main", "--mnemonic-file", str(tmp_path / "words"))[2]
    assert document("wallet", "list")["wallets"] == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["wallet", "new", "../evil"], "wallet name"),
        (["wallet", "new", "main", "--words", "13"], "--words"),
        (["wallet", "new", "main", "--mnemonic-file", "nowhere"], "cannot be read"),
        (["wallet", "new", "main", "--password-file", "nowhere"], "cannot be read"),
        (["wallet", "show", "nobody"], "nobody"),
    ],
)
def test_wallet_command_used_wrongly_says_what_is_wrong(wallets: Path, arguments: list[str], text: str) -> None:
    exit_code, _, message = error(*arguments)
    assert exit_code in (Exit.REFUSED, Exit.USAGE)
    assert text in message


def test_short_password_is_refused(wallets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUMAD_WALLET_PASSWORD", "short")
    assert "at least 8" in error("wallet", "new", "main")[2]


def test_password_is_never_waited_for_without_a_terminal(wallets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YUMAD_WALLET_PASSWORD")
    exit_code, _, message = error("wallet", "new", "main")
    assert exit_code == Exit.USAGE and "--password-file" in message


def test_sr25519_key_file_of_another_tool_is_listed_with_the_problem(wallets: Path) -> None:
    (wallets / "old").mkdir(parents=True)
    (wallets / "old" / "coldkey").write_text('{"ss58Address": "5Grw", "secretSeed": "0x00"}')
    key = document("wallet", "list")["wallets"][0]["coldkey"]
    assert key["address"] is None and "sr25519" in key["problem"]


def test_wallet_signs_with_its_password_and_not_without(
    wallets: Path, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = ["--home", str(daemon.home)]
    coldkey = document("wallet", "new", "main")["coldkey"]
    document("transfer", coldkey, "3", "--dev", "alice", "--wait", *home)
    sent = document("transfer", "dev:bob", "1", "--wallet", "main", "--wait", *home)
    assert (sent["signer"], sent["result"]) == (coldkey, "ok")
    assert document("wallet", "balance", "main", *home)["balances"][0]["nonce"] == 1
    monkeypatch.setenv("YUMAD_WALLET_PASSWORD", "wrong horse battery")
    assert error("transfer", "dev:bob", "1", "--wallet", "main", *home)[:2] == (1, "wrong_password")
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    sent = document("transfer", "dev:bob", "1", "--wallet", "main", "--password-file", str(password), "--wait", *home)
    assert sent["nonce"] == 1


def test_hotkey_signs_calls_of_hotkeys_without_a_password(wallets: Path, daemon: Daemon) -> None:
    made = document("wallet", "new", "main")
    exit_code, code, _ = error(
        "tx", "send", "authority.heartbeat", "peer_id=00", "--wallet", "main", "--home", str(daemon.home)
    )
    assert (exit_code, code) == (Exit.NOT_REGISTERED, "NotAnAuthority"), "signed, sent and refused by the chain"
    assert made["hotkey"]


def test_missing_wallet_is_named(wallets: Path, daemon: Daemon) -> None:
    message = error("transfer", "dev:bob", "1", "--wallet", "nobody", "--home", str(daemon.home))[2]
    assert "nobody" in message and "wallet" in message
