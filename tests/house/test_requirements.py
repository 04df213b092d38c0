"""Every requirement of AXON 7.1-7.6 (R1-R42) has tests named after it, and docs/axon.md says which.

A test covers R7 when its name holds `_r7_` (or ends in `_r7`). The table in docs/axon.md names some of them; what
it names must exist.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = range(1, 43)

_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
_ROW = re.compile(r"^\| R(\d+) \|.*$", re.MULTILINE)
_NAMED = re.compile(r"`([\w/.]+\.py)::(test_\w+)`")


def named_tests() -> dict[str, list[str]]:
    """Names of the test functions under tests/ and examples/."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "examples").rglob("test_*.py")]
    return {str(path.relative_to(ROOT)): _TEST.findall(path.read_text("utf-8")) for path in files}


def covers(name: str, number: int) -> bool:
    """Whether a test's name says that it covers that requirement."""
    return f"r{number}" in name.split("_")


def table() -> dict[int, list[tuple[str, str]]]:
    """The rows of docs/axon.md: requirement -> (file, test)."""
    text = (ROOT / "docs" / "axon.md").read_text("utf-8")
    return {int(row[1]): _NAMED.findall(row[0]) for row in _ROW.finditer(text)}


def test_every_requirement_has_a_test_named_after_it() -> None:
    names = [name for tests in named_tests().values() for name in tests]
    assert [number for number in REQUIREMENTS if not any(covers(name, number) for name in names)] == []


def test_table_of_the_docs_names_tests_that_exist_for_every_requirement() -> None:
    rows, tests = table(), named_tests()
    assert sorted(rows) == list(REQUIREMENTS)
    for number, named in rows.items():
        assert named, f"R{number} names no test"
        for file, test in named:
            assert test in tests.get(file, []), f"R{number}: {file} has no {test}"
            assert covers(test, number), f"R{number}: {test} is not named after it"
