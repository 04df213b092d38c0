"""How a peer's state looks in JSON: hashes as hex, accounts as SS58, amounts as strings of rao (DESIGN section 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..consensus.ss58 import encode_address
from .mempool_lanes import Entry
from .peer_view import OwnAuthority, PeerEntry, PeerStatus


def status_document(status: PeerStatus) -> dict[str, Any]:
    """`yumad status --json`."""
    return {
        "name": status.name,
        "version": status.version,
        "network": status.network,
        "profile": status.profile,
        "genesis_hash": status.genesis_hash.hex(),
        "fork_digest": status.fork_digest.hex(),
        "peer_id": status.peer_id,
        "addresses": list(status.addresses),
        "uptime_s": (status.now - status.started) // 1_000_000,
        "slot_ms": status.slot_length // 1000,
        "height": status.height,
        "head": status.head.hex(),
        "finalised": status.finalised_height,
        "finalised_hash": status.finalised.hex(),
        "finalised_age_s": max(0, status.now - status.finalised_time) // 1_000_000,
        "state_root": status.state_root.hex(),
        "era": status.era,
        "view": status.view,
        "level": status.level,
        "authorities": status.authorities,
        "missing_weight": str(status.missing_weight),
        "total_weight": str(status.total_weight),
        "peers": status.peers,
        "syncing_to": status.syncing_to,
        "epochs": status.epochs,
        "finality_p50_ms": status.finality_p50_ms,
        "finality_p99_ms": status.finality_p99_ms,
        "clock_offset_ms": status.clock_offset_ms,
        "authority": None if status.own_authority is None else _authority_document(status.own_authority),
    }


def _authority_document(own: OwnAuthority) -> dict[str, Any]:
    return {
        "key": own.public_key.hex(),
        "hotkey": None if own.hotkey is None else encode_address(own.hotkey),
        "in_set": own.in_set,
        "weight": str(own.weight),
        "abstaining": own.abstaining,
    }


def peer_document(peer: PeerEntry) -> dict[str, Any]:
    """One row of `yumad peers --json`."""
    return {
        "peer_id": peer.peer_id,
        "address": peer.address,
        "direction": "out" if peer.outbound else "in",
        "connected_since_us": peer.connected_since,
        "agent": peer.agent,
        "finalised": peer.finalised_height,
        "score": round(peer.score, 2),
        "exchange": peer.exchanging,
    }


def pool_entry_document(entry: Entry) -> dict[str, Any]:
    """One row of `yumad mempool`."""
    return {
        "id": entry.id.hex(),
        "signer": encode_address(entry.transaction.signer),
        "nonce": entry.transaction.nonce,
        "call": entry.call.name,
        "tip": str(entry.transaction.tip),
        "size": len(entry.data),
        "lane": entry.lane.name.lower(),
        "ready": entry.ready,
        "own": entry.own,
    }


def counts_document(counts: Mapping[str, int]) -> dict[str, int]:
    """Counters in the order of their names."""
    return dict(sorted(counts.items()))
