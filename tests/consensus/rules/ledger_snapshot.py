"""What a swap of keys must leave as it is, under other names: everybody's stake, to the share."""

from yumad.consensus.rules.v1.dtao.safe_float import SafeFloat
from yumad.consensus.rules.v1.schema_tables import POSITIONS, STAKES
from yumad.consensus.rules.v1.stakes import position, share, share_pool
from yumad.consensus.state.state import State

Positions = dict[tuple[int, bytes, bytes], tuple[int, SafeFloat]]
"""By netuid, hotkey and coldkey: stake and share."""


def all_positions(state: State) -> Positions:
    """Every position of the ledger."""
    found = {}
    for key, _ in state.key_table(POSITIONS).items():
        where = int.from_bytes(key[:2], "big"), key[2:34], key[34:]
        found[where] = position(state, *where), share(state, *where)
    return found


def all_pools(state: State) -> dict[tuple[int, bytes], tuple[int, SafeFloat]]:
    """Value and shares of every hotkey's pool."""
    found = {}
    for key, _ in state.key_table(STAKES).items():
        netuid, hotkey = int.from_bytes(key[:2], "big"), key[2:]
        pool = share_pool(state, netuid, hotkey)
        found[netuid, hotkey] = pool.value, pool.denominator
    return found


def with_hotkey_renamed(positions: Positions, old: bytes, new: bytes) -> Positions:
    """The same under another hotkey."""
    return {(n, new if hotkey == old else hotkey, coldkey): held for (n, hotkey, coldkey), held in positions.items()}


def with_coldkey_renamed(positions: Positions, old: bytes, new: bytes) -> Positions:
    """The same under another coldkey."""
    return {(n, hotkey, new if coldkey == old else coldkey): held for (n, hotkey, coldkey), held in positions.items()}
