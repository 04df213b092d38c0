"""How every command speaks: one document on stdout, errors with code, message and remedy on stderr, fixed exit codes
(DESIGN section 5).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, Final, NoReturn

from ...consensus.types import YumadError

PIPED_WIDTH: Final = 240
"""Columns of a table that no terminal limits: nothing needs to be folded for a file or a pager."""


class Exit(IntEnum):
    """What the exit code of any command means."""

    OK = 0
    REFUSED = 1
    """By the chain, a peer, or a check the command makes."""
    USAGE = 2
    NOT_REGISTERED = 3
    """Not registered, or not authorised."""
    NO_DAEMON = 4
    DECLINED = 5
    """The user answered no."""
    INTERRUPTED = 130


class CommandError(YumadError):
    """A designed end of a command."""

    def __init__(self, code: str, message: str, *, remedy: str = "", exit_code: Exit = Exit.REFUSED) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.exit_code = exit_code


def usage_error(message: str, *, remedy: str = "") -> CommandError:
    """A command that was called wrongly: exit code 2."""
    return CommandError("usage", message, remedy=remedy, exit_code=Exit.USAGE)


def report_error(error: YumadError, *, as_json: bool) -> int:
    """Write one designed error to stderr and return the exit code it asks for."""
    exit_code = int(getattr(error, "exit_code", Exit.REFUSED))
    if as_json:
        document = {"error": {"code": error.code, "message": error.message, "remedy": error.remedy}}
        print(json.dumps(document), file=sys.stderr)
    else:
        print(f"yumad: {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"       {error.remedy}", file=sys.stderr)
    return exit_code


@contextmanager
def reporting(as_json: bool) -> Iterator[None]:
    """Run a command's body: designed errors, interrupts and closed pipes end it cleanly, never with a traceback."""
    try:
        yield
    except YumadError as error:
        raise SystemExit(report_error(error, as_json=as_json)) from None
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(Exit.OK) from None


def print_json(document: Any) -> None:
    """The one document of a `--json` command."""
    print(json.dumps(document, default=_plain))


def _plain(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} in a JSON document: convert it where it is made")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people: numbers to the right, text to the left."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int) and not isinstance(row[index], bool) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(soft_wrap=False, width=PIPED_WIDTH)
    console.print(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    """Name and value, a line each."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        print(f"{name:<{width}}  {value}")


def format_tao(rao: int, symbol: str = "τ") -> str:
    """Rao as TAO with nine decimals, exact: integers only."""
    sign, whole = ("-", -rao) if rao < 0 else ("", rao)
    return f"{sign}{whole // 10**9}.{whole % 10**9:09d} {symbol}"


def parse_tao(text: str) -> int:
    """Rao of a decimal amount of TAO such as `1.5`. Raises a usage error for anything else."""
    whole, _, fraction = text.strip().partition(".")
    if not (whole or fraction) or not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        raise usage_error(f"{text!r} is not an amount of TAO", remedy="write a number such as 12 or 0.25")
    if len(fraction) > 9:
        raise usage_error(f"{text!r} has more than nine decimals", remedy="the smallest amount is 0.000000001")
    return int(whole or "0") * 10**9 + int(fraction.ljust(9, "0"))
