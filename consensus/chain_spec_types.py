"""What a chain spec holds (DESIGN decision 4): frozen values, re-exported by `chain_spec.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .chain_spec_parameters import ChainParameters, FeeSchedule, GlobalParameters, SubnetHyperparameters
from .timing import Timing
from .types import AccountId, AuthorityKey, Micros, Netuid, Rao, Signature

MAX_NAME_BYTES: Final = 64
MAX_SALT_BYTES: Final = 32
MAX_PEER_ID_BYTES: Final = 64
"""An Ed25519 libp2p peer id is 38 bytes."""

MAX_KEYS: Final = 32
"""Admin or recovery keys."""

MAX_ACCOUNTS: Final = 1 << 20
"""Balances or stakes a spec may list."""

MAX_NEURONS: Final = 4096


@dataclass(frozen=True, slots=True)
class AuthoritySpec:
    """A hotkey that may vote from era 0, weighted by its root stake."""

    hotkey: AccountId
    coldkey: AccountId
    """Gets the fees of blocks its authority proposes."""
    authority_key: AuthorityKey
    possession: Signature
    """By the authority key over `possession_digest_at_genesis`."""
    peer_id: bytes
    """Where to find it; may be empty."""


@dataclass(frozen=True, slots=True)
class NeuronSpec:
    """One uid of a genesis subnet; its position in the list is the uid."""

    hotkey: AccountId
    coldkey: AccountId
    stake: Rao
    """Stake on this subnet in its own unit of 1e-9 (alpha); no part of TAO issuance."""
    registration_block: int
    last_update: int
    permit: bool


@dataclass(frozen=True, slots=True)
class WeightsSpec:
    """One genesis weight row, packed as in the `set_weights` call."""

    mechanism: int
    uid: int
    uids: bytes
    """Little-endian u16 targets, in submission order, each once."""
    values: bytes
    """Little-endian u16 weights, one per target."""


@dataclass(frozen=True, slots=True)
class SubnetSpec:
    """One subnet as it stands at genesis."""

    netuid: Netuid
    owner_hotkey: AccountId
    owner_coldkey: AccountId
    tao_reserve: Rao
    """TAO in its pool; part of the issuance."""
    alpha_reserve: Rao
    """Alpha in its pool, in its own unit of 1e-9."""
    quote_weight: int
    """Weight of TAO in the pool in parts of 10^18, from 10^16 to 99 * 10^16."""
    moving_price: int
    """EMA price that decides emission, raw I96F32."""
    started: bool
    """Whether the owner's `start_call` counts as given: emission and trade from block 1."""
    hyperparameters: SubnetHyperparameters
    neurons: tuple[NeuronSpec, ...]
    weights: tuple[WeightsSpec, ...]
    """Sorted by (mechanism, uid)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpec(ChainParameters):
    """A whole spec; the flat parameters are inherited. `check_chain_spec` says what else must hold."""

    name: str
    profile: str
    """Name of the profile the defaults came from: `main`, `dev` or `finney`."""
    genesis_time: Micros
    """Unix microseconds at which slot 0 begins."""
    salt: bytes
    """Random in a dev spec, so that a wiped swarm is a new chain."""
    rules_version: int
    fees: FeeSchedule
    parameters: GlobalParameters
    admin_keys: tuple[AccountId, ...]
    """Sorted; empty makes parameters immutable."""
    admin_threshold: int
    recovery_keys: tuple[AccountId, ...]
    """Sorted; empty makes a restart a social decision."""
    recovery_threshold: int
    dev_names: tuple[str, ...]
    """Development accounts that this chain funds, for the tools."""
    balances: tuple[tuple[AccountId, Rao], ...]
    """(coldkey, free TAO), sorted by account."""
    stakes: tuple[tuple[AccountId, AccountId, Rao], ...]
    """(hotkey, owning coldkey, root stake), sorted by hotkey."""
    authorities: tuple[AuthoritySpec, ...]
    """Sorted by hotkey."""
    subnets: tuple[SubnetSpec, ...]
    """Sorted by netuid."""

    @property
    def timing(self) -> Timing:
        """Clock arithmetic of this chain."""
        return Timing(self.genesis_time, self.slot_length, self.era_blocks)

    @property
    def issuance(self) -> Rao:
        """All TAO in rao: balances, root stakes and the pools' reserves."""
        held = sum(amount for _, amount in self.balances) + sum(stake for _, _, stake in self.stakes)
        return Rao(held + sum(subnet.tao_reserve for subnet in self.subnets))
