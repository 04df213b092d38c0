"""`yumad axon call|ping|list`: call miners, and see who serves, who is reached, and how fast (AXON R31, R43)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .axon_call import NetuidOption, ToOption, UidOption, call, target_of
from .grid import print_grid
from .options import DEFAULT_HOME, HomeOption, JsonOption
from .output import Exit, print_json, reporting, usage_error
from .shown_values import open_client
from .subnet import reach_cell

if TYPE_CHECKING:
    from ..control_client import ControlClient

MOST_PINGED: Final = 16
"""Hotkeys asked about at once: each may take seconds that are counted together."""

PAUSE_SECONDS: Final = 0.2
"""Between two pings of one hotkey."""

_LONGEST_PEER: Final = 12
"""Characters of a peer id in a table; `--json` has them whole."""

_LONGEST_ADDRESS: Final = 12


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    group = typer.Typer(help="Call miners, and see who is reached.", no_args_is_help=True, rich_markup_mode=None)
    group.command()(call)
    group.command()(ping)
    group.command("list")(list_services)
    app.add_typer(group, name="axon")


def ping(
    netuid: NetuidOption,
    to: ToOption = "",
    uid: UidOption = None,
    everybody: Annotated[bool, typer.Option("--all", help="Everybody who serves the subnet.")] = False,
    count: Annotated[int, typer.Option("--count", help="Times.", min=1, max=20)] = 1,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Open a stream to hotkeys' peers and show how long it took; exit code 1 when the one named is not reached."""
    with reporting(as_json):
        if everybody and (to or uid is not None):
            raise usage_error("--all and one hotkey are given", remedy="name one of the two")
        with open_client(home) as client:
            if everybody:
                targets = {row["hotkey"]: row["uid"] for row in client.call("axon.services", netuid=netuid)["services"]}
            else:
                found = client.call("axon.find", netuid=netuid, **target_of(to, uid))
                targets = {found["hotkey"]: found["uid"]}
            rows = _pinged(client, netuid, targets, count)
        if as_json:
            print_json({"netuid": netuid, "hotkeys": rows})
        elif not rows:
            print(f"nobody is known here that serves subnet {netuid}")
        else:
            print_grid(
                f"{len(rows)} hotkeys of subnet {netuid}",
                ("uid", "hotkey", "outcome", "reached", "best ms", "median ms", "peer", ""),
                [
                    (_or_mark(row["uid"]), f"{row['hotkey'][:_LONGEST_ADDRESS]}…", row["outcome"],
                     f"{row['reached']}/{count}", _or_mark(row["best_ms"]), _or_mark(row["median_ms"]),
                     _short(row["peer"]), row["text"])
                    for row in rows
                ],
            )  # fmt: skip
    if not everybody and rows[0]["outcome"] not in ("reached", "here"):
        raise SystemExit(Exit.REFUSED)


def _pinged(client: ControlClient, netuid: int, targets: dict[str, int | None], count: int) -> list[dict[str, Any]]:
    """A row for each target, from `count` rounds."""
    from statistics import median

    times: dict[str, list[float]] = {hotkey: [] for hotkey in targets}
    last: dict[str, dict[str, Any]] = {}
    for number in range(count):
        if number:
            time.sleep(PAUSE_SECONDS)
        waiting = list(targets)
        while waiting:
            asked, waiting = waiting[:MOST_PINGED], waiting[MOST_PINGED:]
            for answer in client.call("axon.ping", netuid=netuid, hotkeys=asked):
                if answer["ms"] is not None:
                    times[answer["hotkey"]].append(answer["ms"])
                last[answer["hotkey"]] = answer
    return [
        {
            "hotkey": hotkey,
            "uid": uid,
            "outcome": "reached" if times[hotkey] else last[hotkey]["outcome"],
            "reached": len(times[hotkey]),
            "best_ms": min(times[hotkey], default=None),
            "median_ms": round(median(times[hotkey]), 3) if times[hotkey] else None,
            "peer": last[hotkey]["peer"],
            "text": last[hotkey]["text"],
        }
        for hotkey, uid in targets.items()
    ]


def list_services(netuid: NetuidOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Who serves a subnet, as far as this peer knows: methods, where, and how well it is reached."""
    with reporting(as_json):
        with open_client(home) as client:
            document = client.call("axon.services", netuid=netuid)
        if as_json:
            print_json(document)
            return
        services = document["services"]
        if not services:
            print(f"nobody is known here that serves subnet {netuid}; a peer asks its neighbours every few seconds")
            return
        print_grid(
            f"{len(services)} hotkeys serve subnet {netuid}",
            ("uid", "hotkey", "peer", "where", "expires", "reach", "methods"),
            [
                (_or_mark(service["uid"]), f"{service['hotkey'][:_LONGEST_ADDRESS]}…", _short(record["peer"]),
                 _where(record), f"in {record['expires_s'] // 60} min", reach_cell(service["reach"]),
                 ", ".join(_method(offer) for offer in record["methods"]))
                for service in services
                for record in service["records"]
            ],
        )  # fmt: skip


def _where(record: dict[str, Any]) -> str:
    if record["here"]:
        return "here"
    if record["sealed"]:
        return "sealed"
    relayed = all(address.endswith("/relay") for address in record["addresses"])
    return "relay" if relayed and record["addresses"] else "direct"


def _method(offer: dict[str, Any]) -> str:
    ways = [way for way, there in (("in", offer["stream_in"]), ("out", offer["stream_out"])) if there]
    streams = f" (stream {' and '.join(ways)})" if ways else ""
    return f"{offer['name']} v{offer['version']}{streams}"


def _short(peer: str | None) -> str:
    return "-" if peer is None else f"…{peer[-_LONGEST_PEER:]}"


def _or_mark(value: Any) -> Any:
    return "-" if value is None else value
