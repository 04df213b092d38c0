"""`yumad axon call`: one call of a miner by hand, signed here and sent by the running peer (AXON R1, R5).

The key never leaves the command: it signs the envelope, and the peer transmits it as it is, once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .body_values import body_of, printable, shown_body
from .call_outcome import failure_of
from .options import (
    DEFAULT_HOME,
    DEFAULT_WALLETS,
    DevOption,
    HomeOption,
    HotkeyOption,
    JsonOption,
    PasswordFileOption,
    WalletOption,
    WalletsOption,
)
from .output import CommandError, print_json, reporting, usage_error

if TYPE_CHECKING:
    from ...consensus.signature import KeyPair
    from ...protocols.axon.envelope import Envelope

NetuidOption = Annotated[int, typer.Option("--netuid", help="Number of the subnet.", min=0, max=65535)]
ToOption = Annotated[str, typer.Option("--to", help="Hotkey that is meant: an SS58 address or dev:NAME.")]
UidOption = Annotated[int | None, typer.Option("--uid", help="Its uid in the subnet instead.", min=0, max=65535)]

PATIENCE_SECONDS: Final = 10.0
"""Beyond the call's own timeout, for the daemon to say that it passed."""


def call(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Name of the method.", show_default=False)],
    netuid: NetuidOption,
    to: ToOption = "",
    uid: UidOption = None,
    data: Annotated[str, typer.Option("--data", help="The request as JSON.")] = "",
    data_file: Annotated[Path | None, typer.Option("--data-file", help="File with the request as JSON.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for all of it.", min=0.1, max=3600.0)] = 12.0,
    version: Annotated[
        int | None, typer.Option("--version", help="Of the method; else the one that is offered.", min=1, max=65535)
    ] = None,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Write the signed receipt here.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="The answer is a stream of messages.")] = False,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Call a method of a miner, signed by a hotkey of yours, and print what it answers."""
    with reporting(as_json):
        from ...consensus.rules.v1.calls.call import Signer
        from ..control_client import ControlClient
        from .signer import SignerOptions, signing_key

        options = SignerOptions(wallet, hotkey, dev, wallets, password_file)
        options.check()
        target = target_of(to, uid)
        body = _body(data, data_file)
        if receipt is not None and receipt.exists():
            raise usage_error(f"{receipt} exists already", remedy="choose another name for the receipt")
        with ControlClient.connect(home) as client:
            client.reply_timeout = max(client.reply_timeout, timeout + PATIENCE_SECONDS)
            context = client.call("tx.context")
            key = signing_key(options, Signer.HOTKEY, context)
            found = client.call("axon.find", netuid=netuid, **target)
            offered = _offered(found, method, version)
            envelope = _envelope(key, context, found, offered, body, timeout, streams=stream or offered["stream_out"])
            done = client.call("axon.forward", envelope=envelope.encode().hex(), body=body.hex())
        if receipt is not None and done["receipt"]:
            from ..spec_file import write_file

            write_file(receipt, bytes.fromhex(done["receipt"]))
        if done["status"]:
            if not as_json:
                _print_messages(done)
            raise failure_of(done, netuid, offered["name"])
        _show(done, found, envelope, as_json)


def target_of(to: str, uid: int | None) -> dict[str, Any]:
    """Parameters of `axon.find`. Raises a usage error unless exactly one is given."""
    if bool(to) == (uid is not None):
        problem = "both --to and --uid are given" if to else "nobody to call"
        raise usage_error(problem, remedy="name one: --to HOTKEY or --uid NUMBER")
    return {"hotkey": to} if to else {"uid": uid}


def _body(data: str, data_file: Path | None) -> bytes:
    """The request's body. Raises a usage error for what is no JSON or too large for the control socket."""
    from ..axon.axon_methods import MAX_FORWARD_BODY

    if data and data_file is not None:
        raise usage_error("both --data and --data-file are given", remedy="name one")
    if data_file is not None:
        try:
            data = data_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise usage_error(f"{data_file} cannot be read: {error}", remedy="give a file with JSON") from error
    body = body_of(data or "{}")
    if len(body) > MAX_FORWARD_BODY:
        raise usage_error(
            f"the request has {len(body)} bytes, at most {MAX_FORWARD_BODY} go through the control socket",
            remedy="send less, or call from a plugin (`yumad plugin new`), which has no such bound",
        )
    return body


