"""`yumad weights set|commit|reveal|status|show`: what a validator thinks of the others, set directly or in two steps.

Where a subnet takes weights by commit and reveal, `commit` sends their hash and keeps the weights and the salt in the
peer's home, sealed for the hotkey; `reveal` finds them there again in the epoch that is theirs (YUMA 5.2).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .grid import print_grid
from .options import (
    DEFAULT_HOME,
    DEFAULT_WALLETS,
    DevOption,
    HomeOption,
    HotkeyOption,
    JsonOption,
    WalletOption,
    WalletsOption,
)
from .output import CommandError, print_json, reporting
from .shown_values import open_client
from .signed import Signing, signed
from .weight_binding import bound_to, check_owners, hotkeys_behind
from .weight_status import print_scheduler, scheduler_of
from .weight_values import weight_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from ...consensus.types import AccountId, Hash32
    from ...storage.sealed_weights import CommitTarget, WeightsFolder
    from ..control_client import ControlClient

NetuidOption = Annotated[int, typer.Option("--netuid", help="Number of the subnet.", min=0, max=65535)]
MechanismOption = Annotated[int, typer.Option("--mechanism", help="Mechanism of the subnet.", min=0, max=255)]
UidsOption = Annotated[str, typer.Option("--uids", help="Neurons that are judged, separated by commas.")]
ValuesOption = Annotated[str, typer.Option("--weights", help="Their weights; only the proportions count.")]
VersionOption = Annotated[int, typer.Option("--version-key", help="Version of the validator's code.", min=0)]

SALT_BYTES: Final = 16
"""Nobody can try all salts to find out which weights a hash stands for."""

_SHOWN_HASH: Final = 16
"""Hex digits of a hash in the table; `--json` has all."""

_UNCERTAIN: Final = ("expired", "no_progress")
"""Ends of a wait after which the commit may still be on the chain."""


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    group = typer.Typer(help="Set, commit, reveal and look at weights.", no_args_is_help=True, rich_markup_mode=None)
    group.command("set")(set_weights)
    group.command("commit")(commit)
    group.command("reveal")(reveal)
    group.command("status")(status)
    group.command("show")(show)
    app.add_typer(group, name="weights")


@signed
def set_weights(
    netuid: NetuidOption,
    uids: UidsOption,
    values: ValuesOption,
    mechanism: MechanismOption = 0,
    version_key: VersionOption = 0,
    *,
    signing: Signing,
) -> None:
    """Set a validator's weights in a subnet; signed by its hotkey, free of charge."""
    with reporting(signing.as_json):
        from ...consensus.rules.v1.calls.call import pack_u16
        from ...consensus.rules.v1.calls.table import call_named
        from .sending import send_call

        chosen, scaled = weight_pairs(uids, values)
        signing.options.check()
        call = call_named("weights.set_mechanism_weights" if mechanism else "weights.set_weights")
        assert call is not None
        wire = [*_where(netuid, mechanism), pack_u16(chosen), pack_u16(scaled), version_key]
        with open_client(signing.home) as client:
            send_call(client, call, wire, signing.options, wait=signing.wait, as_json=signing.as_json)


