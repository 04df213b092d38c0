"""`yumad vectors` and `yumad epoch`: the chain's arithmetic for people without a chain (DESIGN 1, "researcher").

The heavy imports stand inside the commands, so that `yumad --help` stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .output import Exit, print_json, reporting

if TYPE_CHECKING:
    from ..vector_files import FileReport

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command("vectors")(vectors)
    app.command("epoch")(epoch)


def vectors(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Vector files, .jsonl or .jsonl.gz.")],
    as_json: JsonOption = False,
) -> None:
    """Check this implementation against vector files; exit code 0 only if every record matches."""
    with reporting(as_json):
        from ..vector_files import check_file

        reports = [check_file(file) for file in files]
        if as_json:
            print_json({"files": [report.to_json() for report in reports]})
        else:
            for report in reports:
                _print_report(report)
        if any(report.matched != report.checked for report in reports):
            raise SystemExit(Exit.REFUSED)


def _print_report(report: FileReport) -> None:
    print(f"{report.file}: {report.checked} checked, {report.matched} matched")
    for difference in report.differences.values():
        place = difference.field if difference.index is None else f"{difference.field}[{difference.index}]"
        expected, actual = _shortened(difference.expected), _shortened(difference.actual)
        print(f"  first difference in {place}: record {difference.record}: expected {expected}, got {actual}")


def _shortened(value: Any, limit: int = 160) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def epoch(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Epoch case: .jsonl or .jsonl.gz, - for standard input.")],
    record_id: Annotated[str | None, typer.Option("--id", help="Record of the file; the first without it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run one Yuma epoch from a file and show every uid's result; exit code 1 if the file expects another one."""
    with reporting(as_json):
        from ...consensus.rules.v1.yuma.epoch import run_epoch
        from ..vector_epochs import compare_stored, decode_epoch, stored_output
        from ..vector_files import VectorFileError, find_epoch_record
        from ..vector_record import RecordError

        record = find_epoch_record(file, record_id)
        try:
            case = decode_epoch(record.inputs())
            result = stored_output(case, run_epoch(case))
            differences = list(compare_stored(record, result)) if "out" in record.body else None
        except RecordError as error:
            raise VectorFileError(f"{record.place}: {error.message}", remedy=error.remedy) from error
        matches = None if differences is None else not differences
        if as_json:
            print_json({"id": record.id, "block": case.block, "match": matches, "out": result})
        else:
            rules = "Yuma3" if case.parameters.yuma3 else "Yuma2"
            alpha = ", liquid alpha" if case.parameters.yuma3 and case.parameters.liquid_alpha else ""
            title = f"{record.id or 'epoch'}: {case.count} uids at block {case.block}, {rules}{alpha}; emission in rao"
            _print_epoch(title, result)
            for difference in differences or ():
                print(f"differs from the file in {difference.field}: expected {_shortened(difference.expected)}")
        if matches is False:
            raise SystemExit(Exit.REFUSED)


EPOCH_COLUMNS: Final = ("uid", "stake", "active", "permit", "consensus", "incentive", "dividends", "vtrust", "emission")
"""Columns of the epoch's table: shares of the subnet, but for the marks and the emission."""


PIPE_WIDTH: Final = 120
"""Columns of a table written to a file or pipe: wide enough for a u64 in the last one."""


def _print_epoch(title: str, result: dict[str, Any]) -> None:
    """One row for each uid, narrow enough for 80 columns; shares are stored in parts of 65535."""
    from rich.console import Console
    from rich.table import Table

    def share(parts: int) -> str:
        return f"{parts / 65535:.5f}"

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in EPOCH_COLUMNS:
        table.add_column(name, justify="right", no_wrap=name != "emission", overflow="fold")
    for uid, emission in enumerate(result["emission"]):
        table.add_row(
            str(uid),
            share(result["stake_weight"][uid]),
            "yes" if result["active"][uid] else "-",
            "yes" if result["validator_permit"][uid] else "-",
            share(result["consensus"][uid]),
            share(result["incentive"][uid]),
            share(result["dividends"][uid]),
            share(result["validator_trust"][uid]),
            str(emission),
        )
    console = Console()
    console.print(table, width=None if console.is_terminal else PIPE_WIDTH)
