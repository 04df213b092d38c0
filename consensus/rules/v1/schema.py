"""The columns of the state under rules version 1 (CHAIN 4.2, DESIGN section 7, state).

Three shapes: single numbers (`chain/…`, `global/…`), one row per subnet (`subnets/…`, the row is the netuid) and one
row per neuron (`neurons/…`, the row is `netuid * NEURON_STRIDE + uid`). So a block that touches a number of every
subnet dirties one or two chunks. Only what a mechanism owns has columns of its own, `sn/<netuid>/<mechanism>/…`.
Keyed rows (accounts, hotkeys, positions, authorities…) and blobs are in `schema_tables`.
"""

from __future__ import annotations

from typing import Final

from ...authority import MAX_AUTHORITIES
from ...state.column import ColumnSpec
from .hyperparameters import GLOBAL, SUBNET
from .schema_tables import (
    AUTHORITIES,
    ERA_SETS,
    HOTKEYS,
    PEER_ID_BYTES,
    POSITIONS,
    ROOT_INDEX,
    STAKES,
    TABLES,
)

NEURON_STRIDE: Final = 256
"""Rows of `neurons/…` per subnet: the most uids that YUMA section 8 allows."""

MAX_PAIRS: Final = 256
"""Pairs of one weight or bond row: 1 KiB, exactly one chunk, so setting weights rehashes one chunk."""

MAX_MECHANISMS: Final = 16
"""YUMA 4.4."""

BLOCK_HASH_RING: Final = 128
"""Recent block hashes kept, to find the height of a certificate's block. Above MAX_UNFINALISED + its slack (72): a
certificate for an older block says nothing about who takes part now."""

CHAIN: Final[tuple[ColumnSpec, ...]] = (
    ColumnSpec("chain/height", "<u8"),
    ColumnSpec("chain/issuance", "<u8"),  # TotalIssuance: free balances + subnet accounts + burned, in rao
    ColumnSpec("chain/burned", "<u8"),  # the burn account: held by nobody, still issued
    ColumnSpec("chain/minted", "<u8"),  # all TAO ever minted by blocks, the faucet and genesis, in rao
    ColumnSpec("chain/recycled", "<u8"),  # all TAO that left the issuance again; minted - recycled = issuance
    ColumnSpec("chain/total_stake", "<u8"),  # TotalStake: informational, not the sum of anything (DTAO 13.16)
    ColumnSpec("chain/sweep_cursor", "<u8"),  # next row of the positions that the root index sweep looks at
    ColumnSpec("chain/last_lock_cost", "<u8"),  # NetworkLastLockCost, rao
    ColumnSpec("chain/last_lock_block", "<u8"),  # height of the last subnet registration, 0 before the first
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
    ColumnSpec("subnets/subnet_mechanism", "<u2"),  # 1 dynamic (it has a pool), otherwise stable; root is 0
    ColumnSpec("subnets/account", "<u8"),  # rao in the subnet's account: reserve, what was left over, on root all stake
    ColumnSpec("subnets/tao_reserve", "<u8"),  # SubnetTAO, y; on root the TAO staked there
    ColumnSpec("subnets/alpha_reserve", "<u8"),  # SubnetAlphaIn, x
    ColumnSpec("subnets/alpha_out", "<u8"),  # SubnetAlphaOut: alpha outside the pool, owned or lost
    ColumnSpec("subnets/quote_weight", "<u8"),  # w_q in parts of 10^18
    ColumnSpec("subnets/swap_initialised", "u1"),  # PalSwapInitialized
    ColumnSpec("subnets/moving_price", "<u8", (2,)),  # SubnetMovingPrice, I96F32
    ColumnSpec("subnets/miner_burned", "<u8"),  # MinerBurned, raw U96F32 of at most one
    ColumnSpec("subnets/first_emission_block", "<u8"),  # 0: not started
    ColumnSpec("subnets/pending_server", "<u8"),
    ColumnSpec("subnets/pending_validator", "<u8"),
    ColumnSpec("subnets/pending_root", "<u8"),
    ColumnSpec("subnets/pending_owner_cut", "<u8"),
    ColumnSpec("subnets/protocol_alpha", "<u8"),  # alpha the chain bought
    ColumnSpec("subnets/protocol_flow", "<i8"),
    ColumnSpec("subnets/volume", "<u8", (2,)),  # u128 rao traded
    ColumnSpec("subnets/locked", "<u8"),  # SubnetLocked, rao
    ColumnSpec("subnets/alpha_burned", "<u8"),  # counter: alpha nobody can move any more but that stays in alpha_out
    ColumnSpec("subnets/root_sell_tao", "<u8"),  # counter: TAO that root claims took out
    ColumnSpec("subnets/tao_in_emission", "<u8"),  # last block's injection
    ColumnSpec("subnets/alpha_in_emission", "<u8"),
    ColumnSpec("subnets/alpha_out_emission", "<u8"),
    ColumnSpec("subnets/excess_tao", "<u8"),  # last block's chain buy
    ColumnSpec("subnets/root_registrations_block", "<u2"),  # root only: registrations in this block
    ColumnSpec("subnets/root_registrations_interval", "<u2"),  # root only: in this interval
    ColumnSpec("subnets/symbol", "<u2"),  # index of the token's symbol
    ColumnSpec("subnets/reused", "u1"),  # 1: a subnet was dissolved here, some settings are inherited (DTAO 8.6)
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


def all_columns() -> tuple[ColumnSpec, ...]:
    """Every column of a state without subnets."""
    return (*CHAIN, BLOCK_HASHES, *ERA_COLUMNS, *GLOBALS, *SUBNETS, *NEURONS, *TABLES, ROOT_INDEX)


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


__all__ = [
    "AUTHOR",
    "AUTHORITIES",
    "BLOCK_HASHES",
    "BLOCK_HASH_RING",
    "CHAIN",
    "ERA_COLUMNS",
    "ERA_ROWS",
    "ERA_SETS",
    "GLOBALS",
    "HOTKEYS",
    "IN_CERTIFICATE",
    "MAX_MECHANISMS",
    "MAX_PAIRS",
    "NEURONS",
    "NEURON_STRIDE",
    "PEER_ID_BYTES",
    "POSITIONS",
    "STAKES",
    "SUBNETS",
    "all_columns",
    "mechanism_columns",
]
