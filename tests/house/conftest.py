"""The tree as the house rules see it: files that are tracked or about to be, as text."""

import subprocess
from pathlib import Path

import pytest

LAYERS = ("consensus", "storage", "protocols", "daemon")
"""The parts of the package, each a folder at the root (DESIGN 2)."""


def _project_files(root: Path) -> list[str]:
    """Paths git tracks or would track; in a tree without git, everything outside hidden and build folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, capture_output=True, check=False)
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
    else:
        names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
        names = [n for n in names if not n.startswith((".venv/", ".git/", "build/")) and "__pycache__/" not in n]
    # A name may be listed and gone (deleted, not yet committed); a link is judged by what it points to.
    return sorted(name for name in names if name and (root / name).is_file())


@pytest.fixture(scope="session")
def project_files(repository_root: Path) -> list[str]:
    """Relative paths of all files of the project, with `/`, sorted."""
    return _project_files(repository_root)


@pytest.fixture(scope="session")
def project_texts(repository_root: Path, project_files: list[str]) -> dict[str, str]:
    """Content of every file that is text (UTF-8 without NUL), by relative path."""
    texts: dict[str, str] = {}
    for name in project_files:
        data = (repository_root / name).read_bytes()
        if b"\0" in data:
            continue
        try:
            texts[name] = data.decode()
        except UnicodeDecodeError:
            continue
    return texts


@pytest.fixture(scope="session")
def package_sources(project_texts: dict[str, str]) -> dict[str, str]:
    """Source of every module of the package `yumad`, by relative path."""
    return {
        name: text
        for name, text in project_texts.items()
        if name.endswith(".py") and (name == "__init__.py" or name.split("/")[0] in LAYERS)
    }


@pytest.fixture(scope="session")
def test_sources(project_texts: dict[str, str]) -> dict[str, str]:
    """Source of every Python file under tests/, by relative path."""
    return {name: text for name, text in project_texts.items() if name.startswith("tests/") and name.endswith(".py")}
