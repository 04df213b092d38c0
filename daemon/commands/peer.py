"""`yumad init | run | join | doctor`: making and running a peer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import print_fields, print_json, reporting

if TYPE_CHECKING:
    from ..config import Config

HomeOption = Annotated[Path, typer.Option(help="Folder of the peer.", envvar="YUMAD_HOME")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ListenOption = Annotated[list[str] | None, typer.Option(help="Multiaddress to listen on; may be repeated.")]
AnnounceOption = Annotated[list[str] | None, typer.Option(help="Multiaddress told to others; may be repeated.")]
JoinOption = Annotated[list[str] | None, typer.Option("--join", help="ADDRESS#GENESIS to join by; may be repeated.")]
HotkeyOption = Annotated[str | None, typer.Option(help="Signs heartbeats: dev:NAME or WALLET/HOTKEY.")]
LevelOption = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]
FormatOption = Annotated[str | None, typer.Option(help="auto, human or json.")]
MetricsOption = Annotated[str | None, typer.Option(help="HOST:PORT of the Prometheus endpoint.")]
RelayOnlyOption = Annotated[
    bool | None,
    typer.Option("--relay-only/--direct", help="Show no address of this peer, only relays.", show_default=False),
]
RelayOption = Annotated[
    bool | None,
    typer.Option("--relay/--no-relay", help="Relay for peers that others cannot reach.", show_default=False),
]
ProbeOption = Annotated[
    bool | None, typer.Option("--probe/--no-probe", help="Measure the miners of own subnets.", show_default=False)
]
NameOption = Annotated[str, typer.Option(help="Name shown in status and tables.")]
TrustOption = Annotated[list[str] | None, typer.Option("--trust", help="HEIGHT:HASH the chain must contain.")]
TrustGenesisOption = Annotated[bool, typer.Option(help="Trust the genesis although the trust window has passed.")]

DEFAULT_HOME = Path("~/.yumad")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command()(run)
    app.command()(join)
    app.command()(doctor)


def init(
    home: HomeOption = DEFAULT_HOME,
    spec: Annotated[Path | None, typer.Option(help="Chain spec to start from (.toml or binary).")] = None,
    authority: Annotated[bool, typer.Option(help="Make an authority key with its vote guard.")] = False,
    authority_record: Annotated[
        Path | None, typer.Option(help="Write the record that `yumad genesis build` collects; implies --authority.")
    ] = None,
    chain: Annotated[str, typer.Option(help="Name of the chain the record is for.")] = "",
    salt: Annotated[str, typer.Option(help="Salt of that chain, hex.")] = "",
    coldkey: Annotated[str, typer.Option(help="Coldkey in the record: an address or dev:NAME.")] = "",
    hotkey: HotkeyOption = None,
    listen: ListenOption = None,
    announce: AnnounceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a home: settings, peer key, and on demand a chain and an authority key."""
    with reporting(as_json):
        from ...storage.home import Home
        from ..config import config_text, load_config
        from ..initialise import initialise, write_record
        from ..spec_file import write_file

        folder = Home(home)
        flags = {"hotkey": hotkey, "listen": tuple(listen or ()), "announce": tuple(announce or ())}
        config = load_config(folder.path, flags)
        made = initialise(folder, spec, with_authority=authority or authority_record is not None)
        if authority_record is not None:
            write_record(folder, authority_record, config, chain, salt, coldkey)
        kept = load_config(folder.path, flags, {})  # what the environment says today is not a setting of the home
        write_file(folder.config_file, config_text(kept).encode(), overwrite=True)
        document = {
            "home": str(folder.path),
            "peer_id": made.peer_id,
            "genesis_hash": None if made.genesis_hash is None else made.genesis_hash.hex(),
            "authority_key": None if made.authority_key is None else made.authority_key.hex(),
        }
        if as_json:
            print_json(document)
        else:
            print_fields({name: value for name, value in document.items() if value is not None})


