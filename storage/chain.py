"""The chain database: everything final, and nothing else (CHAIN 4.4).

`chain.db` lies in `chain/<genesis8>/`, which may be deleted to sync anew. Finalising is one transaction over headers,
bodies, certificate, state and the finalised point F, so a process that dies anywhere leaves the chain before it or
after it. Bulk data is keyed by height: random keys are what hurts in a file of 10 GB (CHAIN 4.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..consensus import cbor
from ..consensus.authority import AuthoritySet, decode_authority_set
from ..consensus.certificate import Certificate
from ..consensus.effects import BlockRef
from ..consensus.header import Header
from ..consensus.header import block_hash as header_hash
from ..consensus.restart_file import RestartFile
from ..consensus.state.changes import merge_changes
from ..consensus.state.state import State
from ..consensus.statement import Kind
from ..consensus.types import ZERO_HASH, Era, Hash32, Height, InvalidError, Slot, View
from .certificates import keep_certificates
from .database import CACHE_BYTES, Database, Durability, Schema, StorageError, Transaction
from .final_blocks import TABLES as BLOCK_TABLES
from .final_blocks import FinalBlocks, damaged, insert_block, insert_era
from .recovery import TABLES as RESTART_TABLES
from .recovery import RestartLog
from .state_tables import TABLES as STATE_TABLES
from .state_tables import ColumnFault, StateTables, write_genesis

if TYPE_CHECKING:
    from ..consensus.working_chain import FinalisedBlock

_SCHEMA: Final = Schema(
    kind="chain database",
    application_id=0x79756301,
    version=1,
    tables=(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
        *BLOCK_TABLES,
        *RESTART_TABLES,
        *STATE_TABLES,
    ),
)

_PRUNE_STEP: Final = 256
"""Bodies deleted in one transaction: at 512 KiB each a larger step would hold up finalising."""

NO_BLOCK: Final = b"\x80"
"""An empty CBOR array: the stored finalised point of a chain without blocks."""


@dataclass(frozen=True, slots=True)
class FinalisedPoint:
    """F: the newest final block."""

    header: Header | None
    """None at genesis."""
    hash: Hash32
    """The genesis hash at height 0."""
    height: Height
    view: View
    """View of its finality certificate, 0 at genesis."""
    era: Era
    """Era of the block and its certificate, 0 at genesis."""
    certificate: Certificate | None
    """None only at genesis: a peer can always prove its F (R11)."""


@dataclass(frozen=True, slots=True)
class EraRecord:
    """One era as it began."""

    era: Era
    authorities: AuthoritySet
    opening: BlockRef
    """Boundary block before it; genesis for era 0."""
    boundary_height: Height
    """Height of its last block."""


class ChainStore(FinalBlocks):
    """The open chain database of one chain. Synchronous; any thread may call, one at a time writes."""

    def __init__(self, database: Database, genesis_hash: Hash32, *, read_only: bool = False) -> None:
        """Use `ChainStore.open`."""
        super().__init__(database)
        self.path = database.path
        stored = self.meta("genesis_hash")
        if stored != genesis_hash:
            raise StorageError(
                f"{database.path} holds chain {'' if stored is None else stored.hex()}, expected {genesis_hash.hex()}",
                remedy="give the --home or the chain spec of one network",
            )
        self.genesis_hash = genesis_hash
        self.era_blocks = self._number("era_blocks")
        self.closed_cleanly = self.meta("clean") == b"\x01"
        """Whether the last process closed the file; if not, `load_state` and `verify_columns` matter most."""
        self._read_only = read_only
        self._state_tables = StateTables(database)
        self._restarts = RestartLog(database, genesis_hash)
        self._finalised = self._read_finalised()
        if not read_only:
            self.set_meta("clean", b"\x00")

    @classmethod
    def create(
        cls,
        path: Path,
        spec_bytes: bytes,
        genesis_hash: Hash32,
        state: State,
        *,
        authorities: AuthoritySet,
        era_blocks: int,
    ) -> None:
        """Make the database of a chain at height 0; all or nothing.

        `state` is the genesis state, `authorities` the set of era 0. Raises StorageError when the file exists or the
        disk refuses.
        """

        def fill(transaction: Transaction) -> None:
            for name, value in (
                ("genesis_hash", bytes(genesis_hash)),
                ("spec", spec_bytes),
                ("rules_version", state.rules_version.to_bytes(8, "big")),
                ("genesis_state_root", bytes(state.root())),
                ("era_blocks", era_blocks.to_bytes(8, "big")),
                ("finalised", NO_BLOCK),
                ("earliest_body", (1).to_bytes(8, "big")),
                ("clean", b"\x01"),
            ):
                transaction.execute("INSERT INTO meta VALUES (?, ?)", (name, value))
            insert_era(transaction, Era(0), authorities, BlockRef(genesis_hash, Height(0), Slot(0), ZERO_HASH))
            write_genesis(transaction, state)

        Database.create(path, _SCHEMA, fill)

    @classmethod
    def open(
        cls,
        path: Path,
        genesis_hash: Hash32,
        durability: Durability = Durability.FULL,
        *,
        read_only: bool = False,
    ) -> ChainStore:
        """The existing database of the chain `genesis_hash`; `read_only` beside a process that writes it.

        Raises StorageError when it is missing, damaged, newer than this program or of another chain.
        """
        database = Database.open(path, _SCHEMA, durability=durability, cache_bytes=CACHE_BYTES, read_only=read_only)
        try:
            return cls(database, genesis_hash, read_only=read_only)
        except BaseException:
            database.close()
            raise

    @staticmethod
    def genesis_hash_of(path: Path) -> Hash32:
        """Full genesis hash of the chain a database was made for, without opening it for use.

        Raises StorageError when there is none.
        """
        database = Database.open(path, _SCHEMA, read_only=True)
        try:
            row = database.one("SELECT value FROM meta WHERE name = 'genesis_hash'")
        finally:
            database.close()
        if row is None:
            raise damaged(path, "its genesis hash is missing")
        return Hash32(bytes(row[0]))

    # --- writing ------------------------------------------------------------------------------------------------------

    def finalise(
        self,
        batch: Sequence[FinalisedBlock],
        certificate: Certificate,
        view: View,
        boundaries: Mapping[Height, Certificate] | None = None,
    ) -> FinalisedPoint:
        """Make `batch` final in one durable transaction: headers, bodies, certificates, state, eras, evidence and F.

        The blocks stand on F in height order; `certificate` finalises the last one in `view`. `boundaries` has the
        finality certificates of boundary blocks before the last one. Raises InvalidError, storing nothing, when the
        batch does not fit; StorageError when the disk refuses.
        """
        last = self._check_batch(batch, certificate, view)
        certificates = {**(boundaries or {}), last.header.height: certificate}
        for block in batch:
            held = certificates.get(block.header.height)
            if held is None and block.outcome.next_authorities is not None:
                raise InvalidError(f"boundary block {block.header.height} comes without its finality certificate")
            if held is not None and held.statement.block_hash != block.hash:
                raise InvalidError(f"the certificate given for block {block.header.height} names another block")
        point = FinalisedPoint(last.header, last.hash, last.header.height, view, last.header.era, certificate)
        try:
            with self._database.transaction() as transaction:
                for block in batch:
                    insert_block(transaction, block, certificates.get(block.header.height))
                keep_certificates(transaction, self._finalised.height, point.height)
                self._state_tables.apply(transaction, merge_changes(block.changes for block in batch))
                _set_meta(transaction, "rules_version", last.header.rules_version.to_bytes(8, "big"))
                _set_meta(transaction, "finalised", cbor.encode([point.height, point.hash, view, point.era]))
        except BaseException:
            self._state_tables.refresh()
            raise
        self._finalised = point
        return point

    def _check_batch(self, batch: Sequence[FinalisedBlock], certificate: Certificate, view: View) -> FinalisedBlock:
        if not batch:
            raise InvalidError("nothing to finalise")
        parent, height = self._finalised.hash, self._finalised.height
        for block in batch:
            if block.header.height != height + 1 or block.header.parent_hash != parent:
                raise InvalidError(f"block {block.header.height} does not stand on block {height}")
            parent, height = block.hash, block.header.height
        last, statement = batch[-1], certificate.statement
        if (statement.kind, statement.era, statement.view, statement.block_hash) != (
            Kind.FINALIZE,
            last.header.era,
            view,
            last.hash,
        ):
            raise InvalidError(f"the certificate given does not finalise block {last.header.height} in view {view}")
        return last

    def prune(self, keep_bodies_from: Height) -> int:
        """Delete the bodies below `keep_bodies_from` (never F's), in small transactions; gives how many."""
        target = min(keep_bodies_from, self._finalised.height)
        removed, start = 0, self.earliest_body()
        while start < target:
            stop = min(start + _PRUNE_STEP, target)
            with self._database.transaction() as transaction:
                removed += transaction.execute("DELETE FROM body WHERE height < ?", (stop,))
                _set_meta(transaction, "earliest_body", stop.to_bytes(8, "big"))
            start = Height(stop)
        return removed

    def adopt_restart(self, file: RestartFile) -> Hash32:
        """Go on in a new vote domain from F with the set of a restart file, already verified; gives its hash.

        Raises InvalidError unless the file stands exactly on F and follows the newest file adopted.
        """
        point = self._finalised
        era = Era(point.height // self.era_blocks)
        parent = ZERO_HASH if point.header is None else point.header.parent_hash
        return self._restarts.adopt(file, era, (point.height, point.hash), parent)

    def set_meta(self, name: str, value: bytes) -> None:
        """Store a small value under a name, durably."""
        with self._database.transaction() as transaction:
            _set_meta(transaction, name, value)

    def close(self) -> None:
        """Note that the end was clean, and close."""
        try:
            if not self._read_only:
                self.set_meta("clean", b"\x01")
        except StorageError:
            pass  # a disk that failed before: the next start checks everything, as it must
        self._database.close()

    # --- state --------------------------------------------------------------------------------------------------------

    def load_state(self) -> State:
        """The state at F, checked against F's header: every root is recomputed from the stored bytes.

        Raises StorageError naming column and chunk when the file is damaged.
        """
        return self._state_tables.load(self._number("rules_version"), self.state_root())

    def verify_columns(self) -> ColumnFault | None:
        """The first (column, chunk) of the stored state that differs from what F's header commits, or None."""
        return self._state_tables.verify(self._number("rules_version"), self.state_root())

    def state_root(self) -> Hash32:
        """State root at F."""
        if self._finalised.header is not None:
            return self._finalised.header.state_root
        root = self.meta("genesis_state_root")
        if root is None:
            raise damaged(self.path, "its genesis state root is missing")
        return Hash32(root)

    # --- reading ------------------------------------------------------------------------------------------------------

    def finalised(self) -> FinalisedPoint:
        """F, from memory."""
        return self._finalised

    def block_hash(self, height: Height) -> Hash32 | None:
        """Hash of the final block at `height`; the genesis hash at 0."""
        if height == 0:
            return self.genesis_hash
        data = self._bytes("SELECT hash FROM header WHERE height = ?", height)
        return None if data is None else Hash32(data)

    def earliest_body(self) -> Height:
        """Least height whose body is kept; F's height + 1 when there are no blocks yet."""
        return Height(self._number("earliest_body"))

    def restart_hash(self) -> Hash32:
        """The restart hash votes are signed under; zero before the first restart file."""
        return self._restarts.newest_hash()

    def restart_files(self, era: Era) -> Sequence[bytes]:
        """Restart files whose point lies in `era`, oldest first."""
        return self._restarts.files(era)

    def era_record(self, era: Era) -> EraRecord | None:
        """The set that counts in `era` and its opening block: as the era began, or as a restart file made it anew.

        None for an era that is not open yet.
        """
        begun = self._begun_era(era)
        restart = self._restarts.newest_in(era)
        if begun is None or restart is None:
            return begun
        return EraRecord(era, restart.authorities, restart.opening, begun.boundary_height)

    def _begun_era(self, era: Era) -> EraRecord | None:
        row = self._database.one(
            "SELECT authorities, opening_hash, opening_height, opening_slot, opening_parent FROM era WHERE era = ?",
            (era,),
        )
        if row is None:
            return None
        opening = BlockRef(Hash32(row[1]), Height(row[2]), Slot(row[3]), Hash32(row[4]))
        return EraRecord(era, decode_authority_set(row[0]), opening, Height((era + 1) * self.era_blocks))

    def boundary_proof(self, era: Era) -> tuple[Header, Certificate, AuthoritySet] | None:
        """Boundary header of `era`, its finality certificate and the set of `era + 1`; None while the era runs."""
        following = self._begun_era(Era(era + 1))
        if following is None:
            return None
        header = self.header(following.opening.height)
        certificate = self.certificate(following.opening.height)
        return None if header is None or certificate is None else (header, certificate, following.authorities)

    def spec_bytes(self) -> bytes:
        """Canonical bytes of the chain spec."""
        data = self.meta("spec")
        if data is None:
            raise damaged(self.path, "its chain spec is missing")
        return data

    def meta(self, name: str) -> bytes | None:
        """A small value stored under a name."""
        row = self._database.one("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else bytes(row[0])

    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self._database.size_bytes()

    def _number(self, name: str) -> int:
        value = self.meta(name)
        if value is None or len(value) != 8:
            raise damaged(self.path, f"its {name} is missing")
        return int.from_bytes(value, "big")

    def _read_finalised(self) -> FinalisedPoint:
        stored = cbor.decode(self.meta("finalised") or b"", max_bytes=64)
        if not stored:
            return FinalisedPoint(None, self.genesis_hash, Height(0), View(0), Era(0), None)
        height, block_hash, view, era = stored
        header, certificate = self.header(height), self.certificate(height)
        if header is None or certificate is None:
            raise damaged(self.path, f"its finalised block {height} is not there")
        if header_hash(header) != block_hash and not self._read_only:  # read-only is for `verify`, which names it
            raise damaged(self.path, f"the header of its finalised block {height} has another hash")
        return FinalisedPoint(header, Hash32(block_hash), Height(height), View(view), Era(era), certificate)


def stored_genesis_hash(path: Path) -> Hash32:
    """The full genesis hash of the chain that a database holds. Raises StorageError when it cannot be read."""
    database = Database.open(path, _SCHEMA)
    try:
        row = database.one("SELECT value FROM meta WHERE name = 'genesis_hash'")
    finally:
        database.close()
    if row is None or len(row[0]) != 32:
        raise damaged(path, "its genesis hash is missing")
    return Hash32(bytes(row[0]))


def _set_meta(transaction: Transaction, name: str, value: bytes) -> None:
    transaction.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
