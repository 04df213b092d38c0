"""`yumad receipt verify FILE`: what a receipt proves, without a network (AXON R5)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .body_values import printable
from .options import JsonOption
from .output import CommandError, print_fields, print_json, reporting

if TYPE_CHECKING:
    from ...protocols.axon.receipts import ReceiptReport


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    group = typer.Typer(help="Look at receipts of calls.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(lambda: None)  # one command must keep its name
    group.command()(verify)
    app.add_typer(group, name="receipt")


def verify(
    file: Annotated[
        Path, typer.Argument(help="Receipt, as `yumad axon call --receipt` writes it.", show_default=False)
    ],
    request_body: Annotated[
        Path | None, typer.Option("--request-body", help="File with the request's body, to check that it belongs.")
    ] = None,
    reply_body: Annotated[
        Path | None, typer.Option("--reply-body", help="File with the reply's body, to check that it belongs.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say who asked whom what and when, what was answered, and whether both signed it; exit code 1 when not."""
    with reporting(as_json):
        from ...consensus.types import MalformedError
        from ...protocols.axon.receipts import MAX_RECEIPT, verify_receipt

        data = _bytes_of(_read(file, 2 * MAX_RECEIPT))
        try:
            report = verify_receipt(
                data,
                request_body=None if request_body is None else _read(request_body, 1 << 28),
                reply_body=None if reply_body is None else _read(reply_body, 1 << 28),
            )
        except MalformedError as error:
            raise CommandError(
                "no_receipt",
                f"{file} is no receipt: {error.message}",
                remedy="give a file of `yumad axon call --receipt`",
            ) from error
        document = _document(report)
        if as_json:
            print_json(document)
        else:
            _print(document)
    if not report.is_valid:
        raise SystemExit(1)


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise CommandError(
            "no_file", f"{path} cannot be read: {error.strerror}", remedy="check the name and its permissions"
        ) from error
    if len(data) > most:
        raise CommandError("no_receipt", f"{path} has more than {most} bytes", remedy="check the name")
    return data


def _bytes_of(data: bytes) -> bytes:
    """The receipt itself, also when it was saved as hex: `--json` of `yumad axon call` has it so."""
    try:
        return bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        return data


def _document(report: ReceiptReport) -> dict[str, Any]:
    from ...consensus.ss58 import encode_address
    from ...protocols.axon.envelope import verify_envelope
    from ...protocols.axon.replies import verify_reply

    receipt = report.receipt
    envelope, reply, trailer = receipt.envelope, receipt.reply, receipt.trailer
    answered = reply.request_id == envelope.request_id and verify_reply(
        reply, receipt.genesis_hash, envelope.digest(), envelope.receiver
    )
    return {
        "valid": report.is_valid,
        "caller_signed": verify_envelope(envelope),
        "receiver_signed": answered,
        "problems": list(report.problems),
        "genesis_hash": receipt.genesis_hash.hex(),
        "netuid": envelope.netuid,
        "caller": encode_address(envelope.caller),
        "receiver": encode_address(envelope.receiver),
        "method": envelope.method,
        "version": envelope.method_version,
        "request_id": envelope.request_id.hex(),
        "created_ns": envelope.created,
        "deadline_ns": envelope.deadline,
        "request_bytes": envelope.body_length,
        "request_sha256": envelope.body_hash.hex(),
        "status": int(reply.status),
        "name": reply.status.name,
        "text": reply.text,
        "queue_us": reply.queue_us,
        "handler_us": reply.handler_us,
        "reply_bytes": reply.body_length,
        "reply_sha256": reply.body_hash.hex(),
        "stream": None
        if trailer is None
        else {
            "status": int(trailer.status),
            "name": trailer.status.name,
            "messages": trailer.messages,
            "bytes": trailer.total_bytes,
            "running_sha256": trailer.running_hash.hex(),
        },
    }


def _print(document: dict[str, Any]) -> None:
    said = f": {printable(document['text'])}" if document["text"] else ""
    seconds = (document["deadline_ns"] - document["created_ns"]) / 1e9
    fields = {
        "caller": document["caller"],
        "receiver": document["receiver"],
        "subnet": f"{document['netuid']} of the network {document['genesis_hash'][:16]}…",
        "method": f"{document['method']} v{document['version']}",
        "asked": f"{_moment(document['created_ns'])}, for an answer within {seconds:.3g} s",
        "request id": document["request_id"],
        "request": f"{document['request_bytes']} bytes, SHA-256 {document['request_sha256']}",
        "status": f"{document['status']} {document['name']}{said}",
        "reply": f"{document['reply_bytes']} bytes, SHA-256 {document['reply_sha256']}",
        "time taken": f"{document['queue_us'] / 1000:.1f} ms waiting, {document['handler_us'] / 1000:.1f} ms working, "
        "as the receiver says",
    }
    stream = document["stream"]
    if stream is not None:
        fields["stream"] = (
            f"{stream['messages']} messages, {stream['bytes']} bytes, SHA-256 {stream['running_sha256']}, "
            f"ended with {stream['status']} {stream['name']}"
        )
    print_fields(fields)
    signed = [_sign("caller", document["caller_signed"]), _sign("receiver", document["receiver_signed"])]
    print(f"{'valid' if document['valid'] else 'NOT VALID'}: {', '.join(signed)}")
    for problem in document["problems"]:
        print(f"  {problem}")


def _sign(who: str, signed: bool) -> str:
    return f"the {who} signed it" if signed else f"the {who} did NOT sign it"


def _moment(nanoseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(nanoseconds / 1e9, UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
    except (ValueError, OverflowError, OSError):  # signed by somebody, so it may be any number
        return f"{nanoseconds} ns after 1970"
