"""The keyed tables of the state under rules version 1: rows found by key, and blobs (CHAIN 4.2, DTAO section 2).

Keys start with the netuid (2 bytes, big-endian) wherever a row belongs to a subnet, so that key order is netuid order.
A `Part` names the bytes of a key by which rows are also looked up (`KeyTable.matching`).
"""

from __future__ import annotations

from typing import Final

from ...state.accounts import ACCOUNT_COLUMNS
from ...state.blobs import blob_columns
from ...state.column import ColumnSpec
from ...state.key_table import KeyTable, Part

PEER_ID_BYTES: Final = 64
"""Longest libp2p peer id that a heartbeat may carry; those of Ed25519 keys take 38."""

OF_NETUID: Final[Part] = ((0, 2),)
"""Rows of one subnet."""

HOTKEYS: Final = "hotkeys"
"""Key: hotkey. Rows are never released: neurons refer to them."""

STAKES: Final = "stakes"
"""Key: netuid, hotkey. The share pool of all stake behind a hotkey on one subnet: V and D of DTAO 6.1."""

POSITIONS: Final = "positions"
"""Key: netuid, hotkey, coldkey. One holder's share. A share may be worth nothing and still be there (DTAO 13.14)."""

HOLDERS: Final[Part] = ((0, 34),)
"""Positions by netuid and hotkey."""

OF_COLDKEY: Final[Part] = ((34, 66),)
"""Positions, and root claims, by coldkey: StakingHotkeys of the original, in account order."""

OF_NETUID_COLDKEY: Final[Part] = ((0, 2), (34, 66))
"""Positions of one coldkey on one subnet."""

COLDKEYS: Final = "coldkeys"
"""Key: coldkey. What a coldkey chose beside its money; rows are never released."""

ROOT_INDEX: Final = ColumnSpec("root_index/coldkey", "u1", (32,))
"""Coldkeys with root stake, dense: the list auto-claim draws from (DTAO 4.6)."""

ROOT_RATES: Final = "root_rates"
"""Key: netuid, hotkey. RootClaimable: alpha for each rao of the hotkey's root stake, I96F32."""

ROOT_CLAIMED: Final = "root_claimed"
"""Key: netuid, hotkey, coldkey. RootClaimed: what of the rate does not belong to this holder any more, u128."""

CHILDKEYS: Final = "childkeys"
"""Key: netuid, parent, child. One edge: the parent's stake share that works for the child."""

OF_PARENT: Final[Part] = ((0, 34),)
OF_CHILD: Final[Part] = ((0, 2), (34, 66))
"""Edges by netuid and either end."""

HOTKEY_SUBNETS: Final = "hotkey_subnets"
"""Key: netuid, hotkey. What a hotkey chose on one subnet, and its rate limits there."""

AUTO_STAKES: Final = "auto_stakes"
"""Key: netuid, coldkey. Where a coldkey's mining income goes."""

LOCKS: Final = "locks"
"""Key: netuid, coldkey. A lock on stake (mass 0: none), and whether locks of this holder are perpetual (DTAO 7.4)."""

LOCK_TOTALS: Final = "lock_totals"
"""Key: netuid, kind (1 byte), hotkey. Aggregates of locks; the owner's two kinds have a hotkey of zeros."""

OWNER_LIMITS: Final = "owner_limits"
"""Key: netuid, number of an administrative call (2 bytes, big-endian). When the owner last gave it."""

SUBNET_SWAPS: Final = "subnet_swaps"
"""Key: netuid, coldkey. Height of this coldkey's last hotkey swap on the subnet."""

AUTHORITIES: Final = "authorities"
"""Key: hotkey. Rows stay: a punishment must outlive the key it was for."""

ERA_SETS: Final = "era_sets"
"""Blobs by era (4 bytes, big-endian): `[authority set, [hotkey…]]` of the last EVIDENCE_ERAS eras and the next one."""

RECORDS: Final = "records"
"""Blobs by tag (1 byte, `RecordTag`), netuid, account: what people publish, and lists of varying length."""

TIMELOCKED: Final = "timelocked"
"""Blobs by mechanism index (2), commit epoch (8) and sequence (4), all big-endian: timelocked weight commits in FIFO
order (YUMA 5.3)."""


def _safe_float(name: str) -> tuple[ColumnSpec, ColumnSpec]:
    return ColumnSpec(f"{name}_mantissa", "<u8", (2,)), ColumnSpec(f"{name}_exponent", "<i8")


