"""The columns of the state under rules version 1 (CHAIN 4.2, DESIGN section 7, state).

Three shapes: single numbers (`chain/…`, `global/…`), one row per subnet (`subnets/…`, the row is the netuid) and one
row per neuron (`neurons/…`, the row is `netuid * NEURON_STRIDE + uid`). So a block that touches a number of every
subnet dirties one or two chunks. Only what a mechanism owns has columns of its own, `sn/<netuid>/<mechanism>/…`.
Keyed rows (accounts, hotkeys, positions, authorities) and blobs are tables of the state package.
"""

from __future__ import annotations

from typing import Final

from ...authority import MAX_AUTHORITIES
from ...state.accounts import ACCOUNT_COLUMNS
from ...state.blobs import blob_columns
from ...state.column import ColumnSpec
from ...state.key_table import KeyTable
from .hyperparameters import GLOBAL, SUBNET

NEURON_STRIDE: Final = 256
"""Rows of `neurons/…` per subnet: the most uids that YUMA section 8 allows."""

MAX_PAIRS: Final = 256
"""Pairs of one weight or bond row: 1 KiB, exactly one chunk, so setting weights rehashes one chunk."""

MAX_MECHANISMS: Final = 16
"""YUMA 4.4."""

BLOCK_HASH_RING: Final = 128
"""Recent block hashes kept, to find the height of a certificate's block. Above MAX_UNFINALISED + its slack (72): a
certificate for an older block says nothing about who takes part now."""

PEER_ID_BYTES: Final = 64
"""Longest libp2p peer id that a heartbeat may carry; those of Ed25519 keys take 38."""

CHAIN: Final[tuple[ColumnSpec, ...]] = (
    ColumnSpec("chain/height", "<u8"),
    ColumnSpec("chain/issuance", "<u8"),  # rao of TAO: free balances + root stake + subnet reserves + burned
    ColumnSpec("chain/burned", "<u8"),  # paid for registrations, slashed: held by nobody
    ColumnSpec("chain/certificate_height", "<u8"),  # newest block whose finality certificate was counted
    ColumnSpec("chain/boundary_hash", "u1", (32,)),  # boundary block before the present era, zero in era 0
    ColumnSpec("chain/admin_nonce", "<u8"),
    ColumnSpec("chain/authorities_hash", "u1", (32,)),  # of the running era's set, as `era_sets` has it
)
"""One row each."""

ERA_COLUMNS: Final[tuple[ColumnSpec, ...]] = (
    ColumnSpec("era/participation", "u1"),  # by index in the era's set: IN_CERTIFICATE | AUTHOR
)
ERA_ROWS: Final = MAX_AUTHORITIES
IN_CERTIFICATE: Final = 1
AUTHOR: Final = 2

BLOCK_HASHES: Final = ColumnSpec("chain/block_hashes", "u1", (32,))
"""Hash of block h in row h % BLOCK_HASH_RING."""

SUBNETS: Final[tuple[ColumnSpec, ...]] = (
    ColumnSpec("subnets/exists", "u1"),
    ColumnSpec("subnets/owner", "u1", (32,)),  # coldkey
    ColumnSpec("subnets/owner_hotkey", "u1", (32,)),
    ColumnSpec("subnets/registered_at", "<u8"),
    ColumnSpec("subnets/neurons", "<u2"),  # n
    ColumnSpec("subnets/burn", "<u8"),  # present registration price
    ColumnSpec("subnets/burn_increase_multiplier", "<u8", (2,)),  # U64F64
    ColumnSpec("subnets/last_epoch_block", "<u8"),
    ColumnSpec("subnets/pending_epoch_at", "<u8"),
    ColumnSpec("subnets/blocks_since_last_step", "<u8"),
    ColumnSpec("subnets/epoch_index", "<u8"),
    ColumnSpec("subnets/last_step", "<u8"),
    ColumnSpec("subnets/emission_per_block", "<u8"),
    ColumnSpec("subnets/pending_emission", "<u8"),
    ColumnSpec("subnets/stake", "<u8"),  # of all hotkeys, in the subnet's own token; row 0 is root, in TAO
    ColumnSpec("subnets/tao_reserve", "<u8"),  # TAO paid in for stake, rao
    ColumnSpec("subnets/alpha_issuance", "<u8"),  # stake + pending emission of a subnet's token
    ColumnSpec("subnets/last_emission", "<u8"),  # what the last epoch had to distribute
    ColumnSpec("subnets/last_server", "<u8"),  # and paid to miners
    ColumnSpec("subnets/last_validator", "<u8"),  # and to validators
    ColumnSpec("subnets/mechanism_split", "<u2", (MAX_MECHANISMS,)),
    ColumnSpec("subnets/mechanism_split_length", "u1"),  # 0: even split
    *(ColumnSpec(f"subnets/{parameter.name}", parameter.dtype) for parameter in SUBNET),
)
"""Row netuid; rows of numbers without a subnet are zero."""

