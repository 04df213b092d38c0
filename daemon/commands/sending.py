"""Signing a call here, sending it through the daemon, and waiting until it is final: what `tx send`, `transfer` and
`weights set` share.

The key never leaves this process: the daemon gets signed bytes only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..control_client import NOT_AUTHORISED, ControlClient
from .output import CommandError, Exit, format_tao, print_json
from .signer import SignerOptions, signing_key

if TYPE_CHECKING:
    from ...consensus.rules.v1.calls.call import Call
    from ...consensus.signature import KeyPair

VALID_BLOCKS: Final = 64
"""Blocks for which a transaction may be included: it either is in soon, or never. The rules allow 2400."""

PATIENCE: Final = 120.0
"""Seconds without any news of a block before waiting is given up."""


def send_call(
    client: ControlClient,
    call: Call,
    wire: Sequence[Any],
    options: SignerOptions,
    *,
    key: KeyPair | None = None,
    tip: int = 0,
    valid_blocks: int = VALID_BLOCKS,
    wait: bool | None = None,
    as_json: bool = False,
) -> None:
    """Sign `call` with arguments in wire form, send it, wait if asked to, and print what came of it.

    `key` is the signer where the caller has unlocked it already. `wait` None means: when somebody watches. Raises
    CommandError with the chain's error name for a call that failed.
    """
    from ...consensus.ss58 import encode_address
    from ...consensus.transaction import TransactionDomain, encode_transaction, sign_transaction
    from ...consensus.types import Hash32

    if key is None:
        options.check()
        key = signing_key(options, call.signer, client.call("tx.context"))
    context = client.call("tx.context", account=encode_address(key.public_key))
    domain = TransactionDomain(Hash32(bytes.fromhex(context["genesis_hash"])), bytes.fromhex(context["fork_digest"]))
    valid_until = context["height"] + valid_blocks
    transaction = sign_transaction(
        domain, key, nonce=context["nonce"], valid_until=valid_until, call=call.number, args=wire, tip=tip
    )
    if wait is None:
        wait = sys.stdout.isatty()
    if wait:
        client.subscribe("heads")
    sent = client.call("tx.send", transaction=encode_transaction(transaction).hex())
    if not wait:
        document = {"state": "waiting", "id": sent["id"], "call": call.name, "valid_until": valid_until}
        _print(document, as_json)
        return
    _print(wait_until_final(client, sent["id"], valid_until), as_json)


def wait_until_final(client: ControlClient, identity: str, valid_until: int) -> dict[str, Any]:
    """The document of a final transaction. `client` is subscribed to heads already.

    Raises CommandError when it failed, when it was not included in time, or when no block comes.
    """
    document = _look(client, identity)
    if document is not None and document["state"] == "final":
        return _checked(document)
    for news in client.news(PATIENCE):
        document = _look(client, identity)
        if document is not None and document["state"] == "final":
            return _checked(document)
        if document is None and news["finalised"] >= valid_until:
            raise CommandError(
                "expired", f"transaction {identity} was not included up to block {valid_until}", remedy="send it again"
            )
    raise CommandError(
        "no_progress",
        f"no block became final for {PATIENCE:.0f} s; transaction {identity} may still be included",
        remedy=f"see `yumad status`, and `yumad tx show {identity}` later",
    )


def _look(client: ControlClient, identity: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.call("tx.show", id=identity)
    except CommandError as error:
        if error.code == "not_found":
            return None
        raise
    return found


def _checked(document: dict[str, Any]) -> dict[str, Any]:
    """A call that failed is this command's failure."""
    if document.get("code"):
        name = document["result"]
        raise CommandError(
            name,
            f"{document['call']} failed in block {document['height']} with {name}: {document['text']} "
            f"(fee {format_tao(int(document['fee']))})",
            remedy=f"`yumad tx show {document['id']}` has the details",
            exit_code=Exit.NOT_REGISTERED if name in NOT_AUTHORISED else Exit.REFUSED,
        )
    return document


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    if document["state"] == "waiting":
        print(f"sent {document['call']}: {document['id']}")
        print(f"valid until block {document['valid_until']}; `yumad tx show {document['id']}` follows it")
        return
    paid = int(document.get("fee", "0"))
    result, fee = document.get("result"), f"fee {format_tao(paid)}" if paid else "free"
    if result is None:  # older than what the peer remembers: only re-execution could tell
        result, fee = "included", "its result is no longer remembered"
    print(f"{document['call']}: {result} in block {document['height']}, final; {fee}")
    print(f"id {document['id']}")
