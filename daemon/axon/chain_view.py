"""What the call server asks of the chain about callers (AXON R21-R23), answered from memory in about a microsecond.

The final state may be read in the execution lane only. So it is read there once after a final block, for every subnet
that is served, and calls are answered from the tables that this gives. Stake is `weights.total_stake_of`: what the
chain itself weighs a validator by.

Holders without a uid may call only what a policy opens by stake alone. Where one does, `watch` is told, and the table
also holds every other hotkey with stake on the subnet or on root. None of this reads anything for a caller: a stranger
cannot make this peer work by asking.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from ...consensus.fixed_point import u64_to_proportion
from ...consensus.rules.v1.children import relations_of_subnet
from ...consensus.rules.v1.neurons import hotkeys_of, neuron_array
from ...consensus.rules.v1.schema_tables import OF_NETUID, STAKES
from ...consensus.rules.v1.stakes import ROOT, stake_key
from ...consensus.rules.v1.subnet_epoch import stake_vectors
from ...consensus.rules.v1.subnets import global_parameter, parameter, subnet_exists
from ...consensus.rules.v1.weights import total_stake_of
from ...consensus.state.state import State
from ...consensus.types import AccountId, Height
from ...protocols.axon.interfaces import CallerView, Freshness, Standing

if TYPE_CHECKING:
    from ...consensus.timing import Timing
    from ...protocols.interfaces import Clock
    from ...storage.chain import FinalisedPoint
    from ..final_reports import FinalReport

T = TypeVar("T")

DEGRADED_BLOCKS: Final = 10
"""Blocks behind from which the state counts as degraded: two minutes on a chain of 12 s slots."""

KNOWN_ONLY_TEMPOS: Final = 2
"""Tempos behind from which only known callers are served: permits may have changed twice since."""

USUAL_TEMPO: Final = 360
"""Blocks, for a subnet that is not in the tables yet."""

REFRESH_PAUSE: Final = 0.2
"""Seconds between two reads: range sync makes hundreds of blocks final in that time, and one read serves for all."""

NOBODY: Final = Standing(None, False, 0)


class Reader(Protocol):
    """`PeerView.read`."""

    def __call__(self, reader: Callable[[State], T]) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class SubnetTable:
    """Callers of one subnet as of one final block."""

    tempo: int
    standings: Mapping[AccountId, Standing]


def read_table(state: State, netuid: int, *, holders: bool = False) -> SubnetTable:
    """All neurons of a subnet, and all other hotkeys with stake weight if `holders`; empty where there is no subnet.

    0.4 ms for 256 neurons, and some 4 us for each holder.
    """
    if not subnet_exists(state, netuid):
        return SubnetTable(USUAL_TEMPO, {})
    weight = u64_to_proportion(global_parameter(state, "tao_weight"))
    alpha, tao = stake_vectors(state, netuid)
    permits = neuron_array(state, netuid, "permit").tolist()
    rows = zip(hotkeys_of(state, netuid), permits, alpha.tolist(), tao.tolist(), strict=True)
    standings = {
        hotkey: Standing(uid, bool(permit), own + ((root * weight) >> 32))
        for uid, (hotkey, permit, own, root) in enumerate(rows)
    }
    if holders:
        for hotkey in holders_of(state, netuid) - standings.keys():
            standings[hotkey] = Standing(None, False, total_stake_of(state, netuid, hotkey))
    return SubnetTable(parameter(state, netuid, "tempo"), standings)


def holders_of(state: State, netuid: int) -> set[AccountId]:
    """Hotkeys whose stake weight on a subnet may be more than nothing: with stake there or on root, or lent some."""
    table = state.key_table(STAKES)
    found = {AccountId(key[2:]) for where in (netuid, ROOT) for key in table.matching(OF_NETUID, stake_key(where, b""))}
    return found | relations_of_subnet(state, netuid)[0].keys()


class ChainView:
    """A `CallerView`. Put `on_final` into the peer's list of that name and run `run`; `watch` what is served."""

    def __init__(
        self,
        read: Reader,
        timing: Timing,
        clock: Clock,
        finalised: FinalisedPoint,
        sync_target: Callable[[], Height | None] = lambda: None,
    ) -> None:
        """`finalised` is F at the start; `sync_target` the height being fetched, if any: it is asked for every call."""
        self._read = read
        self._timing = timing
        self._clock = clock
        self._sync_target = sync_target
        self._height = finalised.height
        self._slot = 0 if finalised.header is None else finalised.header.slot
        self._tables: dict[int, SubnetTable] = {}
        self._with_holders: set[int] = set()
        self._stale = trio.Event()

    # --- questions of the server --------------------------------------------------------------------------------------

    def standing(self, netuid: int, hotkey: AccountId) -> Standing:
        """What the newest table says; no standing for a hotkey that is not in it."""
        table = self._tables.get(netuid)
        return NOBODY if table is None else table.standings.get(hotkey, NOBODY)

    def freshness(self, netuid: int) -> Freshness:
        """By blocks behind (R23)."""
        behind = self.blocks_behind()
        if behind < DEGRADED_BLOCKS:
            return Freshness.FRESH
        table = self._tables.get(netuid)
        tempo = USUAL_TEMPO if table is None else max(table.tempo, 1)
        return Freshness.DEGRADED if behind < KNOWN_ONLY_TEMPOS * tempo else Freshness.KNOWN_ONLY

    def worst_freshness(self) -> Freshness:
        """Of all subnets that are watched."""
        found = {self.freshness(netuid) for netuid in self._tables}
        return next((each for each in (Freshness.KNOWN_ONLY, Freshness.DEGRADED) if each in found), Freshness.FRESH)

    def blocks_behind(self) -> int:
        """Slots since the newest final block that could have brought one, or blocks that sync still has to fetch."""
        slots = self._timing.slot_at(self._clock.now()) - self._slot - 1
        target = self._sync_target()
        return max(0, slots, 0 if target is None else target - self._height)

    @property
    def height(self) -> Height:
        """Newest final height that was heard of."""
        return self._height

    # --- keeping up ---------------------------------------------------------------------------------------------------

    def on_final(self, report: FinalReport) -> None:
        """Blocks became final."""
        header = report.blocks[-1].header
        self._height, self._slot = header.height, header.slot
        self._stale.set()

    async def watch(self, netuid: int, *, holders: bool = False) -> None:
        """Keep a table of this subnet from now on; returns when it is there.

        holders: also of holders without a uid, for methods that `policy_check.admits_by_stake_alone`.
        """
        wanted = holders or netuid in self._with_holders
        if netuid in self._tables and wanted == (netuid in self._with_holders):
            return
        table = await self._read(lambda state: read_table(state, netuid, holders=wanted))
        if wanted:
            self._with_holders.add(netuid)
        self._tables[netuid] = table

    def unwatch(self, netuid: int) -> None:
        """The subnet is no longer served."""
        self._tables.pop(netuid, None)
        self._with_holders.discard(netuid)

    async def run(self) -> None:
        """Read again after final blocks, until cancelled."""
        while True:
            await self._stale.wait()
            self._stale = trio.Event()
            await self._refresh()
            await trio.sleep(REFRESH_PAUSE)

    async def _refresh(self) -> None:
        watched = {netuid: netuid in self._with_holders for netuid in self._tables}
        if not watched:
            return

        def look(state: State) -> dict[int, SubnetTable]:
            return {netuid: read_table(state, netuid, holders=holders) for netuid, holders in watched.items()}

        for netuid, table in (await self._read(look)).items():
            still_wanted = netuid in self._tables and (netuid in self._with_holders) == watched[netuid]
            if still_wanted:
                self._tables[netuid] = table


if TYPE_CHECKING:

    def _keeps_the_contract(view: ChainView) -> CallerView:
        return view
