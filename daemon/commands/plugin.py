"""`yumad plugin new|run|list|logs|reload|stop|scan`: miners and validators beside a peer (AXON R24, R36, R43)."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .options import DEFAULT_HOME, DEFAULT_WALLETS, HomeOption, JsonOption, WalletsOption
from .output import CommandError, Exit, print_fields, print_json, print_table, reporting, usage_error
from .plugin_scan import scan
from .shown_values import open_client

if TYPE_CHECKING:
    from ..control_client import ControlClient

PluginArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the plugin.", show_default=False)]

ROLES: Final = ("miner", "validator", "both")

FOLLOW_SECONDS: Final = 0.4
"""Between two looks at a log that is followed."""

_SHOWN_ERROR: Final = 60
"""Characters of the latest error in the table; `--json` has all."""


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    group = typer.Typer(
        help="Miners and validators that run beside the peer.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command()(new)
    group.command()(run)
    group.command("list")(list_plugins)
    group.command()(logs)
    group.command()(reload)
    group.command()(stop)
    group.command()(scan)
    app.add_typer(group, name="plugin")


def new(
    name: Annotated[str, typer.Argument(help="Name of the subnet: small letters, digits and '_'.", show_default=False)],
    folder: Annotated[Path, typer.Option("--folder", help="Where the files are written.")] = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Write a subnet to start from: messages, miner, validator and tests that pass."""
    with reporting(as_json):
        from ...plugin.scaffold import scaffold

        written = scaffold(folder.expanduser().absolute(), name)
        if as_json:
            print_json({"files": [str(path) for path in written]})
            return
        for path in written:
            print(path)
        print(f"next: pytest {written[-1].parent}")


def run(
    file: Annotated[Path, typer.Argument(help="Python file with the Subnet.", show_default=False)],
    netuid: Annotated[int, typer.Option("--netuid", help="Number of the subnet.", min=0, max=65535)],
    hotkey: Annotated[str, typer.Option("--hotkey", help="Key it acts as: dev:NAME or WALLET/HOTKEY.")],
    role: Annotated[str, typer.Option("--role", help="miner, validator or both.")] = "miner",
    name: Annotated[str, typer.Option("--name", help="Name of the plugin (default: the file's).")] = "",
    variant: Annotated[str, typer.Option("--variant", help="A bad miner of the file, for test swarms.")] = "",
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Tell permit holders of the subnet only where it is served.")
    ] = False,
    argument: Annotated[
        list[str] | None, typer.Option("--arg", help="Handed to the file, as sys.argv; may be repeated.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", help="Variable of the peer's environment it may see; may be repeated.")
    ] = None,
    memory: Annotated[int, typer.Option("--memory", help="Most address space in MiB; 0 for no limit.", min=0)] = 0,
    start_seconds: Annotated[
        int, typer.Option("--start-seconds", help="Seconds until it must be ready.", min=1, max=3600)
    ] = 60,
    once: Annotated[bool, typer.Option("--once", help="It does not come back when the peer is started again.")] = False,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Follow its log; Ctrl-C stops it. Implies --once.")
    ] = False,
    wallets: WalletsOption = DEFAULT_WALLETS,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Run a plugin beside the peer; it comes back whenever the peer is started."""
    with reporting(as_json):
        if role not in ROLES:
            raise usage_error(f"role is {role!r}", remedy=f"use one of {', '.join(ROLES)}")
        path = file.expanduser().absolute()
        if not path.is_file():
            raise usage_error(f"there is no file {path}", remedy="write one with `yumad plugin new NAME`")
        chosen = name or _name_of(path)
        with open_client(home) as client:
            document = client.call(
                "plugin.run",
                name=chosen,
                file=str(path),
                netuid=netuid,
                role=role,
                hotkey=hotkey,
                variant=variant,
                sealed=sealed,
                wallets=str(wallets.expanduser().absolute()),
                arguments=argument or [],
                environment=env or [],
                memory_mib=memory,
                start_seconds=start_seconds,
                once=once or foreground,
            )
            if foreground:
                _in_foreground(client, home, chosen, as_json)
                return
            _show(document, as_json)
        _fail_unless_running(document)


def list_plugins(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """All plugins of the peer: what they do, and the latest error of each."""
    with reporting(as_json), open_client(home) as client:
        documents = client.call("plugin.list")
        if as_json:
            print_json(documents)
            return
        if not documents:
            print("no plugins; start one with `yumad plugin run FILE --netuid N --hotkey KEY`")
            return
        columns = ("name", "subnet", "role", "hotkey", "state", "pid", "uptime", "restarts", "calls", "failed", "error")
        print_table("", columns, [_row(document) for document in documents])


def logs(
    name: PluginArgument,
    lines: Annotated[int, typer.Option("-n", "--lines", help="Most lines.", min=1, max=100)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """The last lines a plugin wrote; more are in the file that `plugin list --json` names."""
    with reporting(as_json), open_client(home) as client:
        if follow:
            _follow(client, name, lines, as_json)
            return
        found = client.call("plugin.logs", name=name, lines=lines)
        if as_json:
            print_json(found)
            return
        for line in found:
            print(_line(line))


def reload(name: PluginArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Swap a plugin's code for what its file has now, without failing a call."""
    with reporting(as_json):
        with open_client(home) as client:
            document = client.call("plugin.reload", name=name)
            _show(document, as_json)
        _fail_unless_running(document)


