"""How blocks and transactions look in JSON: hashes as hex, accounts as SS58, amounts as strings of rao (DESIGN 7)."""

from __future__ import annotations

from typing import Any

from ..consensus.certificate import Certificate
from ..consensus.header import Header
from ..consensus.rules.interface import BlockOutcome
from ..consensus.rules.v1.calls.call import decode_arguments
from ..consensus.rules.v1.calls.table import call_numbered
from ..consensus.rules.v1.errors import error_name, error_text
from ..consensus.ss58 import encode_address
from ..consensus.transaction import (
    Transaction,
    TransactionDomain,
    decode_transaction,
    signing_digest,
    transaction_bytes_hash,
)
from ..consensus.types import MalformedError
from .arguments import shown, shown_event
from .mempool_lanes import Entry
from .peer_view import FoundBlock, FoundTransaction, TransactionResult


def header_document(header: Header) -> dict[str, Any]:
    """A header field by field."""
    fields: dict[str, Any] = {name: getattr(header, name) for name in header.__dataclass_fields__}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


def certificate_document(certificate: Certificate | None) -> dict[str, Any] | None:
    """What a certificate says and how many signed it."""
    if certificate is None:
        return None
    statement = certificate.statement
    return {
        "kind": statement.kind.name.lower(),
        "era": statement.era,
        "view": statement.view,
        "block_hash": statement.block_hash.hex(),
        "signers": len(certificate.signers),
    }


def block_document(found: FoundBlock, domain: TransactionDomain) -> dict[str, Any]:
    """`yumad block --json`. `domain` is the one its transactions were signed for."""
    block, outcome = found.block, found.outcome
    results = [None] * len(block.body.transactions) if outcome is None else list(outcome.transactions)
    return {
        "hash": found.hash.hex(),
        "final": found.final,
        "header": header_document(block.header),
        "certificate": certificate_document(block.body.certificate),
        "evidence": len(block.body.evidence),
        "transactions": [
            transaction_document(data, domain)
            | ({} if result is None else result_document(TransactionResult(result.code, result.fee, result.events)))
            for data, result in zip(block.body.transactions, results, strict=True)
        ],
        **({} if outcome is None else outcome_document(outcome)),
    }


def outcome_document(outcome: BlockOutcome) -> dict[str, Any]:
    """What a block did beside its transactions."""
    return {
        "fees": str(outcome.fees),
        "events": [shown_event(event) for event in outcome.block_events],
        "epochs": epoch_documents(outcome),
    }


def epoch_documents(outcome: BlockOutcome) -> list[dict[str, Any]]:
    """The epochs a block ran."""
    return [
        {
            "netuid": epoch.netuid,
            "emission": str(epoch.emission),
            "server": str(epoch.server_total),
            "validator": str(epoch.validator_total),
        }
        for epoch in outcome.epochs
    ]


def transaction_document(data: bytes, domain: TransactionDomain) -> dict[str, Any]:
    """A transaction by itself."""
    try:
        transaction = decode_transaction(data)
    except MalformedError as error:  # never in a block; a document must not fail on a damaged store
        return {"hash": transaction_bytes_hash(data).hex(), "malformed": error.message}
    return {
        "id": signing_digest(domain, transaction).hex(),
        "hash": transaction_bytes_hash(data).hex(),
        "signer": encode_address(transaction.signer),
        "nonce": transaction.nonce,
        "valid_until": transaction.valid_until,
        "tip": str(transaction.tip),
        "size": len(data),
        **_call_document(transaction),
    }


def _call_document(transaction: Transaction) -> dict[str, Any]:
    call = call_numbered(transaction.call)
    if call is None:
        return {"call": f"0x{transaction.call:04x}", "args": None}
    try:
        values = decode_arguments(call, transaction.args)
    except MalformedError:
        return {"call": call.name, "args": None}
    pairs = zip(call.arguments, values, strict=True)
    return {"call": call.name, "args": {argument.name: shown(argument, value) for argument, value in pairs}}


def result_document(result: TransactionResult) -> dict[str, Any]:
    """What became of an included transaction."""
    return {
        "code": result.code,
        "result": error_name(result.code),
        "text": error_text(result.code),
        "fee": str(result.fee),
        "events": [shown_event(event) for event in result.events],
    }


def included_document(found: FoundTransaction, domain: TransactionDomain) -> dict[str, Any]:
    """`yumad tx show --json` of a transaction in a block."""
    return {
        "state": "final" if found.final else "included",
        **transaction_document(found.data, domain),
        "height": found.height,
        "position": found.position,
        "block_hash": found.block_hash.hex(),
        **({} if found.result is None else result_document(found.result)),
    }


def waiting_document(entry: Entry, why: str | None, domain: TransactionDomain) -> dict[str, Any]:
    """`yumad tx show --json` of a transaction in the pool."""
    return {"state": "waiting", **transaction_document(entry.data, domain), "charge": str(entry.charge), "why": why}
