"""Locks pin everything by hash and mean the same on every machine; pyproject bounds every dependency (DESIGN 2)."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("requirements/build.txt", "requirements/main.txt", "requirements/bench.txt")


def locked_versions(text: str) -> dict[str, str]:
    """Name -> version of a lock file. ValueError for an option, an address, an entry without version or hash."""
    versions: dict[str, str] = {}
    for entry in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text)).splitlines():
        if not entry.strip():
            continue
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)\s", entry)
        if pinned is None or "://" in entry or not re.search(r"--hash=sha256:[0-9a-f]{64}", entry):
            raise ValueError(f"not pinned by version and hash: {entry[:80]}")
        versions[canonicalize_name(pinned[1])] = pinned[2]
    return versions


def unbounded(requirements: list[str]) -> list[str]:
    """Requirements without an upper bound."""
    return [r for r in requirements if not any(s.operator in ("<", "<=", "==", "~=") for s in Requirement(r).specifier)]


@pytest.fixture(scope="session")
def project(repository_root: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = tomllib.loads((repository_root / "pyproject.toml").read_text())["project"]
    return metadata


@pytest.fixture(scope="session")
def declared(project: dict[str, Any]) -> list[str]:
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_every_package_by_hash(repository_root: Path, lock: str) -> None:
    assert len(locked_versions((repository_root / lock).read_text())) > 3


def test_every_declared_dependency_is_locked_within_its_bounds(repository_root: Path, declared: list[str]) -> None:
    locked = locked_versions((repository_root / "requirements/main.txt").read_text())
    requirements = [Requirement(text) for text in declared]
    outside = [str(r) for r in requirements if not r.specifier.contains(locked.get(canonicalize_name(r.name), "0"))]
    assert outside == []


def test_every_declared_dependency_has_an_upper_bound(declared: list[str]) -> None:
    assert unbounded(declared) == []


def test_every_declared_dependency_has_a_reason(repository_root: Path, declared: list[str]) -> None:
    reasons = (repository_root / "docs/dependencies.md").read_text().lower()
    assert [r for r in declared if f"`{Requirement(r).name.lower()}`" not in reasons] == []


@pytest.mark.parametrize("script", ["scripts/setup", "scripts/test", "scripts/swarm", "scripts/lock", ".ci/run"])
def test_script_is_executable_and_parses(repository_root: Path, script: str) -> None:
    path = repository_root / script
    assert path.stat().st_mode & 0o111
    parsed = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (parsed.returncode, parsed.stderr) == (0, "")


@pytest.mark.parametrize(
    "entry",
    [
        "trio==0.35.0\n",
        "trio>=0.35.0 --hash=sha256:" + "0" * 64 + "\n",
        "--extra-index-url https://example.org/simple\n",
        "trio @ https://example.org/trio.whl --hash=sha256:" + "0" * 64 + "\n",
    ],
)
def test_lock_entry_that_is_not_pinned_is_caught(entry: str) -> None:
    with pytest.raises(ValueError, match="not pinned"):
        locked_versions(entry)


def test_dependency_without_upper_bound_is_caught() -> None:
    assert unbounded(["trio>=0.3,<1", "numpy>=2", "libp2p==0.8.1", "rich"]) == ["numpy>=2", "rich"]
