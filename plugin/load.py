"""From a file to a plugin: a module with one `Subnet`, and a `Validator` where it has one.

Loading runs the author's code. Modules beside the file can be imported by their own names, as when the file is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from .method import DefinitionError
from .subnet import Subnet
from .validator import Validator

ROLES: Final = ("miner", "validator")

_loaded: Final[dict[Path, tuple[int, Plugin]]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Plugin:
    """What a file offers."""

    subnet: Subnet
    validator: type[Validator] | None
    file: Path | None = None
    """None for one put together in a test."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles it can be run in."""
        having = {"miner": bool(self.subnet.methods), "validator": self.validator is not None}
        return tuple(role for role in ROLES if having[role])


def load_plugin(file: Path, *, anew: bool = False) -> Plugin:
    """The plugin of a file, loaded once unless it changed. Raises DefinitionError.

    With `anew` the file and the modules beside it are run once more, and share nothing with an earlier load: each
    neuron of a simulation then has module variables of its own.
    """
    file = file.absolute()
    try:
        stamp = file.stat().st_mtime_ns
    except OSError as error:
        raise DefinitionError(f"plugin {file} cannot be read: {error.strerror}", remedy="give a .py file") from None
    if not anew and file in _loaded and _loaded[file][0] == stamp:
        return _loaded[file][1]
    beside = _take_beside(file.parent) if anew else {}
    try:
        plugin = plugin_of(_execute(file), file)
    finally:
        if anew:
            _take_beside(file.parent)
            sys.modules.update(beside)
    if not anew:
        _loaded[file] = (stamp, plugin)
    return plugin


def plugin_of(module: ModuleType, file: Path | None = None) -> Plugin:
    """The plugin in a module. Raises DefinitionError when it has not exactly one Subnet, or several validators."""
    where = str(file or module.__name__)
    subnets = {id(value): value for value in vars(module).values() if isinstance(value, Subnet)}
    if len(subnets) != 1:
        raise DefinitionError(
            f"{where} has {len(subnets) or 'no'} Subnet at module level", remedy='write one: subnet = Subnet("name")'
        )
    validators = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Validator) and not value.abstract()
    }
    validators -= {base for one in validators for base in one.__mro__[1:]}  # a base class is no second validator
    if len(validators) > 1:
        names = ", ".join(sorted(one.__name__ for one in validators))
        raise DefinitionError(f"{where} has several validators: {names}", remedy="leave one in this file")
    plugin = Plugin(next(iter(subnets.values())), next(iter(validators), None), file)
    if not plugin.roles:
        raise DefinitionError(
            f"{where} has neither methods nor a Validator", remedy="decorate a function with @subnet.method"
        )
    return plugin


def _execute(file: Path) -> ModuleType:
    name = f"{file.stem}_{hashlib.blake2b(str(file).encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or file.suffix != ".py":
        raise DefinitionError(f"{file} is no Python file", remedy="give a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except DefinitionError:
        raise
    except Exception as error:
        line = _line_of(error, file)
        raise DefinitionError(
            f"{file.name}{line}: {type(error).__name__}: {error}", remedy="mend the file; it must import on its own"
        ) from error
    return module


def _line_of(error: Exception, file: Path) -> str:
    """`, line N` of the deepest frame inside the file."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            found = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _take_beside(folder: Path) -> dict[str, ModuleType]:
    """Modules that were imported from the plugin's folder, taken out of the import system.

    Packages without a file go with their modules. Their paths are not asked for: a namespace works its path out anew,
    from a search path that names this folder and a parent that may be gone.
    """

    def beside(name: str, module: ModuleType) -> bool:
        origin, top = getattr(module, "__file__", None), f"{folder}/{name.partition('.')[0]}"
        return isinstance(origin, str) and (origin == f"{top}.py" or origin.startswith(f"{top}/"))

    found = {name for name, module in list(sys.modules.items()) if beside(name, module)}
    for name in list(found):
        parts = name.split(".")
        found |= {parent for end in range(1, len(parts)) if (parent := ".".join(parts[:end])) in sys.modules}
    return {name: sys.modules.pop(name) for name in found}
