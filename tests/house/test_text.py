"""How files read: module size, names that say something, nothing left undone, nothing of one machine (STYLE)."""

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

MAX_MODULE_LINES = 500
"""At 300 lines a module is full, at 500 it is two (DESIGN 2)."""

VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "misc", "common", "manager", "managers"})
"""Names under which anything can be filed, so that nothing is found (STYLE 7)."""

BARE_NAMES = (".", "consensus", "storage", "protocols", "plugin", "daemon")
"""What an import in a test must not begin with: `.` stands for a relative import."""

# The words below are put together from halves, so that this file passes its own test.
UNDONE = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")

FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/wo" + r"rk/",
            r"(?<![\w.}])/tm" + r"p/",
            r"(?<![\w.])/ro" + r"ot/",
            r"(?<![\w.])/opt/py" + r"pi",
            r"\.lib" + r"rary/",
            r"\bpy" + r"pi\.org",
            r"python" + r"hosted\.org",
            r"registry\.npm" + r"js",
            r"deb\.deb" + r"ian\.org",
            r"(?i:\bcla" + r"ude\b)",
            r"(?i:\banth" + r"ropic\b)",
            r"(?i:\bchat" + r"gpt\b)",
            r"(?i:\bcopi" + r"lot\b)",
        )
    )
)
"""Paths of one machine, hosts of package registries, names of writing tools: they mean nothing to a reader."""


def undone_lines(path: str, text: str) -> list[str]:
    """Lines that promise work instead of doing it."""
    return [f"{path}:{n}: {line.strip()[:80]}" for n, line in enumerate(text.splitlines(), 1) if UNDONE.search(line)]


def stubs(path: str, source: str) -> list[str]:
    """`raise NotImplementedError` in the package: a function that is not there yet should not be there."""
    found = []
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(raised, ast.Name) and raised.id == "NotImplementedError":
                found.append(f"{path}:{node.lineno}")
    return found


def foreign_lines(path: str, text: str) -> list[str]:
    """Lines that name a path or a host that only one machine has."""
    return [f"{path}:{n}: {line.strip()[:80]}" for n, line in enumerate(text.splitlines(), 1) if FOREIGN.search(line)]


def has_vague_name(path: str) -> bool:
    parts = PurePosixPath(path)
    return any(part.lower() in VAGUE_NAMES for part in (*parts.parts[:-1], parts.stem))


def lacks_docstring(path: str, source: str) -> bool:
    return ast.get_docstring(ast.parse(source, path)) is None


def misplaced_imports(path: str, source: str) -> list[str]:
    """Imports in a test that do not go through the name `yumad`: relative ones, and the parts by their bare name."""
    found = []
    for node in ast.walk(ast.parse(source, path)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = ["." if node.level else node.module or ""]
        tops = [name.split(".")[0] if name != "." else "." for name in names]
        found += [f"{path}:{node.lineno}" for top in tops if top in BARE_NAMES]
    return found


def _prose_and_code(texts: dict[str, str]) -> dict[str, str]:
    """Texts that people write: not the lock files (hashes) and not test vectors (data)."""
    kinds = (".py", ".md", ".toml", ".in", "")
    return {p: t for p, t in texts.items() if PurePosixPath(p).suffix in kinds and not p.startswith("tests/vectors/")}


def test_nothing_is_left_undone(project_texts: dict[str, str]) -> None:
    assert [line for path, text in _prose_and_code(project_texts).items() for line in undone_lines(path, text)] == []


def test_package_has_no_stubs(package_sources: dict[str, str]) -> None:
    assert [line for path, source in package_sources.items() for line in stubs(path, source)] == []


def test_nothing_names_one_machine(project_texts: dict[str, str]) -> None:
    assert [line for path, text in project_texts.items() for line in foreign_lines(path, text)] == []


def test_modules_fit_their_size(package_sources: dict[str, str]) -> None:
    sizes = {path: len(source.splitlines()) for path, source in package_sources.items()}
    assert {path: n for path, n in sizes.items() if n > MAX_MODULE_LINES} == {}


def test_file_names_say_what_is_inside(project_files: list[str]) -> None:
    assert [path for path in project_files if has_vague_name(path)] == []


def test_modules_open_with_what_they_are(package_sources: dict[str, str]) -> None:
    assert [path for path, source in package_sources.items() if lacks_docstring(path, source)] == []


def test_tests_import_the_package_by_its_name(test_sources: dict[str, str]) -> None:
    assert [line for path, source in test_sources.items() for line in misplaced_imports(path, source)] == []


def test_links_between_documents_lead_somewhere(project_texts: dict[str, str], repository_root: Path) -> None:
    broken = []
    for path, text in project_texts.items():
        if not path.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not (repository_root / path).parent.joinpath(target).exists():
                broken.append(f"{path}: {target}")
    assert broken == []


@pytest.mark.parametrize("word", ["TO" + "DO: later", "# FIX" + "ME", "XX" + "X"])
def test_undone_line_is_caught(word: str) -> None:
    assert len(undone_lines("planted.py", f"x = 1\n{word}\n")) == 1


@pytest.mark.parametrize("statement", ["raise NotImplementedError", "raise NotImplementedError('soon')"])
def test_stub_is_caught(statement: str) -> None:
    assert stubs("planted.py", f"def f():\n    {statement}") == ["planted.py:2"]


@pytest.mark.parametrize(
    "line",
    [
        "see /wo" + "rk/notes",
        "path = '/tm" + "p/x'",
        "--index-url https://py" + "pi.org/simple",
        "written by Cla" + "ude",
    ],
)
def test_line_of_one_machine_is_caught(line: str) -> None:
    assert len(foreign_lines("planted.md", line)) == 1


@pytest.mark.parametrize("line", ["proof/work/x", "../tmp/x", "an agent version", "${dir}/tmp/x"])
def test_line_that_only_resembles_one_is_allowed(line: str) -> None:
    assert foreign_lines("planted.md", line) == []


@pytest.mark.parametrize("path", ["storage/utils.py", "tests/helpers/x.py", "daemon/peer/Manager.py"])
def test_vague_name_is_caught(path: str) -> None:
    assert has_vague_name(path)


def test_missing_docstring_is_caught() -> None:
    assert lacks_docstring("planted.py", "# a comment is no docstring\nx = 1")


@pytest.mark.parametrize("source", ["from ..consensus import x", "import consensus.types", "from storage import chain"])
def test_import_around_the_package_name_is_caught(source: str) -> None:
    assert misplaced_imports("tests/planted.py", source) == ["tests/planted.py:1"]
    assert misplaced_imports("tests/planted.py", "from yumad.consensus import types\nimport trio") == []
