"""A chain in a home: made from its spec once, opened at every start with its state checked (CHAIN 4.4, startup)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..consensus.certificate import Certificate
from ..consensus.chain_spec import ChainSpec, decode_chain_spec, genesis_hash_of_bytes
from ..consensus.effects import NO_FLOOR, VOTES_AT_ONCE, BlockRef, EraContext, Restarted
from ..consensus.rules.checked import checked_rules_for
from ..consensus.rules.registry import rules_for
from ..consensus.types import ZERO_HASH, Era, Hash32, Height, InvalidError, Micros, Slot, View, YumadError
from ..consensus.working_chain import WorkingChain
from ..storage.chain import ChainStore, FinalisedPoint
from ..storage.guard import Floor, VoteGuard
from ..storage.home import ChainFolder, Home

LAST_VIEW: Final = View((1 << 64) - 1)
"""Above every view: views are u64."""


class NoChainError(YumadError):
    """The home knows no chain, or more than one."""

    code = "no_chain"


@dataclass(frozen=True, slots=True)
class OpenedChain:
    """A chain that is ready to run: its store and a working state at F."""

    spec: ChainSpec
    genesis_hash: Hash32
    folder: ChainFolder
    store: ChainStore
    working: WorkingChain


@dataclass(frozen=True, slots=True)
class StandingPoint:
    """Where an engine stands: the era being voted in and F as it counts there."""

    context: EraContext
    finalised: BlockRef
    view: View
    """F's view in the era; 0 at its opening block."""
    finality: Certificate | None
    """F's certificate in the era; None at its opening block."""


def create_chain(home: Home, spec_bytes: bytes) -> Hash32:
    """Make the chain database of a spec; nothing happens when it is there. Raises InvalidError for a bad spec."""
    spec = decode_chain_spec(spec_bytes)
    genesis_hash = genesis_hash_of_bytes(spec_bytes)
    folder = home.prepare_chain(genesis_hash)
    if folder.chain_database.exists():
        ChainStore.open(folder.chain_database, genesis_hash).close()
        return genesis_hash
    if not spec.authorities:
        raise InvalidError(
            "the chain spec names no authority: nobody could make a block",
            remedy="add authority records with `yumad genesis build`",
        )
    rules = rules_for(spec.rules_version)
    ChainStore.create(
        folder.chain_database,
        spec_bytes,
        genesis_hash,
        rules.build_genesis(spec),
        authorities=rules.genesis_authorities(spec, genesis_hash),
        era_blocks=spec.era_blocks,
    )
    return genesis_hash


def the_chain_of(home: Home, genesis_prefix: str = "") -> ChainFolder:
    """The one chain folder of a home, or the one whose genesis hash begins so. Raises NoChainError."""
    folders = home.chains.glob("*") if home.chains.is_dir() else ()
    wanted = genesis_prefix[:8]
    found = sorted(path for path in folders if (path / "chain.db").exists() and path.name.startswith(wanted))
    if not found:
        raise NoChainError(
            f"{home.path} holds no chain",
            remedy="`yumad init --spec FILE` starts one, `yumad join ADDRESS#GENESIS` joins one",
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise NoChainError(f"{home.path} holds several chains: {names}", remedy="say which with --genesis")
    return ChainFolder(found[0])


def genesis_hash_of_folder(folder: ChainFolder) -> Hash32:
    """The full genesis hash that a chain database was made for."""
    return ChainStore.genesis_hash_of(folder.chain_database)


def open_chain(folder: ChainFolder, genesis_hash: Hash32, *, check_invariants: bool = False) -> OpenedChain:
    """Open the store and load the state at F; every root is recomputed. Raises StorageError when it is damaged."""
    store = ChainStore.open(folder.chain_database, genesis_hash)
    try:
        spec_bytes = store.spec_bytes()
        spec = decode_chain_spec(spec_bytes)
        working = WorkingChain(
            spec,
            genesis_hash,
            store.load_state(),
            finalised_ref(store),
            reload=store.load_state,
            rules=checked_rules_for if check_invariants else rules_for,
        )
    except BaseException:
        store.close()
        raise
    return OpenedChain(spec, genesis_hash, folder, store, working)


def finalised_ref(store: ChainStore) -> BlockRef:
    """F as the engine names it."""
    return _ref(store, store.finalised())


def era_context(store: ChainStore, spec: ChainSpec) -> EraContext:
    """The era being voted in after F: the next one once its boundary is final."""
    return _context_after(store, spec, store.finalised())


def standing_point(store: ChainStore, spec: ChainSpec) -> StandingPoint:
    """F and the era after it, read from one look at the store: another thread may move F at any time."""
    point = store.finalised()
    context = _context_after(store, spec, point)
    if point.hash == context.opening.hash:
        return StandingPoint(context, context.opening, View(0), None)
    return StandingPoint(context, _ref(store, point), point.view, point.certificate)


def restart_event(
    store: ChainStore, spec: ChainSpec, guard: VoteGuard | None, listens_until: Micros = VOTES_AT_ONCE
) -> Restarted:
    """What storage remembers, for the engine's first event (R7, R9-R11)."""
    return remembered(store.genesis_hash, standing_point(store, spec), guard, listens_until)


def remembered(
    genesis_hash: Hash32, point: StandingPoint, guard: VoteGuard | None, listens_until: Micros = VOTES_AT_ONCE
) -> Restarted:
    """The event that makes an engine stand at `point` with everything the guard knows of its era."""
    if guard is None:
        return Restarted(point.context, point.finalised, point.view, point.finality, (), (), ())
    contents = guard.load(genesis_hash, ZERO_HASH, point.context.era)
    return Restarted(
        point.context,
        point.finalised,
        point.view,
        point.finality,
        contents.certificates,
        contents.own_statements,
        tuple(block.header for block in contents.blocks if block.header.height > point.finalised.height),
        vote_floor(guard.floor(genesis_hash, ZERO_HASH), point.context.era),
        listens_until,
    )


def vote_floor(floor: Floor | None, era: Era) -> View:
    """View of `era` at or below which the guard signs nothing: every view where its floor lies in a later era.

    That is so where the chain folder was deleted to sync anew while the guard, as it must, stayed.
    """
    if floor is None or floor.era < era:
        return NO_FLOOR
    return floor.view if floor.era == era else LAST_VIEW


def _context_after(store: ChainStore, spec: ChainSpec, point: FinalisedPoint) -> EraContext:
    era = Era(spec.timing.era_of(point.height + 1))
    record = store.era_record(era)
    if record is None:
        raise InvalidError(f"the chain database has no record of era {era}", remedy="run `yumad verify`")
    return EraContext(era, record.authorities, record.opening)


def _ref(store: ChainStore, point: FinalisedPoint) -> BlockRef:
    if point.header is None:
        return BlockRef(store.genesis_hash, Height(0), Slot(0), ZERO_HASH)
    return BlockRef.of(point.header, point.hash)
