"""Imports point down only: daemon -> plugin -> protocols -> consensus, daemon -> storage -> consensus (DESIGN 2)."""

import ast

import pytest

MAY_IMPORT = {
    "consensus": {"consensus"},
    "storage": {"storage", "consensus"},
    "protocols": {"protocols", "consensus"},
    "plugin": {"plugin", "protocols", "consensus"},
    "daemon": {"daemon", "plugin", "protocols", "storage", "consensus"},
    "": {"daemon", "plugin", "protocols", "storage", "consensus"},
}
"""Layer -> layers it may import. The empty name is the package's own `__init__`, which offers the public names."""


def _targets(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    """What an import reaches, named from the root of the package: `from ..storage import chain` -> `storage.chain`.

    Of other distributions: nothing. `package` is the importing module's package, as path parts below the root.
    Raises ValueError for an import that is not relative, or leaves the package.
    """
    if isinstance(node, ast.Import):
        if any(alias.name.split(".")[0] == "yumad" for alias in node.names):
            raise ValueError("inside the package imports are relative")
        return []
    if node.level == 0:
        if (node.module or "").split(".")[0] == "yumad":
            raise ValueError("inside the package imports are relative")
        return []
    if node.level - 1 > len(package):
        raise ValueError("the import leaves the package")
    base = package[: len(package) - (node.level - 1)] + (node.module.split(".") if node.module else [])
    return [".".join([*base, alias.name]) for alias in node.names]


def layering_violations(path: str, source: str) -> list[str]:
    """Lines `path:line: what` for each import that breaks a rule."""
    package = path.split("/")[:-1]
    layer = package[0] if package else ""
    found = []
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            text = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
            if name in ("import_module", "__import__") and isinstance(text, str) and text.startswith((".", "yumad")):
                found.append(f"{path}:{node.lineno}: import of {text!r} by name hides a layer")
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        try:
            targets = _targets(node, package)
        except ValueError as error:
            found.append(f"{path}:{node.lineno}: {error}")
            continue
        for target in targets:
            reached = target.split(".")[0]
            if reached in MAY_IMPORT and reached not in MAY_IMPORT[layer]:
                found.append(f"{path}:{node.lineno}: {layer} must not import {target}")
    return found


def library_violations(path: str, source: str) -> list[str]:
    """py-libp2p is touched by its wrapper only, so that its types and its faults stay there (LIBP2P 8)."""
    if path.startswith("protocols/libp2p/"):
        return []
    found = []
    for node in ast.walk(ast.parse(source, path)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        foreign = [name for name in names if name.split(".")[0] == "libp2p"]
        found += [f"{path}:{node.lineno}: {name} outside protocols/libp2p" for name in foreign]
    return found


def test_imports_of_the_package_point_down_only(package_sources: dict[str, str]) -> None:
    assert [line for path, source in package_sources.items() for line in layering_violations(path, source)] == []


def test_network_library_is_imported_by_its_wrapper_only(package_sources: dict[str, str]) -> None:
    assert [line for path, source in package_sources.items() for line in library_violations(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("consensus/planted.py", "from ..storage import chain"),
        ("consensus/planted.py", "from .. import daemon"),
        ("consensus/rules/v1/planted.py", "from ....protocols.limits import MAX_BLOCK"),
        ("protocols/planted.py", "from ..storage.chain import Chain"),
        ("protocols/planted.py", "def late():\n    from ..daemon import node"),
        ("storage/planted.py", "if TYPE_CHECKING:\n    from ..protocols import limits"),
        ("plugin/planted.py", "from ..storage.chain import Chain"),
        ("plugin/planted.py", "from ..daemon import node"),
        ("protocols/axon/planted.py", "from ...plugin import schema"),
        ("daemon/planted.py", "from yumad.consensus import types"),
        ("daemon/planted.py", "import yumad.consensus"),
        ("daemon/planted.py", "from ... import consensus"),
        ("consensus/planted.py", "import importlib\nimportlib.import_module('yumad.daemon')"),
    ],
)
def test_import_against_the_layers_is_caught(path: str, source: str) -> None:
    assert len(layering_violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("daemon/commands/planted.py", "from ...storage.chain import Chain\nfrom ...protocols import limits"),
        ("storage/planted.py", "from ..consensus.types import Rao\nfrom . import chain"),
        ("consensus/state/planted.py", "from ..types import Rao\nfrom .merkle import root\nimport numpy"),
        ("__init__.py", "from .daemon import plugin"),
        ("__init__.py", "from .plugin import subnet"),
        ("plugin/testing/planted.py", "from ...protocols.axon import payload\nfrom .. import schema"),
    ],
)
def test_import_down_the_layers_is_allowed(path: str, source: str) -> None:
    assert layering_violations(path, source) == []


@pytest.mark.parametrize("source", ["import libp2p.host", "from libp2p import new_host"])
def test_network_library_outside_its_wrapper_is_caught(source: str) -> None:
    assert len(library_violations("daemon/planted.py", source)) == 1
    assert library_violations("protocols/libp2p/planted.py", source) == []
