"""Calls and discovery as JSON, for the control socket."""

from __future__ import annotations

from typing import Any

from ...consensus.types import Micros
from ...protocols.axon.interfaces import CallResult
from ...protocols.axon.reach_reports import Reach
from ...protocols.axon.records import ServiceRecord
from ...protocols.transport import PeerId


def record_document(
    record: ServiceRecord, now: Micros, *, here: bool, connected: bool, latency: float | None
) -> dict[str, Any]:
    """One peer of a hotkey. `latency` in seconds, as this peer measured it."""
    return {
        "peer": record.peer,
        "here": here,
        "connected": connected,
        "sealed": record.is_sealed,
        "addresses": list(record.addresses),
        "expires_s": (record.expires - now) // 1_000_000,
        "latency_ms": None if latency is None else round(latency * 1000, 3),
        "methods": [
            {"name": m.name, "version": m.version, "stream_in": m.stream_in, "stream_out": m.stream_out}
            for m in record.methods
        ],
    }


def reach_document(reach: Reach) -> dict[str, Any]:
    """What the probers say of one hotkey."""
    return {"reached_by": reach.reached_by, "probers": reach.probers, "latency_ms": reach.latency_ms}


def ping_document(
    outcome: str, *, peer: PeerId | None = None, milliseconds: float | None = None, text: str = ""
) -> dict[str, Any]:
    """`reached`, `not reached`, `no record`, or `here` when this peer serves the hotkey itself."""
    return {"outcome": outcome, "peer": peer, "ms": milliseconds, "text": text}


def result_document(result: CallResult) -> dict[str, Any]:
    """How a call ended; body and receipt in hex."""
    status, latency = result.status, result.latency
    parts = ("dial", "queue", "network", "handler", "total")
    return {
        "status": int(status),
        "name": status.name,
        "text": result.text,
        "retryable": status.retryable,
        "retry_after_ms": result.retry_after_ms,
        "reached_handler": status.reached_handler.value,
        "peer": result.peer,
        "body": result.body.hex(),
        "receipt": result.receipt.hex(),
        "latency_ms": {part: round(getattr(latency, part) * 1000, 3) for part in parts},
    }