def stop(name: PluginArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Let a plugin finish its calls and end it, until `plugin run` starts it again."""
    with reporting(as_json), open_client(home) as client:
        _show(client.call("plugin.stop", name=name), as_json)


def _name_of(path: Path) -> str:
    """The file's name as a plugin's."""
    found = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:32]
    if not found:
        raise usage_error(f"{path.name} gives no name for a plugin", remedy="choose one with --name")
    return found


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    shown = {
        "plugin": document["name"],
        "state": "reloading" if document["reloading"] else document["state"],
        "process": document["pid"],
        "subnet": f"{document['netuid']} ({document['subnet']})" if document["subnet"] else document["netuid"],
        "role": document["role"],
        "hotkey": document["hotkey"],
        "methods": ", ".join(document["methods"]) or None,
        "validator": document["validator"],
    }
    print_fields({name: value for name, value in shown.items() if value is not None})


def _fail_unless_running(document: dict[str, Any]) -> None:
    """A plugin that failed is an error of the command that started it."""
    error = document["error"]
    if document["state"] in ("failed", "backing off") and error is not None:
        remedy = error["remedy"] or f"see `yumad plugin logs {document['name']}`"
        raise CommandError(error["code"], f"plugin {document['name']}: {error['message']}", remedy=remedy)


def _row(document: dict[str, Any]) -> tuple[Any, ...]:
    error = document["error"]
    text = None if error is None else error["message"]
    return (
        document["name"],
        f"{document['netuid']}{' ' + document['subnet'] if document['subnet'] else ''}",
        document["role"],
        document["key"],
        "reloading" if document["reloading"] else document["state"],
        document["pid"],
        _duration(document["uptime"]),
        document["restarts"],
        document["calls"],
        document["failed_calls"],
        text if text is None or len(text) <= _SHOWN_ERROR else f"{text[:_SHOWN_ERROR]}…",
    )


def _duration(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {seconds % 60}s" if minutes else f"{seconds}s"


def _line(line: dict[str, Any]) -> str:
    return f"{datetime.fromtimestamp(line['time'] / 1_000_000):%H:%M:%S.%f} {line['text']}"


def _follow(client: ControlClient, name: str, lines: int, as_json: bool) -> None:
    """Print lines as they come; with `--json` one document a line."""
    after = 0
    while True:
        for line in client.call("plugin.logs", name=name, lines=lines, after=after):
            after = line["number"]
            if as_json:
                print_json(line)
            else:
                print(_line(line))
        sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)


def _in_foreground(client: ControlClient, home: Path, name: str, as_json: bool) -> None:
    """Follow the log until Ctrl-C, which ends the plugin."""
    try:
        _follow(client, name, 100, as_json)
    except KeyboardInterrupt:
        with open_client(home) as again:  # on the first connection an answer may have been half read
            again.call("plugin.stop", name=name)
        print(f"plugin {name} stopped", file=sys.stderr)
        raise SystemExit(Exit.INTERRUPTED) from None