def _offered(found: dict[str, Any], method: str, version: int | None) -> dict[str, Any]:
    """The method as the miner offers it: its whole name, version and direction. Raises CommandError when it is not."""
    methods = [offer for record in found["records"] for offer in record["methods"]]
    if not methods:
        raise failure_of(
            {
                "status": 40,
                "name": "NO_RECORD",
                "text": f"nobody has told where {found['hotkey']} is reached",
                "retryable": True,
                "retry_after_ms": 0,
            },
            found["netuid"],
            method,
        )
    names = sorted({offer["name"] for offer in methods})
    ending = [name for name in names if "." not in method and name.endswith(f".{method}")]
    whole = ending[0] if method not in names and len(ending) == 1 else method
    versions = [offer for offer in methods if offer["name"] == whole and version in (None, offer["version"])]
    if versions:
        best: dict[str, Any] = max(versions, key=lambda offer: int(offer["version"]))
        if best["stream_in"]:
            raise CommandError(
                "needs_plugin",
                f"{whole} takes a stream of messages",
                remedy="call it from a plugin (`yumad plugin new`)",
            )
        return best
    if version is None or whole not in names:
        shown = ", ".join(f"{offer['name']} v{offer['version']}" for offer in methods)
        raise CommandError("unknown_method", f"the miner offers no method {method!r}", remedy=f"it offers {shown}")
    # An older version may be served without being announced: the miner says so itself if not.
    return {"name": whole, "version": version, "stream_in": False, "stream_out": False}


def _envelope(
    key: KeyPair,
    context: dict[str, Any],
    found: dict[str, Any],
    offered: dict[str, Any],
    body: bytes,
    timeout: float,
    *,
    streams: bool,
) -> Envelope:
    """The signed request."""
    import secrets
    from hashlib import sha256

    from ...consensus.ss58 import decode_address
    from ...consensus.types import AccountId, Hash32
    from ...protocols.axon.envelope import Envelope, Flag, sign_envelope

    created = time.time_ns()
    envelope = Envelope(
        genesis_hash=Hash32(bytes.fromhex(context["genesis_hash"])),
        netuid=found["netuid"],
        method=offered["name"],
        method_version=offered["version"],
        caller=AccountId(key.public_key),
        receiver=decode_address(found["hotkey"]),
        request_id=secrets.token_bytes(16),
        created=created,
        deadline=created + int(timeout * 1e9),
        body_length=len(body),
        body_hash=sha256(body).digest(),
        flags=Flag.STREAM_OUT if streams else 0,
    )
    return sign_envelope(envelope, key)


def _show(done: dict[str, Any], found: dict[str, Any], envelope: Envelope, as_json: bool) -> None:
    reply = shown_body(bytes.fromhex(done["body"]))
    if as_json:
        print_json(
            {
                "hotkey": found["hotkey"],
                "uid": found["uid"],
                "method": envelope.method,
                "version": envelope.method_version,
                "request_id": envelope.request_id.hex(),
                **{name: done[name] for name in ("status", "name", "text", "peer", "latency_ms", "receipt")},
                "reply": reply,
                "messages": [shown_body(bytes.fromhex(message)) for message in done["messages"]],
            }
        )
        return
    _print_messages(done)
    if not envelope.flags:
        print(printable(json.dumps(reply, ensure_ascii=False)))
    latency = done["latency_ms"]
    parts = ", ".join(f"{part} {latency[part]:.1f}" for part in ("dial", "queue", "network", "handler"))
    print(f"{done['name']} in {latency['total']:.1f} ms ({parts})", file=sys.stderr)


def _print_messages(done: dict[str, Any]) -> None:
    """A line each."""
    for message in done["messages"]:
        print(printable(json.dumps(shown_body(bytes.fromhex(message)), ensure_ascii=False)))
