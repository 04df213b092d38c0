"""`yumad receipt verify`: offline, and only what both sides signed is valid (AXON R5)."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from test_cli_chain import address, document, error_of, run
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.types import AccountId, Hash32
from yumad.daemon.commands.output import Exit
from yumad.protocols.axon.envelope import Envelope, sign_envelope
from yumad.protocols.axon.receipts import encode_receipt
from yumad.protocols.axon.replies import Reply, Trailer, sign_reply, sign_trailer
from yumad.protocols.axon.status import Status

GENESIS = Hash32(bytes(range(32)))
CALLER, RECEIVER = dev_keypair("alice"), dev_keypair("miner")
REQUEST, REPLY = b"question", b"answer"
ID = bytes(range(16))


def receipt(*, text: str = "", status: Status = Status.OK, stream: bool = False, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "genesis_hash": GENESIS,
        "netuid": 7,
        "method": "echo",
        "method_version": 3,
        "caller": AccountId(CALLER.public_key),
        "receiver": AccountId(RECEIVER.public_key),
        "request_id": ID,
        "created": 1_800_000_000 * 10**9,
        "deadline": 1_800_000_005 * 10**9,
        "body_length": len(REQUEST),
        "body_hash": sha256(REQUEST).digest(),
        **changes,
    }
    envelope = sign_envelope(Envelope(**fields), CALLER)
    head = Reply(ID, status, len(REPLY), sha256(REPLY).digest(), 0, 1500, 20_000, text)
    reply = sign_reply(head, GENESIS, envelope.digest(), RECEIVER)
    end = sign_trailer(Trailer(ID, Status.OK, 3, 60, bytes(32)), GENESIS, envelope.digest(), False, RECEIVER)
    return encode_receipt(GENESIS, envelope.encode(), reply.encode(), end.encode() if stream else None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "call.receipt"
    path.write_bytes(receipt())
    return path


def test_r5_receipt_says_who_asked_whom_what_when_and_what_was_answered(file: Path) -> None:
    report = document(run("receipt", "verify", str(file), "--json"))
    assert (report["valid"], report["caller_signed"], report["receiver_signed"]) == (True, True, True)
    assert (report["caller"], report["receiver"], report["netuid"]) == (address("alice"), address("miner"), 7)
    assert (report["method"], report["version"], report["status"], report["name"]) == ("echo", 3, 0, "OK")
    assert (report["request_sha256"], report["reply_sha256"]) == (
        sha256(REQUEST).hexdigest(),
        sha256(REPLY).hexdigest(),
    )
    assert report["problems"] == []
    shown = run("receipt", "verify", str(file))
    assert shown.exit_code == 0
    assert "2027-01-15 08:00:00" in shown.stdout and "echo v3" in shown.stdout
    assert shown.stdout.endswith("valid: the caller signed it, the receiver signed it\n")


def test_r5_receipt_of_a_stream_names_its_messages(file: Path) -> None:
    file.write_bytes(receipt(stream=True))
    assert document(run("receipt", "verify", str(file), "--json"))["stream"]["messages"] == 3
    assert "3 messages, 60 bytes" in run("receipt", "verify", str(file)).stdout


def test_r5_every_changed_byte_makes_it_invalid_or_no_receipt(file: Path) -> None:
    whole = receipt(stream=True)
    for at in range(0, len(whole), 37):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert run("receipt", "verify", str(file)).exit_code == 1, at


def test_r5_receipt_that_the_receiver_did_not_sign_says_so(file: Path) -> None:
    whole = receipt()
    file.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:])  # the last byte of the reply's signature
    result = run("receipt", "verify", str(file), "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["caller_signed"], report["receiver_signed"]) == (1, True, False)
    shown = run("receipt", "verify", str(file)).stdout
    assert "NOT VALID: the caller signed it, the receiver did NOT sign it" in shown


def test_r5_bodies_that_are_given_must_belong(file: Path, tmp_path: Path) -> None:
    (tmp_path / "request").write_bytes(REQUEST)
    (tmp_path / "reply").write_bytes(REPLY)
    bodies = ["--request-body", str(tmp_path / "request"), "--reply-body", str(tmp_path / "reply")]
    assert run("receipt", "verify", str(file), *bodies).exit_code == 0
    (tmp_path / "reply").write_bytes(b"another")
    result = run("receipt", "verify", str(file), *bodies)
    assert result.exit_code == 1 and "reply's body is another one" in result.stdout


def test_r5_receipt_in_hex_as_json_shows_it_is_understood(file: Path) -> None:
    file.write_text(receipt().hex() + "\n")
    assert run("receipt", "verify", str(file)).exit_code == 0


@pytest.mark.parametrize("content", [b"", b"\x85", b"hello", bytes(70_000)])
def test_file_that_is_no_receipt_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    error = error_of(run("receipt", "verify", str(file), "--json"), Exit.REFUSED)
    assert error["code"] == "no_receipt" and error["remedy"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert error_of(run("receipt", "verify", str(tmp_path / "no"), "--json"), Exit.REFUSED)["code"] == "no_file"


def test_strangers_text_and_any_time_can_be_shown(file: Path) -> None:
    file.write_bytes(receipt(text="\x1b[2J", status=Status.HANDLER_ERROR, created=(1 << 64) - 1))
    shown = run("receipt", "verify", str(file))
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout and "30 HANDLER_ERROR" in shown.stdout
