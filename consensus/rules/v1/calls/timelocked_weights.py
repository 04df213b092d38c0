"""Family 03, from 0x20: timelocked commits of weights (YUMA 5.3), refused unless the chain spec switches them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....domains import Domain, digest
from ....types import AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..subnets import global_parameter, mechanism_index
from ..timelocked import MAX_CIPHERTEXT, TimelockedCommit, append_timelocked, check_bucket
from ..weight_commits import current_epoch
from ..weights import check_min_stake
from .call import Argument, ArgumentKind, Arguments, Call, Signer
from .weight_commits import COMMIT_WEIGHT, check_committable, check_committer
from .weights import MECHANISM, NETUID

if TYPE_CHECKING:
    from ....state.state import State

CRV3_VERSION: Final = 4
"""Version that the older form of the mechanism call stands for."""


def _check(state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int, version: int) -> int:
    """Every check; gives the uid. A round in the past cannot be told: no pulse is stored (InvalidRevealRound)."""
    if not ctx.spec.parameters.timelocked_weights_enabled:
        raise CallError(ErrorCode.TimelockedWeightsDisabled)
    check_min_stake(state, netuid, signer)
    check_committable(state, netuid, mechanism)
    if version != global_parameter(state, "commit_reveal_weights_version"):
        raise CallError(ErrorCode.IncorrectCommitRevealVersion)
    uid = check_committer(state, ctx, signer, netuid, mechanism)
    check_bucket(state, mechanism_index(netuid, mechanism), current_epoch(state, netuid, ctx.height), signer)
    return uid


def _commit(
    state: State,
    ctx: BlockContext,
    signer: AccountId,
    target: tuple[int, int],
    ciphertext: bytes,
    pulse: int,
    version: int,
) -> list[Event]:
    netuid, mechanism = target
    uid = _check(state, ctx, signer, netuid, mechanism, version)
    commit = TimelockedCommit(signer, ctx.height, ciphertext, pulse)
    epoch = current_epoch(state, netuid, ctx.height)
    append_timelocked(state, mechanism_index(netuid, mechanism), epoch, commit)
    state.write(f"sn/{netuid}/{mechanism}/last_update", uid, ctx.height)
    name = digest(Domain.COMMIT, ciphertext)
    return [event(EventKind.TimelockedWeightsCommitted, netuid, mechanism, signer, name, pulse)]


def _check_plain(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    netuid, _, _, version = args
    _check(state, ctx, signer, netuid, 0, version)


def _commit_plain(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, ciphertext, pulse, version = args
    return _commit(state, ctx, signer, (netuid, 0), ciphertext, pulse, version)


def _check_mechanism(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    netuid, mechanism, _, _, version = args
    _check(state, ctx, signer, netuid, mechanism, version)


def _commit_mechanism(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, mechanism, ciphertext, pulse, version = args
    return _commit(state, ctx, signer, (netuid, mechanism), ciphertext, pulse, version)


def _check_crv3(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    netuid, mechanism, _, _ = args
    _check(state, ctx, signer, netuid, mechanism, CRV3_VERSION)


def _commit_crv3(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, mechanism, ciphertext, pulse = args
    return _commit(state, ctx, signer, (netuid, mechanism), ciphertext, pulse, CRV3_VERSION)


_CIPHERTEXT: Final = Argument("commit", ArgumentKind.BYTES, "encrypted weights", most=MAX_CIPHERTEXT)
_ROUND: Final = Argument("reveal_round", ArgumentKind.U64, "beacon round whose pulse opens it")
_VERSION: Final = Argument("commit_reveal_version", ArgumentKind.U16, "version of timelocked commits")
_MOST_BYTES: Final = MAX_CIPHERTEXT + 512

CALLS: Final = (
    Call(
        number=0x0320,
        name="weights.commit_timelocked_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, _CIPHERTEXT, _ROUND, _VERSION),
        weight=2 * COMMIT_WEIGHT,
        execute=_commit_plain,
        check=_check_plain,
        free=True,
        most_bytes=_MOST_BYTES,
        doc="Commit to weights that a beacon's pulse reveals.",
    ),
    Call(
        number=0x0321,
        name="weights.commit_timelocked_mechanism_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, MECHANISM, _CIPHERTEXT, _ROUND, _VERSION),
        weight=2 * COMMIT_WEIGHT,
        execute=_commit_mechanism,
        check=_check_mechanism,
        free=True,
        most_bytes=_MOST_BYTES,
        doc="Commit to weights of one mechanism that a beacon's pulse reveals.",
    ),
    Call(
        number=0x0322,
        name="weights.commit_crv3_mechanism_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, MECHANISM, _CIPHERTEXT, _ROUND),
        weight=2 * COMMIT_WEIGHT,
        execute=_commit_crv3,
        check=_check_crv3,
        free=True,
        most_bytes=_MOST_BYTES,
        doc="The older form of commit_timelocked_mechanism_weights, for version 4.",
    ),
)
