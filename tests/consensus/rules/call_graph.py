"""Which errors the code of a call can name: read from the source, function by function, without running it.

An over-estimate: a function shared by two calls names its errors for both.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from yumad.consensus.rules.v1.calls.table import CALLS

Place = tuple[str, str]
"""(module, function)."""


@dataclass
class _Function:
    errors: set[str] = field(default_factory=set)
    used: set[Place] = field(default_factory=set)


def errors_in_code(root: Path) -> dict[str, set[str]]:
    """Call name -> names of the errors that its execution mentions; `root` is the repository's."""
    functions: dict[Place, _Function] = {}
    for path in sorted((root / "consensus/rules/v1").rglob("*.py")):
        _read(path, ".".join(path.relative_to(root).with_suffix("").parts), functions)
    found = {}
    for call in CALLS:
        function = call.execute
        place = (function.__module__.removeprefix("yumad."), function.__qualname__.partition(".")[0])
        assert place in functions, f"{call.name} is executed by {place}, which is not in the source"
        found[call.name] = _reached(place, functions)
    return found


def _read(path: Path, module: str, functions: dict[Place, _Function]) -> None:
    tree = ast.parse(path.read_text())
    imported: dict[str, Place] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            source = ".".join([*module.split(".")[: -node.level], *([node.module] if node.module else [])])
            imported |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    for node in tree.body:  # tables of errors, as of what a pool refuses
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            named = {part.attr for part in ast.walk(node.value) if _is_error(part)}
            if named and path.stem != "errors":
                functions[module, node.target.id] = _Function(named)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        function = functions.setdefault((module, node.name), _Function())
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                if _is_error(part):
                    function.errors.add(part.attr)
                elif part.value.id in imported:
                    function.used.add((".".join(imported[part.value.id]), part.attr))
            elif isinstance(part, ast.Name):
                function.used.add(imported.get(part.id, (module, part.id)))


def _is_error(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ErrorCode"


def _reached(start: Place, functions: dict[Place, _Function]) -> set[str]:
    errors: set[str] = set()
    waiting, seen = [start], {start}
    while waiting:
        function = functions.get(waiting.pop())
        if function is None:
            continue
        errors |= function.errors
        waiting += function.used - seen
        seen |= function.used
    return errors
