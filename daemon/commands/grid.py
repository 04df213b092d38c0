"""Tables of the chain's data: one line for each row whatever the width, so that they can be searched and cut.

Boxes and folded cells look well with three columns; a metagraph has eleven, and an address cut in four lines is none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, Final

_NUMBER: Final = re.compile(r"-?[0-9][0-9.,/]*( [τα])?|-|")
"""What is set to the right: numbers, amounts, fractions such as 8/256, and the mark for none."""


def print_grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print `rows` under `columns`: numbers to the right, text to the left, two spaces between."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for line in grid_lines(columns, cells, title=title, bold=sys.stdout.isatty()):
        print(line)


def grid_lines(
    columns: Sequence[str], cells: Sequence[Sequence[str]], *, title: str = "", bold: bool = False
) -> list[str]:
    """The lines of a grid."""
    widths = [max(len(name), *(len(row[at]) for row in cells), 0) for at, name in enumerate(columns)]
    right = [bool(cells) and all(_NUMBER.fullmatch(row[at]) for row in cells) for at in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        parts = [cell.rjust(width) if to_right else cell.ljust(width)
                 for cell, width, to_right in zip(row, widths, right, strict=True)]  # fmt: skip
        return "  ".join(parts).rstrip()

    head = line(columns)
    lines = [title] if title else []
    return [*lines, f"\x1b[1m{head}\x1b[0m" if bold else head, *(line(row) for row in cells)]


def short_amount(units: int, symbol: str = "τ") -> str:
    """An amount of 1e-9 units with four decimals, cut, for wide tables; `--json` has all of it."""
    sign, whole = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{whole // 10**9}.{whole % 10**9 // 10**5:04d} {symbol}".rstrip()