def run(
    home: HomeOption = DEFAULT_HOME,
    join: JoinOption = None,
    listen: ListenOption = None,
    announce: AnnounceOption = None,
    hotkey: HotkeyOption = None,
    relay_only: RelayOnlyOption = None,
    relay: RelayOption = None,
    probe: ProbeOption = None,
    metrics: MetricsOption = None,
    log_level: LevelOption = None,
    log_format: FormatOption = None,
    genesis: Annotated[str, typer.Option(help="Which chain of the home: the first digits of its hash.")] = "",
    name: NameOption = "",
    trust: TrustOption = None,
    trust_genesis: TrustGenesisOption = False,
) -> None:
    """Run the peer of a home until Ctrl-C; with --join it fetches the chain spec first where that is needed."""
    flags = {
        "listen": tuple(listen or ()),
        "announce": tuple(announce or ()),
        "hotkey": hotkey,
        "relay_only": relay_only,
        "relay": relay,
        "probe": probe,
        "metrics": metrics,
        "log_level": log_level,
        "log_format": log_format,
    }
    _start(home, join or [], flags, genesis, name, trust or [], trust_genesis)


def join(
    address: Annotated[str, typer.Argument(metavar="ADDRESS#GENESIS", help="Bootstrap string of a running peer.")],
    home: HomeOption = DEFAULT_HOME,
    listen: ListenOption = None,
    announce: AnnounceOption = None,
    relay_only: RelayOnlyOption = None,
    metrics: MetricsOption = None,
    log_level: LevelOption = None,
    log_format: FormatOption = None,
    name: NameOption = "",
    trust: TrustOption = None,
    trust_genesis: TrustGenesisOption = False,
) -> None:
    """Join a network by one address: makes the home, remembers the address, syncs and follows until Ctrl-C."""
    flags = {
        "listen": tuple(listen or ()),
        "announce": tuple(announce or ()),
        "relay_only": relay_only,
        "metrics": metrics,
        "log_level": log_level,
        "log_format": log_format,
    }
    _start(home, [address], flags, "", name, trust or [], trust_genesis)


def _start(
    home: Path,
    joined: list[str],
    flags: Mapping[str, Any],
    genesis: str,
    name: str,
    trust: list[str],
    trust_genesis: bool,
) -> None:
    with reporting(False):
        from ...protocols.bootstrap import parse_anchor, parse_bootstrap
        from ...storage.home import Home
        from ..config import load_config
        from ..initialise import remember_bootstrap
        from ..joining import ensure_chain
        from ..logging import configure_logging
        from ..process import RunOptions, run_peer
        from .progress import staged_progress

        bootstraps = [parse_bootstrap(text) for text in joined]
        trusted = tuple(parse_anchor(text) for text in trust)
        folder = Home(home)
        config = _with_bootstrap(load_config(folder.path, flags), tuple(joined))
        configure_logging(config.log_level, config.log_format)
        with staged_progress() as on_progress:
            for bootstrap in bootstraps[:1]:
                genesis = bootstrap.genesis_digits
                ensure_chain(folder, bootstrap, on_progress, _tell_of_delay)
                remember_bootstrap(folder, joined)
            run_peer(
                folder,
                config,
                RunOptions(
                    name=name, genesis_prefix=genesis, trust_genesis=trust_genesis, trusted=trusted, on_sync=on_progress
                ),
            )


def _tell_of_delay(reason: str) -> None:
    """One line, wherever stderr goes; nothing more is said until the peer answers."""
    print(f"yumad: {reason}; trying again until it answers, Ctrl-C ends this", file=sys.stderr, flush=True)


def _with_bootstrap(config: Config, joined: tuple[str, ...]) -> Config:
    from dataclasses import replace

    return replace(config, bootstrap=tuple(dict.fromkeys((*joined, *config.bootstrap))))


def doctor(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Check a home and this machine: files, keys, clock, disk, port; says what to do about each finding."""
    with reporting(as_json):
        from ...storage.home import Home
        from ..doctor import examine

        findings = examine(Home(home))
        failed = [finding for finding in findings if not finding.ok]
        if as_json:
            print_json(
                {
                    "ok": not failed,
                    "findings": [
                        {"check": f.check, "ok": f.ok, "detail": f.detail, "remedy": f.remedy} for f in findings
                    ],
                }
            )
        else:
            for finding in findings:
                print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check:<14} {finding.detail}")
                if finding.remedy:
                    print(f"      {'':<14} {finding.remedy}")
        if failed:
            raise SystemExit(1)