@signed
def commit(
    netuid: NetuidOption,
    uids: UidsOption,
    values: ValuesOption,
    mechanism: MechanismOption = 0,
    version_key: VersionOption = 0,
    *,
    signing: Signing,
) -> None:
    """Commit to weights by their hash; what it is made of is kept, sealed, in the peer's home."""
    with reporting(signing.as_json):
        from ...consensus.rules.v1.calls.call import Signer
        from ...consensus.rules.v1.calls.table import call_named
        from ...consensus.rules.v1.subnets import mechanism_index
        from ...consensus.rules.v1.weight_commits import commit_hash
        from ...consensus.types import AccountId
        from ...storage.sealed_weights import CommitTarget, CommittedWeights
        from .sending import VALID_BLOCKS, send_call
        from .signer import signing_key

        chosen, scaled = weight_pairs(uids, values)
        signing.options.check()
        call = call_named("weights.commit_mechanism_weights" if mechanism else "weights.commit_weights")
        assert call is not None
        with open_client(signing.home) as client:
            context = client.call("tx.context")
            key = signing_key(signing.options, Signer.HOTKEY, context)
            target, folder = CommitTarget(AccountId(key.public_key), netuid, mechanism), _folder(signing.home, context)
            height, waiting = _waiting(client, target)
            folder.forget_gone(target, [_hash(entry) for entry in waiting], height)
            salt = [int.from_bytes(os.urandom(2), "little") for _ in range(SALT_BYTES // 2)]
            index = mechanism_index(netuid, mechanism)
            committed = commit_hash(target.hotkey, index, chosen, scaled, salt, version_key)
            bound = bound_to(chosen, hotkeys_behind(client, netuid))
            weights = CommittedWeights(tuple(chosen), tuple(scaled), tuple(salt), version_key, bound)
            # Sealed before it is sent, and for longer than the transaction is valid, which is signed a moment later.
            folder.keep(key, target, committed, weights, context["height"] + 2 * VALID_BLOCKS)
            try:
                send_call(
                    client,
                    call,
                    [*_where(netuid, mechanism), committed],
                    signing.options,
                    key=key,
                    wait=signing.wait,
                    as_json=signing.as_json,
                )
            except CommandError as error:
                if error.code not in _UNCERTAIN:
                    folder.forget(committed)
                raise


@signed
def reveal(
    netuid: NetuidOption,
    mechanism: MechanismOption = 0,
    *,
    signing: Signing,
) -> None:
    """Reveal the newest commit whose epoch has come; what was committed before it goes with it."""
    with reporting(signing.as_json):
        from ...consensus.rules.v1.calls.call import Signer, pack_u16
        from ...consensus.rules.v1.calls.table import call_named
        from ...consensus.types import AccountId
        from ...storage.sealed_weights import CommitTarget
        from .sending import send_call
        from .signer import signing_key

        signing.options.check()
        call = call_named("weights.reveal_mechanism_weights" if mechanism else "weights.reveal_weights")
        assert call is not None
        with open_client(signing.home) as client:
            context = client.call("tx.context")
            key = signing_key(signing.options, Signer.HOTKEY, context)
            target, folder = CommitTarget(AccountId(key.public_key), netuid, mechanism), _folder(signing.home, context)
            height, waiting = _waiting(client, target)
            folder.forget_gone(target, [_hash(entry) for entry in waiting], height)
            committed = _revealable(waiting, folder)
            weights = folder.open(key, committed)
            check_owners(client, netuid, weights)
            lists = [pack_u16(numbers) for numbers in (weights.uids, weights.values, weights.salt)]
            wire = [*_where(netuid, mechanism), *lists, weights.version_key]
            send_call(client, call, wire, signing.options, key=key, wait=signing.wait, as_json=signing.as_json)


def _revealable(waiting: list[dict[str, Any]], folder: WeightsFolder) -> Hash32:
    """The newest commit that may be revealed now and is sealed here. Raises CommandError saying what is missing."""
    due = [_hash(entry) for entry in waiting if entry["revealable"]]
    if not waiting:
        raise CommandError("NoWeightsCommitFound", "no commit waits", remedy="commit with `yumad weights commit`")
    if not due:
        raise CommandError(
            "RevealTooEarly",
            f"no commit can be revealed in epoch {waiting[0]['epoch']}; the oldest of {len(waiting)} has "
            f"epoch {waiting[0]['reveal_epoch']}",
            remedy="`yumad weights status` tells which epoch each waits for",
        )
    here = [committed for committed in due if folder.holds(committed)]
    if not here:
        raise CommandError(
            "weights_not_here",
            f"a commit can be revealed, but its weights are not in {folder.path}",
            remedy="reveal with the --home that committed, or with `yumad tx send weights.reveal_weights`",
        )
    return here[-1]


def status(
    netuid: NetuidOption,
    mechanism: MechanismOption = 0,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    wallets: WalletsOption = DEFAULT_WALLETS,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """A hotkey's commits that wait, and what the peer does about its weights: when, and why not now."""
    with reporting(as_json):
        from ...storage.sealed_weights import CommitTarget
        from .signer import SignerOptions, signing_hotkey

        account = signing_hotkey(SignerOptions(wallet, hotkey, dev, wallets))
        with open_client(home) as client:
            folder = _folder(home, client.call("tx.context"))
            height, waiting = _waiting(client, target := CommitTarget(account, netuid, mechanism))
            scheduler = scheduler_of(client, target)
        rows = [{**entry, "here": folder.holds(_hash(entry))} for entry in waiting]
        if as_json:
            where = {"height": height, "netuid": netuid, "mechanism": mechanism}
            print_json({**where, "commits": rows, "scheduler": scheduler})
            return
        if not rows:
            print(f"no commit waits in subnet {netuid}, mechanism {mechanism}, at block {height}")
            print_scheduler(scheduler)
            return
        print_grid(
            f"commits in subnet {netuid}, mechanism {mechanism}, epoch {rows[0]['epoch']} at block {height}",
            ("hash", "block", "reveal in epoch", "now", "kept here"),
            [
                (f"{row['hash'][:_SHOWN_HASH]}…", row["block"], row["reveal_epoch"],
                 "yes" if row["revealable"] else "-", "yes" if row["here"] else "no")
                for row in rows
            ],
        )  # fmt: skip
        print_scheduler(scheduler)


def show(
    netuid: NetuidOption,
    uid: Annotated[int, typer.Option("--uid", help="Validator whose weights are shown.", min=0, max=65535)],
    mechanism: MechanismOption = 0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """One validator's stored weights."""
    with reporting(as_json):
        with open_client(home) as client:
            document = client.call("weights", netuid=netuid, mechanism=mechanism, uid=uid)
        pairs = document["answer"]
        if as_json:
            print_json({"height": document["height"], "netuid": netuid, "uid": uid, "weights": pairs})
            return
        if not pairs:
            raise CommandError("no_weights", f"uid {uid} of subnet {netuid} has set no weights")
        total = sum(value for _, value in pairs)
        print_grid(
            f"weights of uid {uid} in subnet {netuid}",
            ("uid", "weight", "share"),
            [(target, value, f"{value / total:.5f}" if total else "-") for target, value in pairs],
        )


# --- the queue on the chain, and what is kept of it here --------------------------------------------------------------


def _where(netuid: int, mechanism: int) -> list[int]:
    """The first arguments of a call; those for mechanism 0 have a form without it."""
    return [netuid, mechanism] if mechanism else [netuid]


def _folder(home: Path, context: dict[str, Any]) -> WeightsFolder:
    from ...consensus.types import Hash32
    from ...storage.home import Home
    from ...storage.sealed_weights import WeightsFolder

    return WeightsFolder(Home(home).sealed_weights(Hash32(bytes.fromhex(context["genesis_hash"]))))


def _waiting(client: ControlClient, target: CommitTarget) -> tuple[int, list[dict[str, Any]]]:
    """(final height, commits that can still be revealed, oldest first): expired ones lie on the chain for a while."""
    document = client.call(
        "weight_commits", hotkey=_address(target.hotkey), netuid=target.netuid, mechanism=target.mechanism
    )
    waiting = [entry for entry in document["answer"] if entry["epoch"] <= entry["reveal_epoch"]]
    return int(document["height"]), waiting


def _address(account: AccountId) -> str:
    from ...consensus.ss58 import encode_address

    return encode_address(account)


def _hash(entry: dict[str, Any]) -> Hash32:
    from ...consensus.types import Hash32

    return Hash32(bytes.fromhex(entry["hash"]))