GLOBALS: Final[tuple[ColumnSpec, ...]] = tuple(ColumnSpec(f"global/{p.name}", p.dtype) for p in GLOBAL)
"""One row each."""

NEURONS: Final[tuple[ColumnSpec, ...]] = (
    ColumnSpec("neurons/hotkey", "<u4"),  # row of the hotkey table plus one; 0 where there is no neuron
    ColumnSpec("neurons/registered_at", "<u8"),
    ColumnSpec("neurons/active", "u1"),
    ColumnSpec("neurons/permit", "u1"),
    ColumnSpec("neurons/emission", "<u8"),
    ColumnSpec("neurons/consensus", "<u2"),
    ColumnSpec("neurons/dividends", "<u2"),
    ColumnSpec("neurons/validator_trust", "<u2"),
    ColumnSpec("neurons/stake_weight", "<u2"),
)
"""Row netuid * NEURON_STRIDE + uid."""


HOTKEYS: Final = "hotkeys"
"""Key: hotkey. Rows are never released: neurons refer to them."""

STAKES: Final = "stakes"
"""Key: netuid (2 bytes, big-endian), hotkey. Stake behind a hotkey on one subnet, all coldkeys together."""

POSITIONS: Final = "positions"
"""Key: netuid (2 bytes, big-endian), hotkey, coldkey. One holder's stake; a position of 0 has no row."""

AUTHORITIES: Final = "authorities"
"""Key: hotkey. Rows stay: a punishment must outlive the key it was for."""

ERA_SETS: Final = "era_sets"
"""Blobs by era (4 bytes, big-endian): `[authority set, [hotkey…]]` of the last EVIDENCE_ERAS eras and the next one."""

TABLES: Final[tuple[ColumnSpec, ...]] = (
    *ACCOUNT_COLUMNS,
    ColumnSpec("accounts/free", "<u8"),  # rao
    *KeyTable.columns(HOTKEYS, 32, (ColumnSpec("hotkeys/owner", "u1", (32,)),)),
    *KeyTable.columns(STAKES, 34, (ColumnSpec("stakes/amount", "<u8"),)),
    *KeyTable.columns(POSITIONS, 66, (ColumnSpec("positions/amount", "<u8"),)),
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
)


def all_columns() -> tuple[ColumnSpec, ...]:
    """Every column of a state without subnets."""
    return (*CHAIN, BLOCK_HASHES, *ERA_COLUMNS, *GLOBALS, *SUBNETS, *NEURONS, *TABLES)


def mechanism_columns(netuid: int, mechanism: int) -> tuple[ColumnSpec, ...]:
    """What one mechanism of one subnet owns: one row per uid.

    Pairs are (uid, value) in submission order; those behind the row's count are zero.
    """
    prefix = f"sn/{netuid}/{mechanism}"
    return (
        ColumnSpec(f"{prefix}/last_update", "<u8"),
        ColumnSpec(f"{prefix}/incentive", "<u2"),
        ColumnSpec(f"{prefix}/weight_count", "<u2"),
        ColumnSpec(f"{prefix}/weights", "<u2", (MAX_PAIRS, 2)),
        ColumnSpec(f"{prefix}/bond_count", "<u2"),
        ColumnSpec(f"{prefix}/bonds", "<u2", (MAX_PAIRS, 2)),
    )
