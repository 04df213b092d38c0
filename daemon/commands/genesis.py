"""`yumad genesis build | import | show`: makes the file that a chain starts from (DESIGN decision 4, section 7).

The heavy imports stand inside the commands, so that `yumad --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import format_tao, parse_tao, print_fields, print_json, reporting, usage_error
from .progress import progress_bar

if TYPE_CHECKING:
    from ...consensus.chain_spec import AuthoritySpec
    from ..spec_file import LoadedSpec

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="File to write the spec to.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
RecordOption = Annotated[
    list[Path] | None,
    typer.Option("--authority-record", help="Record made by `yumad init --authority-record`; may be repeated."),
]
TimeOption = Annotated[
    str | None,
    typer.Option("--genesis-time", help="Start of slot 0: Unix microseconds, `now`, or +SECONDS from now."),
]
SaltOption = Annotated[str | None, typer.Option("--salt", help="Hex digits, at most 32 bytes; `random` draws 16.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    family = typer.Typer(name="genesis", help="Make and show chain specs.", no_args_is_help=True)
    family.command("build")(build)
    family.command("import")(import_)
    family.command("show")(show)
    app.add_typer(family)


def build(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The spec as people write it.")],
    out: OutOption,
    authority_record: RecordOption = None,
    authorities: Annotated[int, typer.Option(min=0, max=100, help="Add this many development authorities.")] = 0,
    authority_stake: Annotated[
        str | None, typer.Option(help="Root stake in TAO for each added authority that the spec gives none.")
    ] = None,
    genesis_time: TimeOption = None,
    salt: SaltOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a spec from TOML and collected authority records, and print its genesis hash."""
    with reporting(as_json):
        from dataclasses import replace

        from ...consensus.chain_spec import check_chain_spec
        from ...consensus.chain_spec_toml import load_chain_spec_toml
        from ...consensus.types import Rao
        from ..spec_file import loaded, read_spec_text

        settings: dict[str, Any] = {}
        if genesis_time is not None:
            settings["genesis_time"] = _parse_time(genesis_time)
        if salt is not None:
            settings["salt"] = _parse_salt(salt).hex()
        base = load_chain_spec_toml(read_spec_text(spec), check=False, settings=settings)
        added = _authorities(authority_record or [], authorities, base.name, base.salt)
        stakes = {hotkey: (hotkey, coldkey, amount) for hotkey, coldkey, amount in base.stakes}
        for authority in added:
            if authority_stake is not None:
                row = (authority.hotkey, authority.coldkey, Rao(parse_tao(authority_stake)))
                stakes.setdefault(authority.hotkey, row)
        whole = replace(
            base,
            stakes=tuple(sorted(stakes.values())),
            authorities=tuple(sorted((*base.authorities, *added), key=lambda authority: authority.hotkey)),
        )
        check_chain_spec(whole)
        _write(loaded(whole), out, force=force, as_json=as_json)


