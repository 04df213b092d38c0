"""What of a version-10 subnet will not port by itself (AXON R41): `yumad plugin scan FOLDER`. Reads code, runs none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...consensus.types import InvalidError

MAX_FILES: Final = 2000
MAX_BYTES: Final = 4 << 20

_SDK: Final = "bittensor"

_MODULES: Final = {
    "substrateinterface": "the chain is read by the peer: use yumad's own reads",
    "async_substrate_interface": "the chain is read by the peer: use yumad's own reads",
    "wandb": "works, if it is installed; the peer has metrics of its own",
    "fastapi": "requests come through methods; a page of your own may stay",
    "uvicorn": "the peer serves; nothing listens here",
    "aiohttp": "call miners by dendrite or round.call, not by HTTP",
    "requests": "call miners by dendrite or round.call, not by HTTP; it blocks the validator",
}

_ATTRIBUTES: Final = {
    "subtensor": "drop it: the peer follows the chain (metagraph, round.block)",
    "wallet": "drop it: plugins see no keys; the peer signs",
    "set_weights": "drop it: the peer sets weights from the scores",
    "serve_axon": "drop it: the peer makes the miner known",
    "serve_prometheus": "drop it: the peer has metrics",
    "get_external_ip": "drop it: addresses are the peer's business",
    "StreamingSynapse": "write a method that yields messages",
    "query": "use `await dendrite.forward(…)`",
    "add_args": "drop it: settings are class attributes, or a file of your own",
    "is_hotkey_registered": "drop it: policies refuse callers that are not registered",
    "verify_fn": "drop it: signatures are always verified",
}

_CALLS: Final = {
    "time.sleep": "use `await trio.sleep(…)`: it holds up everything else",
    "asyncio.run": "the peer runs the loop; write `async def` and await",
    "asyncio.sleep": "use `trio.sleep`: there is no asyncio loop",
    "asyncio.gather": "use one `dendrite.forward` with many axons, or a trio nursery",
    "asyncio.get_event_loop": "there is no asyncio loop",
    "asyncio.create_task": "use a trio nursery",
    "threading.Thread": "rounds and calls run in the peer's loop; use trio.to_thread",
    "os.environ": "works, but the peer gives a plugin a clean environment",
    "argparse.ArgumentParser": "drop it: a plugin has no command line",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that needs a hand."""

    file: Path
    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}: {self.remedy}"


def scan(folder: Path) -> list[Finding]:
    """Every place in the Python files of a folder, by file and line. Raises InvalidError for a folder without any."""
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder] if folder.suffix == ".py" else []
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]
    if not files:
        raise InvalidError(f"there are no Python files in {folder}", remedy="give the subnet's folder")
    if len(files) > MAX_FILES:
        raise InvalidError(f"{folder} has {len(files)} Python files", remedy="give the folder of the subnet alone")
    return [finding for file in files for finding in scan_file(file)]


def scan_file(file: Path) -> list[Finding]:
    """Those of one file, by line."""
    try:
        data = file.read_bytes()
        if len(data) > MAX_BYTES:
            return [Finding(file, 1, "larger than 4 MiB", "not read")]
        tree = ast.parse(data, str(file))
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        return [Finding(file, getattr(error, "lineno", None) or 1, "cannot be read", str(error))]
    found = {(line, what): Finding(file, line, what, remedy) for line, what, remedy in _findings(tree)}
    return [found[key] for key in sorted(found)]


def _findings(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    sdk = _names_of_the_sdk(tree)
    for node in _walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _import(node)
        elif isinstance(node, ast.Attribute):
            dotted = _dotted(node)
            if dotted in _CALLS:
                yield node.lineno, dotted, _CALLS[dotted]
            elif node.attr in _ATTRIBUTES and (dotted.split(".")[0] in {*sdk, "self"} or node.attr == "set_weights"):
                yield node.lineno, dotted or node.attr, _ATTRIBUTES[node.attr]
        elif isinstance(node, ast.keyword) and node.arg in ("verify_fn",):
            yield node.value.lineno, node.arg, _ATTRIBUTES[node.arg]
        elif isinstance(node, ast.ClassDef):
            yield from _class(node)
        elif isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            yield node.lineno, "while True", "the peer calls the plugin: drop the loop, keep its body"


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All of it but `if __name__ == "__main__"`, which may stay: nobody runs it here."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "__name__" in {n.id for n in ast.walk(child.test) if isinstance(n, ast.Name)}:
            continue
        yield child
        yield from _walk(child)


def _names_of_the_sdk(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] == _SDK
    }


def _import(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str, str]]:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    for name in names:
        top = name.split(".")[0]
        if top == _SDK:
            yield node.lineno, f"import {name}", "import yumad.plugin.compat as bt"
        elif top in _MODULES:
            yield node.lineno, f"import {name}", _MODULES[top]
        elif ".base." in f".{name}." and top == "template":
            yield node.lineno, f"import {name}", "import BaseMinerNeuron, BaseValidatorNeuron from yumad.plugin.compat"


def _class(node: ast.ClassDef) -> Iterator[tuple[int, str, str]]:
    bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
    if "StreamingSynapse" in bases:
        yield node.lineno, f"class {node.name}(StreamingSynapse)", _ATTRIBUTES["StreamingSynapse"]
    if "BaseMinerNeuron" in bases:
        for member in node.body:
            if isinstance(member, ast.AsyncFunctionDef | ast.FunctionDef) and member.name == "priority":
                yield member.lineno, "priority", "it may stay, and is not called: the peer's queue goes by stake"


def _dotted(node: ast.Attribute) -> str:
    parts, at = [node.attr], node.value
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    return ".".join([at.id, *reversed(parts)]) if isinstance(at, ast.Name) else ""
