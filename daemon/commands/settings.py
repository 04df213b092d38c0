"""`yumad version` and `yumad config show`: what runs here and with which settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import print_fields, print_json, print_table, reporting


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(version)
    family = typer.Typer(name="config", help="Look at the settings.", no_args_is_help=True)
    family.command("show")(show)
    app.add_typer(family)


def version(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Versions of the program, of its rules and of what it stands on."""
    with reporting(as_json):
        import platform
        from importlib.metadata import version as installed

        from ... import __version__
        from ...consensus.rules.registry import KNOWN_VERSIONS

        document = {
            "yumad": __version__,
            "rules": ", ".join(map(str, KNOWN_VERSIONS)),
            "python": platform.python_version(),
            **{name: installed(name) for name in ("libp2p", "trio", "numpy", "pynacl", "cbor2")},
        }
        if as_json:
            print_json(document)
        else:
            print_fields(document)


def show(
    home: Annotated[Path, typer.Option(help="Folder of the peer.", envvar="YUMAD_HOME")] = Path("~/.yumad"),
    origin: Annotated[bool, typer.Option("--origin", help="Also say where each value comes from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """The settings a peer of this home would start with: flag > environment > config.toml > default."""
    with reporting(as_json):
        from ..config import load_config, settings_of

        config = load_config(home.expanduser(), {})
        values = settings_of(config)
        if as_json:
            print_json(
                {name: {"value": value, "origin": config.origins[name]} for name, value in values.items()}
                if origin
                else values
            )
            return
        rows = [[name, _shown(value), config.origins[name]] for name, value in values.items()]
        if origin:
            print_table("", ["setting", "value", "origin"], rows)
        else:
            print_fields({name: shown for name, shown, _ in rows})


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
