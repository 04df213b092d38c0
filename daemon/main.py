"""The `yumad` command: gathers the command families and turns every designed error into one line and an exit code.

Families import only typer and the standard library at module level, so that `yumad --help` stays quick.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import typer

from ..consensus.types import YumadError
from .commands.output import Exit, report_error

FAMILIES: Final = (
    "peer",
    "swarm",
    "plugin",
    "axon",
    "receipt",
    "wallet",
    "chain",
    "subnet",
    "weights",
    "stake",
    "calls",
    "genesis",
    "settings",
    "verify",
    "explain",
    "simulate",
    "research",
)
"""Modules of `daemon/commands`, in the order of the help text; each has `register(app)`."""


def build_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="yumad",
        help="A peer of a Bittensor-style network that re-computes every Yuma epoch itself, to the last bit.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for family in FAMILIES:
        importlib.import_module(f".commands.{family}", __package__).register(app)
    return app


def main() -> None:
    """Entry point of the console script."""
    try:
        build_app()(prog_name="yumad")
    except YumadError as error:
        raise SystemExit(report_error(error, as_json="--json" in sys.argv)) from None
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None


if __name__ == "__main__":
    main()
