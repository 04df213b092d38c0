"""Tables of the chain's data: aligned, one line a row, never folded."""

from __future__ import annotations

import pytest
from yumad.daemon.commands.grid import grid_lines, short_amount


def test_grid_sets_numbers_right_and_text_left_one_line_a_row() -> None:
    long = "5" * 48
    lines = grid_lines(("uid", "hotkey", "stake"), [["0", long, "1.5 τ"], ["12", "x", "100.25 τ"]], title="two")
    assert lines == [
        "two",
        f"uid  {'hotkey'.ljust(48)}     stake",
        f"  0  {long}     1.5 τ",
        f" 12  {'x'.ljust(48)}  100.25 τ",
    ]


def test_grid_without_rows_shows_its_columns() -> None:
    assert grid_lines(("a", "bcd"), []) == ["a  bcd"]


@pytest.mark.parametrize(
    ("units", "text"),
    [(0, "0.0000 τ"), (1_999_999_999, "1.9999 τ"), (-1_500_000_000, "-1.5000 τ"), (99_999, "0.0000 τ")],
)
def test_short_amount_is_cut_never_rounded_up(units: int, text: str) -> None:
    assert short_amount(units) == text
