"""`yumad explain`: the path of a neuron's payout, from stake and weights to the coldkeys, to the unit (DESIGN 1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .grid import print_grid
from .options import DEFAULT_HOME, HomeOption, JsonOption
from .output import print_fields, print_json, reporting
from .shown_values import open_client

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE_Q32: Final = 1 << 32

MOST_ROWS: Final = 24
"""Rows of a table in the text form; `--json` has all of them."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(explain)


def explain(
    netuid: Annotated[int, typer.Option("--netuid", help="Subnet.", min=0, max=65535)],
    uid: Annotated[int, typer.Option("--uid", help="Neuron.", min=0, max=65535)],
    at: Annotated[int | None, typer.Option("--at", help="Height of the epoch; the newest without it.", min=1)] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Execute the stored chain again instead of asking the daemon.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Why a neuron was paid what it was paid at its last epoch: every step, every coldkey, and what nobody got."""
    with reporting(as_json):
        document = _replayed(home, netuid, uid, at, as_json) if replay else _asked(home, netuid, uid, at)
        if as_json:
            print_json(document)
        else:
            _print(document)


def _asked(home: Path, netuid: int, uid: int, at: int | None) -> dict[str, Any]:
    parameters: dict[str, Any] = {"netuid": netuid, "uid": uid} | ({} if at is None else {"at": at})
    with open_client(home) as client:
        found: dict[str, Any] = client.call("explain", **parameters)
    return found


def _replayed(home: Path, netuid: int, uid: int, at: int | None, quiet: bool) -> dict[str, Any]:
    from ...consensus.types import Height
    from ...storage.chain import ChainStore
    from ...storage.home import Home
    from ..arguments import shown_answer
    from ..chain_home import genesis_hash_of_folder, the_chain_of
    from ..epoch_records import explanation_of, replayed_record
    from .progress import progress_bar

    folder = Home(home)
    chain = the_chain_of(folder)
    lock = folder.lock()
    try:
        store = ChainStore.open(chain.chain_database, genesis_hash_of_folder(chain), read_only=True)
        try:
            with progress_bar("replay", unit="blocks", quiet=quiet) as advance:
                record = replayed_record(store, netuid, None if at is None else Height(at), advance)
        finally:
            store.close()
    finally:
        lock.release()
    found: dict[str, Any] = shown_answer(explanation_of(record, uid))
    return found


# --- text -------------------------------------------------------------------------------------------------------------


def _print(d: dict[str, Any]) -> None:
    stake, subnet = d["stake"], d["subnet"]
    print(f"subnet {d['netuid']}, uid {d['uid']}, epoch at height {d['height']}")
    print_fields(
        {
            "hotkey": d["hotkey"],
            "coldkey": d["coldkey"],
            "stake": f"{_units(stake['own_alpha'])} α own, {_units(stake['own_root'])} τ on root;"
            f" with child keys {_units(stake['alpha'])} α and {_units(stake['root'])} τ",
            "stake weight": f"{_units(stake['total'])}, {_share(stake['share'])} of the subnet",
            "permit": ("yes" if stake["permit"] else "no")
            + (", the owner's" if stake["is_owner"] else "")
            + f"; next epoch: {'yes' if stake['next_permit'] else 'no'}",
            "parents": _edges(stake["parents"]),
            "children": _edges(stake["children"]),
        }
    )
    for mechanism in d["mechanisms"]:
        _print_mechanism(mechanism, len(d["mechanisms"]) > 1)
    pieces = d["dividend_pieces"]
    print_fields(
        {
            "dividends of": " ".join(f"{_units(p['amount'])} from {p['from'][:8]}…" for p in pieces["pieces"]) or "-",
            "alpha dividend": f"{_units(pieces['alpha_dividend'])} of {_units(subnet['pots']['validators']['pot'])}",
            "root dividend": f"{_units(pieces['root_dividend'])} of {_units(subnet['pots']['root']['pot'])}",
        }
    )
    print_grid(
        f"\npayments: {_units(d['earned'])} α",
        ("why", "staked on", "coldkey", "amount", "rounding"),
        [(p["kind"], p["hotkey"], p["coldkey"], _units(p["amount"]), _units(p["rounding"])) for p in d["payments"]],
    )
    print_grid(
        "\nto each coldkey",
        ("coldkey", "staked", "claimable"),
        _cut([(c["coldkey"], _units(c["staked"]), _units(c["claimable"])) for c in d["coldkeys"]], 3),
    )
    _print_subnet(subnet)


def _print_mechanism(m: dict[str, Any], named: bool) -> None:
    if named:
        print(f"\nmechanism {m['mechanism']}, emission {_units(m['emission'])} α")
    print_grid(
        "\nweights received (rank = stake x clipped)",
        ("uid", "validator", "active stake", "weight", "clipped", "rank"),
        _cut(
            [
                (
                    v["uid"],
                    v["hotkey"],
                    _share(v["stake"]),
                    _share(v["weight"]),
                    _share(v["clipped"]),
                    _share(v["rank"]),
                )
                for v in m["received"]
            ],
            6,
        ),
    )
    print_fields(
        {
            "consensus": _share(m["consensus"]),
            "incentive": f"{_share(m['incentive'])} of the ranks -> {_share(m['server_share'])} of the emission"
            f" -> {_units(m['server'])} α",
            "validator trust": _share(m["validator_trust"]),
            "bonds": f"{len(m['bonds'])} targets, weights on {len(m['weights'])}",
            "dividends": f"{_share(m['dividends'])} of the dividends -> {_share(m['validator_share'])} of the emission"
            f" -> {_units(m['validator'])} α, a weight for the pots below",
        }
    )


def _print_subnet(s: dict[str, Any]) -> None:
    print_grid(
        f"\nthe subnet's epoch: {_units(s['drained'])} α drained",
        ("pot", "there was", "paid", "left over"),
        [(name, _units(p["pot"]), _units(p["paid"]), _units(p["left"])) for name, p in s["pots"].items()],
    )
    print_fields(
        {
            "paid": _units(s["paid"]),
            "burned": f"{_units(s['burned'])} (the owner's incentive; stays outstanding)",
            "recycled": _units(s["recycled"]),
            "left over": f"{_units(s['left_over'])} (rounding and shares nobody earned; stays outstanding)",
            "check": f"{_units(s['paid'])} + {_units(s['burned'])} + {_units(s['recycled'])} + {_units(s['left_over'])}"
            f" = {_units(s['drained'])}",
        }
    )


def _edges(edges: Sequence[Sequence[Any]]) -> str:
    return " ".join(f"{hotkey[:8]}… {int(part) / 2**64:.2%}" for hotkey, part in edges) or "-"


def _share(raw: int) -> str:
    return f"{int(raw) / ONE_Q32:.6f}"


def _units(amount: str | int) -> str:
    """An amount with all its nine decimals: this command is about the last one."""
    number = int(amount)
    sign, whole = ("-", -number) if number < 0 else ("", number)
    return f"{sign}{whole // 10**9}.{whole % 10**9:09d}"


def _cut(rows: list[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    if len(rows) <= MOST_ROWS:
        return rows
    more = f"… {len(rows) - MOST_ROWS} more, see --json"
    return [*rows[:MOST_ROWS], (more, *[""] * (width - 1))]