def import_(
    snapshot: Annotated[Path, typer.Argument(metavar="SNAPSHOT.json[.gz]", help="Balances and stakes of a network.")],
    out: OutOption,
    subnet: Annotated[list[Path] | None, typer.Option(help="Metagraph (.npz) of a subnet; may be repeated.")] = None,
    name: Annotated[str, typer.Option(help="Name of the new chain.")] = "finney-replica",
    profile: Annotated[str, typer.Option(help="main, dev or finney.")] = "dev",
    authority_record: RecordOption = None,
    authorities: Annotated[int, typer.Option(min=0, max=100, help="Add this many development authorities.")] = 0,
    authority_stake: Annotated[str, typer.Option(help="Root stake in TAO for each authority.")] = "1000",
    dev: Annotated[list[str] | None, typer.Option(help="Development account to fund; may be repeated.")] = None,
    dev_funds: Annotated[str, typer.Option(help="TAO for each development account.")] = "1000000",
    expect_total: Annotated[
        int | None, typer.Option(help="Rao the snapshot must sum to, if not the real one's.")
    ] = None,
    genesis_time: TimeOption = None,
    salt: SaltOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a spec of a real network: every balance and stake to the rao, real subnets, and development funds."""
    with reporting(as_json):
        from ...consensus.profiles import profile_named
        from ...consensus.types import Micros, Rao
        from ..genesis_import import SNAPSHOT_TOTAL, import_spec, read_snapshot, read_subnet
        from ..spec_file import loaded, read_input

        if genesis_time is None:
            raise usage_error("--genesis-time is missing", remedy="pass Unix microseconds, `now` or +SECONDS")
        chosen, salted = profile_named(profile), _parse_salt(salt or "")
        listed = _authorities(authority_record or [], authorities, name, salted)
        paths = subnet or []
        with progress_bar("import", unit="files and the spec", quiet=as_json) as advance:
            steps = 2 + len(paths)
            advance(0, steps)
            holdings = read_snapshot(
                read_input(snapshot), expected_total=SNAPSHOT_TOTAL if expect_total is None else expect_total
            )
            advance(1, steps)
            subnets = []
            for path in paths:
                subnets.append(read_subnet(read_input(path), chosen))
                advance(1 + len(subnets), steps)
            whole = import_spec(
                holdings,
                subnets,
                profile=chosen,
                name=name,
                genesis_time=Micros(_parse_time(genesis_time)),
                salt=salted,
                authorities=listed,
                authority_stake=Rao(parse_tao(authority_stake)),
                dev_names=dev or [],
                dev_funds=Rao(parse_tao(dev_funds)),
            )
            advance(steps, steps)
        _write(loaded(whole), out, force=force, as_json=as_json)


def show(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file, CBOR or TOML.")],
    as_json: JsonOption = False,
) -> None:
    """Check a spec file and print what it holds."""
    with reporting(as_json):
        from ..spec_file import read_spec_file

        _print(read_spec_file(spec), as_json=as_json)


def _authorities(records: list[Path], derived: int, name: str, salt: bytes) -> list[AuthoritySpec]:
    from ...consensus.dev_accounts import dev_authority
    from ..spec_file import read_authority_record

    found = [read_authority_record(path, name, salt) for path in records]
    return found + [dev_authority(number, name, salt).spec for number in range(1, derived + 1)]


def _parse_time(text: str) -> int:
    import time

    try:
        if text == "now":
            return time.time_ns() // 1000
        if text.startswith("+"):
            return time.time_ns() // 1000 + int(text[1:]) * 1_000_000
        return int(text)
    except ValueError:
        raise usage_error(
            f"--genesis-time {text!r} is not a time", remedy="pass microseconds, `now` or +SECONDS"
        ) from None


def _parse_salt(text: str) -> bytes:
    import secrets

    if text == "random":
        return secrets.token_bytes(16)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise usage_error(f"--salt {text!r} is not hex", remedy="pass hex digits or `random`") from None


def _write(made: LoadedSpec, out: Path, *, force: bool, as_json: bool) -> None:
    from ..spec_file import write_file

    write_file(out, made.data, overwrite=force)
    _print(made, as_json=as_json, out=out)


def _print(made: LoadedSpec, *, as_json: bool, out: Path | None = None) -> None:
    from ...consensus.chain_spec import genesis_authority_set

    spec = made.spec
    members = genesis_authority_set(spec, made.genesis_hash)
    fields: dict[str, Any] = {
        "genesis_hash": made.genesis_hash.hex(),
        "name": spec.name,
        "profile": spec.profile,
        "genesis_time": spec.genesis_time,
        "salt": spec.salt.hex(),
        "issuance": str(spec.issuance),
        "balances": len(spec.balances),
        "stakes": len(spec.stakes),
        "authorities": len(members.members),
        "authority_weight": str(members.total_weight),
        "subnets": [{"netuid": subnet.netuid, "neurons": len(subnet.neurons)} for subnet in spec.subnets],
        "bytes": len(made.data),
    }
    if out is not None:
        fields["file"] = str(out)
    if as_json:
        print_json(fields)
        return
    fields["issuance"] = format_tao(spec.issuance)
    fields["authority_weight"] = format_tao(members.total_weight)
    fields["subnets"] = ", ".join(f"{s.netuid} ({len(s.neurons)} neurons)" for s in spec.subnets) or "none"
    print_fields(fields)
