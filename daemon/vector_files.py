"""Reading vector files and comparing this implementation with them (`yumad vectors`, `yumad epoch`).

A vector file is JSON Lines, plain or gzip-compressed, integers only; each record has `id`, `in`, `out`, and a `kind`
unless it is an epoch. Records are read one line at a time, each line bounded. `CHECKERS` says which kind is compared by
which function; a kind that is not in it is an error, never skipped.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Final, NoReturn, cast

from ..consensus.types import YumadError
from .vector_coinbase import COINBASE_CHECKERS
from .vector_distribution import DISTRIBUTION_CHECKERS
from .vector_epochs import check_epoch
from .vector_pools import POOL_CHECKERS
from .vector_primitives import PRIMITIVE_CHECKERS
from .vector_record import Difference, Record

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest record read: a dense epoch of 1024 uids by 128 validators takes 4 MB, so this is generous yet bounded."""

GZIP_MAGIC: Final = b"\x1f\x8b"

EPOCH_KIND: Final = "epoch"
"""What a record without `kind` is."""

Checker = Callable[[Record], Iterator[Difference]]

CHECKERS: Final[dict[str, Checker]] = {
    EPOCH_KIND: check_epoch,
    **PRIMITIVE_CHECKERS,
    **POOL_CHECKERS,
    **COINBASE_CHECKERS,
    **DISTRIBUTION_CHECKERS,
}
"""Kind of a record -> the function that yields where this implementation differs from it."""


class VectorFileError(YumadError):
    """A file that cannot be read as vectors."""

    code = "vector_file"
    exit_code = 2


class UnknownKindError(YumadError):
    """A well-formed record of a kind nothing here computes."""

    code = "unknown_kind"
    exit_code = 1


@dataclass(slots=True)
class FileReport:
    """What became of one file."""

    file: str
    checked: int = 0
    matched: int = 0

    differences: dict[str, Difference] = field(default_factory=dict)
    """First difference of each field, in the order met."""

    def to_json(self) -> dict[str, Any]:
        """The document `yumad vectors --json` prints for this file."""
        first = next(iter(self.differences.values()), None)
        return {
            "file": self.file,
            "checked": self.checked,
            "matched": self.matched,
            "first_difference": None if first is None else first.to_json(),
        }


def read_records(path: str) -> Iterator[Record]:
    """Records of a `.jsonl` or `.jsonl.gz` file (told apart by content), or of standard input for `-`.

    Raises VectorFileError naming the file, the line and the cause.
    """
    with _opened(path) as lines:
        number = 0
        while line := lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise VectorFileError(f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes")
            if line.strip():
                yield _decode_record(line, f"{path}, line {number}")


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file; whatever goes wrong while reading becomes one clear error."""
    try:
        if path == "-":
            yield _decompressed(sys.stdin.buffer)
        else:
            with open(path, "rb", buffering=0) as stream:
                yield _decompressed(stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        remedy = "the file is damaged or was cut off; fetch it again"
        raise VectorFileError(f"{path} cannot be decompressed: {error}", remedy=remedy) from error
    except OSError as error:
        remedy = "give the path of a .jsonl or .jsonl.gz file that you may read"
        raise VectorFileError(f"{path} cannot be read: {error.strerror or error}", remedy=remedy) from error


def _decompressed(stream: Any) -> IO[bytes]:
    reader = io.BufferedReader(stream)
    compressed = reader.peek(len(GZIP_MAGIC))[: len(GZIP_MAGIC)] == GZIP_MAGIC
    return cast("IO[bytes]", gzip.GzipFile(fileobj=reader, mode="rb") if compressed else reader)


def _decode_record(line: bytes, place: str) -> Record:
    """One line as a record. Raises VectorFileError."""
    try:
        body = json.loads(line, parse_float=_refuse_number, parse_constant=_refuse_number)
    except (ValueError, RecursionError) as error:
        remedy = "each line must be one JSON object with integers only"
        raise VectorFileError(f"{place}: not a JSON record: {error}", remedy=remedy) from error
    if not isinstance(body, dict) or not isinstance(body.get("in"), dict):
        raise VectorFileError(f"{place}: expected a JSON object with an object 'in'", remedy="is this a vector file?")
    kind = body.get("kind", EPOCH_KIND)
    if not isinstance(kind, str):
        raise VectorFileError(f"{place}: 'kind' is {kind!r}; expected a text")
    return Record(place, str(body.get("id", "")), kind, body)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not an integer")


def check_file(path: str) -> FileReport:
    """Compare every record of a file.

    Raises VectorFileError for a file or record that cannot be read, UnknownKindError for a kind without a checker.
    """
    report = FileReport(path)
    for record in read_records(path):
        checker = CHECKERS.get(record.kind)
        if checker is None:
            message = f"{record.place}: kind {record.kind!r} is not known; {report.checked} records before it checked"
            raise UnknownKindError(message, remedy=f"known kinds: {known_kinds()}")
        try:
            differences = list(checker(record))
        except YumadError as error:
            raise VectorFileError(f"{record.place}: {error.message}", remedy=error.remedy) from error
        report.checked += 1
        report.matched += not differences
        for difference in differences:
            report.differences.setdefault(difference.field, difference)
    return report


def known_kinds() -> str:
    """The kinds that can be checked, as one line; those of one type's operations are gathered."""
    single = sorted(kind for kind in CHECKERS if "." not in kind)
    operations = sorted({kind.partition(".")[2] for kind in CHECKERS if "." in kind})
    return f"{', '.join(single)}; TYPE. followed by {', '.join(operations)}"


def find_epoch_record(path: str, record_id: str | None) -> Record:
    """The epoch record with the given id, or the first record. Raises VectorFileError."""
    seen = 0
    for record in read_records(path):
        seen += 1
        if record_id is None or record.id == record_id:
            if record.kind != EPOCH_KIND:
                remedy = "an epoch record has no 'kind'; choose one with --id"
                raise VectorFileError(f"{record.place}: a {record.kind!r} record, not an epoch", remedy=remedy)
            return record
    if record_id is None:
        raise VectorFileError(f"{path} holds no records")
    raise VectorFileError(f"{path} holds no record {record_id!r} among its {seen}", remedy="check the spelling of --id")
