"""What a plugin was started with, kept in `<home>/plugins/<name>/plugin.toml` so that it comes back with the peer."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from ...consensus.types import YumadError

FILE_NAME: Final = "plugin.toml"

ROLES: Final = {"miner": ("miner",), "validator": ("validator",), "both": ("miner", "validator")}
"""Words of `--role`, and the roles that are run."""

DEFAULT_START_SECONDS: Final = 60
"""Until a plugin must be ready: loading a model takes its time."""

DEFAULT_WALLETS: Final = "~/.bittensor/wallets"

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class PluginSettingsError(YumadError):
    """Settings that cannot be used; names the value and what was expected."""

    code = "plugin_settings"


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """One plugin's settings."""

    file: str
    """Absolute path of the author's file."""
    netuid: int
    role: str
    """A key of ROLES."""
    hotkey: str
    """`dev:NAME`, or `WALLET/HOTKEY` in `wallets`."""
    wallets: str = DEFAULT_WALLETS
    variant: str = ""
    """Another way of answering that the file names, such as a bad miner for a test swarm; empty for the honest one."""
    sealed: bool = False
    """Where its methods are served is told to permit holders of the subnet only (AXON R33)."""
    arguments: tuple[str, ...] = ()
    """Handed to the author's file, as `sys.argv`."""
    environment: tuple[str, ...] = ()
    """Names of variables of the peer's environment that the plugin may see."""
    memory_mib: int = 0
    """Most address space of the process; 0 for no limit."""
    start_seconds: int = DEFAULT_START_SECONDS
    enabled: bool = True
    """Whether it runs when the peer runs."""


def check_name(name: str) -> str:
    """`name`. Raises PluginSettingsError for what cannot name a folder."""
    if not _NAME.fullmatch(name):
        raise PluginSettingsError(
            f"{name[:60]!r} is no name for a plugin",
            remedy="use small letters, digits, '-' and '_', at most 32, with --name",
        )
    return name


def check_settings(settings: PluginSettings) -> PluginSettings:
    """`settings`. Raises PluginSettingsError for a value that cannot be used."""
    problem = ""
    if not os.path.isabs(settings.file) or "\0" in settings.file:
        problem = f"file {settings.file!r} is not an absolute path"
    elif not 0 <= settings.netuid <= 0xFFFF:
        problem = f"netuid {settings.netuid} is not from 0 to 65535"
    elif settings.role not in ROLES:
        problem = f"role {settings.role!r} is not one of {', '.join(ROLES)}"
    elif not 0 <= settings.memory_mib <= 1 << 24:
        problem = f"memory_mib {settings.memory_mib} is not from 0 to {1 << 24}"
    elif not 1 <= settings.start_seconds <= 3600:
        problem = f"start_seconds {settings.start_seconds} is not from 1 to 3600"
    elif any(name.startswith("YUMAD_") for name in settings.environment):
        problem = "environment names a YUMAD_ variable: a plugin does not see the peer's own settings"
    if problem:
        raise PluginSettingsError(problem, remedy="see `yumad plugin run --help`")
    return settings


def check_file(settings: PluginSettings) -> None:
    """Raises PluginSettingsError when the author's file is not there."""
    path = Path(settings.file)
    try:
        is_file = path.is_file()
    except OSError:  # a name that is too long, a folder that may not be looked into
        is_file = False
    if not is_file or path.suffix != ".py":
        raise PluginSettingsError(
            f"{path} is no Python file", remedy="name the file that has the Subnet, such as miner.py"
        )


def settings_text(settings: PluginSettings) -> str:
    """The file's content; every setting, so that it can be read and changed by hand while the plugin is stopped."""
    lines = ["# Settings of one plugin; `yumad plugin run` writes them."]
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, tuple):
            text = f"[{', '.join(_quoted(item) for item in value)}]"
        elif isinstance(value, bool):
            text = str(value).lower()
        else:
            text = str(value) if isinstance(value, int) else _quoted(value)
        lines.append(f"{field.name} = {text}")
    return "\n".join(lines) + "\n"


def write_settings(folder: Path, settings: PluginSettings) -> None:
    """Whole or not at all. Raises PluginSettingsError when the disk refuses."""
    fresh = folder / f".{FILE_NAME}.new"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(settings_text(settings))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / FILE_NAME)
    except OSError as error:
        raise PluginSettingsError(
            f"{folder / FILE_NAME} cannot be written: {error.strerror or error}",
            remedy="check permissions and free space of the home",
        ) from error


def read_settings(folder: Path) -> PluginSettings:
    """Inverse of `write_settings`. Raises PluginSettingsError for a file that is missing, damaged or has bad values."""
    path = folder / FILE_NAME
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PluginSettingsError(f"{path} cannot be read: {error}", remedy="start the plugin anew") from error
    except tomllib.TOMLDecodeError as error:
        raise PluginSettingsError(f"{path} is not TOML: {error}", remedy="mend the line named") from error
    except RecursionError as error:
        raise PluginSettingsError(f"{path} is nested too deeply", remedy="start the plugin anew") from error
    known = {field.name: field for field in fields(PluginSettings)}
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise PluginSettingsError(
                f"{path}: unknown setting {name!r}",
                remedy=f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(known)}",
            )
        values[name] = _checked(path, name, value, str(known[name].type))
    missing = [name for name in ("file", "netuid", "role", "hotkey") if name not in values]
    if missing:
        raise PluginSettingsError(f"{path}: {', '.join(missing)} is missing", remedy="start the plugin anew")
    return check_settings(PluginSettings(**values))


def any_sealed(plugins: Path) -> bool:
    """Whether a plugin under the home's `plugins`, enabled or not, is sealed; damaged settings do not say."""
    for file in plugins.glob(f"*/{FILE_NAME}"):
        try:
            if read_settings(file.parent).sealed:
                return True
        except PluginSettingsError:
            continue
    return False


def _checked(path: Path, name: str, value: Any, kind: str) -> Any:
    if kind.startswith("tuple"):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif type(value).__name__ == kind:
        return value
    raise PluginSettingsError(
        f"{path}: {name} is {value!r}", remedy=f"expected {'a list of strings' if kind.startswith('tuple') else kind}"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'