TABLES: Final[tuple[ColumnSpec, ...]] = (
    *ACCOUNT_COLUMNS,
    ColumnSpec("accounts/free", "<u8"),  # rao
    *KeyTable.columns(
        HOTKEYS,
        32,
        (
            ColumnSpec("hotkeys/owner", "u1", (32,)),
            ColumnSpec("hotkeys/take", "<u2"),  # delegate take of 65535, plus one; 0: the default
            ColumnSpec("hotkeys/take_changed_at", "<u8"),
            ColumnSpec("hotkeys/no_auto_parent", "u1"),  # 1: does not become parent of new subnets' owner hotkeys
        ),
    ),
    *KeyTable.columns(STAKES, 34, (ColumnSpec("stakes/amount", "<u8"), *_safe_float("stakes/shares"))),
    *KeyTable.columns(POSITIONS, 66, _safe_float("positions/share")),
    *KeyTable.columns(
        COLDKEYS,
        32,
        (
            ColumnSpec("coldkeys/root_index", "<u4"),  # place in root_index, plus one; 0: not in it
            ColumnSpec("coldkeys/claim_type", "u1"),  # 0 swap, 1 keep, 2 keep on the subnets of its record
            ColumnSpec("coldkeys/takes_locked_alpha", "u1"),  # 1: accepts transfers of locked stake
            ColumnSpec("coldkeys/hotkey_swapped_at", "<u8"),
            ColumnSpec("coldkeys/swap_announced_at", "<u8"),  # 0: no coldkey swap is announced
            ColumnSpec("coldkeys/swap_hash", "u1", (32,)),  # blake2-256 of the announced new coldkey
            ColumnSpec("coldkeys/swap_disputed", "u1"),
        ),
    ),
    *KeyTable.columns(ROOT_RATES, 34, (ColumnSpec("root_rates/rate", "<u8", (2,)),)),
    *KeyTable.columns(ROOT_CLAIMED, 66, (ColumnSpec("root_claimed/amount", "<u8", (2,)),)),
    *KeyTable.columns(CHILDKEYS, 66, (ColumnSpec("childkeys/proportion", "<u8"),)),
    *KeyTable.columns(
        HOTKEY_SUBNETS,
        34,
        (
            ColumnSpec("hotkey_subnets/childkey_take", "<u2"),  # of 65535
            ColumnSpec("hotkey_subnets/childkey_take_changed_at", "<u8"),
            ColumnSpec("hotkey_subnets/children_set_at", "<u8"),
            ColumnSpec("hotkey_subnets/commitment_epoch", "<u8"),  # epoch index of commitment_space, plus one
            ColumnSpec("hotkey_subnets/commitment_space", "<u4"),  # bytes charged in that epoch
        ),
    ),
    *KeyTable.columns(AUTO_STAKES, 34, (ColumnSpec("auto_stakes/hotkey", "u1", (32,)),)),
    *KeyTable.columns(
        LOCKS,
        34,
        (
            ColumnSpec("locks/hotkey", "u1", (32,)),
            ColumnSpec("locks/mass", "<u8"),
            ColumnSpec("locks/conviction", "<u8", (2,)),  # U64F64
            ColumnSpec("locks/last", "<u8"),
            ColumnSpec("locks/perpetual", "u1"),
        ),
    ),
    *KeyTable.columns(
        LOCK_TOTALS,
        35,
        (
            ColumnSpec("lock_totals/mass", "<u8"),
            ColumnSpec("lock_totals/conviction", "<u8", (2,)),
            ColumnSpec("lock_totals/last", "<u8"),
        ),
    ),
    *KeyTable.columns(OWNER_LIMITS, 4, (ColumnSpec("owner_limits/changed_at", "<u8"),)),
    *KeyTable.columns(SUBNET_SWAPS, 34, (ColumnSpec("subnet_swaps/block", "<u8"),)),
    *KeyTable.columns(
        AUTHORITIES,
        32,
        (
            ColumnSpec("authorities/authority_key", "u1", (32,)),
            ColumnSpec("authorities/registered_at", "<u8"),  # 0: in the genesis state
            ColumnSpec("authorities/next_key", "u1", (32,)),  # replaces authority_key once it is old enough
            ColumnSpec("authorities/next_registered_at", "<u8"),  # 0: no replacement waits
            ColumnSpec("authorities/heartbeat_at", "<u8"),  # height of the newest heartbeat, 0 before the first
            ColumnSpec("authorities/peer_id", "u1", (PEER_ID_BYTES,)),
            ColumnSpec("authorities/peer_id_length", "u1"),
            ColumnSpec("authorities/boundary_stake", "<u8"),  # root stake at the last boundary
            ColumnSpec("authorities/bonded_stake", "<u8"),  # what must stay while it can be punished
            ColumnSpec("authorities/last_sat", "<u4"),  # era it last sat in, plus one; 0 for never
            ColumnSpec("authorities/punished_through", "<u4"),  # offences up to this era are covered, plus one
            ColumnSpec("authorities/jailed_until", "<u4"),  # first era it may sit in again
        ),
    ),
    *blob_columns(ERA_SETS),
    *blob_columns(RECORDS),
    *blob_columns(TIMELOCKED),
)
