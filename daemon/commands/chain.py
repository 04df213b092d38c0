"""Commands that look at the running peer: `status`, `peers`, `block`, `query`, `mempool`; sending is in `transactions`.

All of them ask the daemon of `--home` over its control socket; nothing here opens a database. Heavy imports stand
inside the functions, so that `yumad --help` stays quick.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from . import transactions
from .grid import print_grid
from .options import DEFAULT_HOME, HomeOption, JsonOption
from .output import format_tao, print_fields, print_json, reporting
from .shown_values import event_line, open_client, plain

_WIDEST: Final = 6
"""Columns of a table of records; wider ones are shown field by field."""

_SHORT: Final = 16
"""Hex digits of a hash in a table."""


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(status)
    app.command()(peers)
    app.command()(block)
    app.command()(mempool)
    app.command()(query)
    transactions.register(app)


# --- the peer ---------------------------------------------------------------------------------------------------------


def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """One look at the running peer: heights, consensus, peers, speed."""
    with reporting(as_json), open_client(home) as client:
        document = client.call("status")
        if as_json:
            print_json(document)
            return
        own = document["authority"]
        if own is None:
            role = "follower"
        elif not own["in_set"]:
            role = f"authority {own['key'][:_SHORT]}, outside this era's set"
        else:
            role = f"authority {own['key'][:_SHORT]}, weight {format_tao(int(own['weight']))}"
            role += f", abstaining: {own['abstaining']}" if own["abstaining"] else ""
        behind = f"syncing to {document['syncing_to']}" if document["syncing_to"] is not None else "following"
        p50, p99 = document["finality_p50_ms"], document["finality_p99_ms"]
        print_fields(
            {
                "peer": f"{document['name']}  yumad {document['version']}  {document['peer_id']}",
                "network": f"{document['network']} ({document['profile']})  {document['genesis_hash']}",
                "role": role,
                "height": f"{document['height']}  {document['head'][:_SHORT]}  ({behind})",
                "final": f"{document['finalised']}  {document['finalised_hash'][:_SHORT]}  "
                f"{document['finalised_age_s']} s ago",
                "state root": document["state_root"],
                "consensus": f"era {document['era']}  view {document['view']}  level {document['level']}  "
                f"{document['authorities']} authorities",
                "quorum": _quorum(document),
                "finality": "no sample yet" if p50 is None else f"p50 {p50:.0f} ms  p99 {p99:.0f} ms",
                "epochs": document["epochs"],
                "peers": document["peers"],
                "join by": ("\n" + " " * 12).join(document["addresses"]) or "no address is known",
            }
        )


def _quorum(document: dict[str, Any]) -> str:
    missing, total = int(document["missing_weight"]), int(document["total_weight"])
    return "reached" if missing == 0 else f"{format_tao(missing)} of {format_tao(total)} missing in this view"


def peers(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Connected peers with their heights and scores."""
    with reporting(as_json), open_client(home) as client:
        rows = client.call("peers")
        if as_json:
            print_json({"peers": rows})
            return
        print_grid(
            f"{len(rows)} peers",
            ("peer", "address", "dir", "final", "score", "votes", "agent"),
            [
                (
                    row["peer_id"],
                    row["address"],
                    row["direction"],
                    row["finalised"],
                    f"{row['score']:.1f}",
                    "yes" if row["exchange"] else "-",
                    row["agent"],
                )
                for row in rows
            ],
        )


def mempool(
    home: HomeOption = DEFAULT_HOME,
    limit: Annotated[int, typer.Option("--limit", help="Most transactions listed.", min=0, max=8192)] = 100,
    as_json: JsonOption = False,
) -> None:
    """Transactions that wait for a block, in the order of a block."""
    with reporting(as_json), open_client(home) as client:
        document = client.call("mempool", limit=limit)
        if as_json:
            print_json(document)
            return
        print_grid(
            f"{document['transactions']} waiting ({document['operational']} operational, {document['ready']} ready), "
            f"{document['size']} bytes",
            ("id", "signer", "nonce", "call", "tip", "ready"),
            [
                (
                    entry["id"],
                    entry["signer"],
                    entry["nonce"],
                    entry["call"],
                    format_tao(int(entry["tip"])),
                    "yes" if entry["ready"] else "-",
                )
                for entry in document["entries"]
            ],
        )


def block(
    at: Annotated[str, typer.Argument(metavar="HEIGHT|HASH|head|final", help="Which block.")] = "head",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """One block: header, events, epochs and transactions."""
    with reporting(as_json), open_client(home) as client:
        document = client.call("block", at=at)
        if as_json:
            print_json(document)
            return
        header = document["header"]
        print_fields({"hash": document["hash"], "final": "yes" if document["final"] else "not yet", **header})
        for epoch in document.get("epochs", ()):
            print(f"epoch of subnet {epoch['netuid']}: {epoch['emission']} distributed")
        for event in document.get("events", ()):
            print(f"event {event_line(event)}")
        rows = [
            (row.get("id", row["hash"]), row.get("call", "?"), row.get("signer", "?"), row.get("result", "?"))
            for row in document["transactions"]
        ]
        if rows:
            print_grid(f"{len(rows)} transactions", ("id", "call", "signer", "result"), rows)


def query(
    name: Annotated[str, typer.Argument(help="Name of a read; `list` shows all of them.")],
    params: Annotated[list[str] | None, typer.Argument(help="Its parameters, in order.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask the finalised state: balances, stakes, subnets, metagraphs, weights, epoch results and more."""
    with reporting(as_json):
        if name == "list":
            _list_reads(as_json)
            return
        with open_client(home) as client:
            document = client.call("query", name=name, params=params or [])
        if as_json:
            print_json(document)
        else:
            _print_answer(document["answer"])


def _list_reads(as_json: bool) -> None:
    from ...consensus.rules.v1.reads import READS
    from ..arguments import usage

    rows = [(read.name, usage(read.arguments), read.doc) for read in READS.values()]
    if as_json:
        print_json({"reads": [{"name": name, "parameters": form, "doc": doc} for name, form, doc in rows]})
    else:
        print_grid("", ("read", "parameters", "answer"), rows)


def _print_answer(answer: Any) -> None:
    """Fields a line each, lists of records as a table or, where they are wide, one after the other."""
    if isinstance(answer, dict):
        print_fields({key: plain(value) for key, value in answer.items() if not _is_records(value)})
        for key, value in answer.items():
            if _is_records(value):
                _print_records(key, value)
    elif _is_records(answer):
        _print_records("", answer)
    else:
        print(plain(answer))


def _print_records(title: str, records: list[dict[str, Any]]) -> None:
    if len(records[0]) <= _WIDEST:
        print_grid(title, list(records[0]), [[plain(cell) for cell in record.values()] for record in records])
        return
    for number, record in enumerate(records):
        print(f"{title} {number}".strip())
        print_fields({f"  {name}": plain(value) for name, value in record.items()})


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
