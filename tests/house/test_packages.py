"""What is shipped is what is there: package list, shipped files, version, and a light top module (DESIGN 2)."""

import fnmatch
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

LAYERS = ("consensus", "storage", "protocols", "plugin", "daemon")


def packages_of(files: list[str]) -> list[str]:
    """Dotted names of all packages in a list of relative paths: each folder of a layer that holds a Python module."""
    folders = {PurePosixPath(name).parent for name in files if name.endswith(".py") and name.split("/")[0] in LAYERS}
    return sorted(["yumad", *(".".join(("yumad", *folder.parts)) for folder in folders)])


def unshipped(files: list[str], package_data: dict[str, list[str]]) -> list[str]:
    """Files inside a layer that are neither modules nor covered by a pattern of package-data."""
    patterns = [
        "/".join([*package.split(".")[1:], pattern]) for package, globs in package_data.items() for pattern in globs
    ]
    inside = [name for name in files if name.split("/")[0] in LAYERS and not name.endswith(".py")]
    return [name for name in inside if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


@pytest.fixture(scope="session")
def project(repository_root: Path) -> dict[str, Any]:
    return tomllib.loads((repository_root / "pyproject.toml").read_text())


def test_package_list_equals_the_tree(project: dict[str, Any], project_files: list[str]) -> None:
    assert sorted(project["tool"]["setuptools"]["packages"]) == packages_of(project_files)


def test_every_package_folder_has_an_init_module(project_files: list[str]) -> None:
    folders = [name.split(".")[1:] for name in packages_of(project_files)]
    assert [f for f in folders if "/".join([*f, "__init__.py"]) not in project_files] == []


def test_files_inside_the_package_are_shipped(project: dict[str, Any], project_files: list[str]) -> None:
    assert unshipped(project_files, project["tool"]["setuptools"]["package-data"]) == []
    assert "py.typed" in project_files


def test_tests_folder_has_no_init_module(project_files: list[str]) -> None:
    assert [name for name in project_files if name.startswith("tests/") and name.endswith("__init__.py")] == []


def test_top_module_imports_no_dependency(repository_root: Path) -> None:
    """`yumad --help` answers in 0.4 s (DESIGN 6): what a bare `import yumad` pulls in, every command pays for."""
    heavy = ("numpy", "trio", "libp2p", "rich", "typer", "cbor2", "nacl")
    script = f"import sys, yumad; print(yumad.__version__, *(m for m in {heavy} if m in sys.modules))"
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, cwd=repository_root / "tests", capture_output=True, text=True, check=True)
    assert len(answer.stdout.split()) == 1, answer.stdout


def test_package_missing_from_the_list_is_caught() -> None:
    files = ["__init__.py", "consensus/__init__.py", "consensus/planted/__init__.py", "tests/test_x.py"]
    assert packages_of(files) == ["yumad", "yumad.consensus", "yumad.consensus.planted"]


def test_data_file_missing_from_package_data_is_caught() -> None:
    files = ["consensus/profiles/dev.toml", "daemon/explorer/page.html", "README.md"]
    data = {"yumad": ["py.typed"], "yumad.consensus": ["profiles/*.toml"]}
    assert unshipped(files, data) == ["daemon/explorer/page.html"]
