"""Configuration: flag > environment (`YUMAD_…`) > `config.toml` > default, each value with its origin (DESIGN 5)."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ..consensus.types import YumadError

DEFAULT_PORT: Final = 30444
"""Listening TCP port of a peer; near the field's 30333 without colliding with a node of the original network."""

DEFAULT_HOME: Final = "~/.yumad"
DEFAULT_WALLETS: Final = "~/.bittensor/wallets"


class ConfigError(YumadError):
    """A setting that cannot be used; names the setting, its value and where it came from."""

    code = "config"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator may set."""

    listen: tuple[str, ...] = (f"/ip4/0.0.0.0/tcp/{DEFAULT_PORT}",)
    """Multiaddresses to listen on."""
    announce: tuple[str, ...] = ()
    """Multiaddresses told to others instead of the listening ones."""
    bootstrap: tuple[str, ...] = ()
    """Peers dialled at start: `<multiaddr>#<genesis-hash>`."""
    hotkey: str = ""
    """Key that signs an authority's heartbeats: `dev:NAME`, or `WALLET/HOTKEY` in the wallet folder."""
    wallets: str = DEFAULT_WALLETS
    log_level: str = "info"
    log_format: str = "auto"
    """`human`, `json`, or `auto`: human on a terminal."""
    metrics: str = ""
    """`host:port` of the Prometheus endpoint; empty for none."""
    max_peers: int = 64
    relay_only: bool = False
    """True shows no address of this peer to anybody: others reach it through relays."""
    relay: bool = True
    """Relay for peers that others cannot reach. A `relay_only` peer never does: its address would be shown with it."""
    probe: bool = True
    """Measure whether and how fast the miners answer in the subnets where a key of this peer has a permit."""
    private: bool = False
    """True for a swarm on one host or a closed network: no limits per address."""
    archive: bool = False
    """True keeps every block body."""
    check_invariants: bool = False
    """True checks after every block that the whole ledger adds up, and stops when it does not: for debugging."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value came from: `flag`, `environment`, `config.toml` or `default`."""


_LEVELS: Final = ("debug", "info", "warning", "error")
_FORMATS: Final = ("auto", "human", "json")


def _settings() -> dict[str, Any]:
    return {f.name: f.default for f in fields(Config) if f.name != "origins"}


def load_config(home: Path, flags: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Config:
    """The configuration of a home. A flag whose value is None was not given. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    defaults = _settings()
    values: dict[str, Any] = dict(defaults)
    origins = dict.fromkeys(defaults, "default")
    for name, value in _read_file(home / "config.toml", defaults).items():
        values[name], origins[name] = value, "config.toml"
    for name, default in defaults.items():
        text = environment.get(f"YUMAD_{name.upper()}")
        if text is not None:
            values[name], origins[name] = _from_text(name, text, default), "environment"
    for name, value in flags.items():
        if value is not None and value != ():
            values[name], origins[name] = _checked(name, value, defaults[name], "flag"), "flag"
    for name, allowed in (("log_level", _LEVELS), ("log_format", _FORMATS)):
        if values[name] not in allowed:
            raise ConfigError(
                f"{name} is {values[name]!r} (from {origins[name]})", remedy=f"use one of {', '.join(allowed)}"
            )
    if values["max_peers"] < 1:
        raise ConfigError(f"max_peers is {values['max_peers']} (from {origins['max_peers']})", remedy="use at least 1")
    return Config(**values, origins=origins)


def _read_file(path: Path, defaults: Mapping[str, Any]) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", remedy="check its permissions and encoding") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}", remedy="mend the line named, or delete the file") from error
    for name in document:
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, 1)
            raise ConfigError(
                f"{path}: unknown setting {name!r}",
                remedy=f"did you mean {near[0]!r}?" if near else f"known settings: {', '.join(defaults)}",
            )
    return {name: _checked(name, value, defaults[name], str(path)) for name, value in document.items()}


def _checked(name: str, value: Any, default: Any, origin: str) -> Any:
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        expected = "a list of strings"
    elif isinstance(default, bool):
        if isinstance(value, bool):
            return value
        expected = "true or false"
    elif type(value) is type(default):
        return value
    else:
        expected = "a whole number" if isinstance(default, int) else "a string"
    raise ConfigError(f"{name} is {value!r} (from {origin})", remedy=f"expected {expected}")


def _from_text(name: str, text: str, default: Any) -> Any:
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, bool):
        if text.lower() in ("1", "true", "yes", "0", "false", "no"):
            return text.lower() in ("1", "true", "yes")
        raise ConfigError(f"{name} is {text!r} (from environment)", remedy="expected true or false")
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{name} is {text!r} (from environment)", remedy="expected a whole number") from None
    return text


def settings_of(config: Config) -> dict[str, Any]:
    """Every setting by name, as plain JSON values."""
    values = {name: getattr(config, name) for name in _settings()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def config_text(config: Config) -> str:
    """`config.toml` with every setting that is not at its default; what `yumad init` and `join` write."""
    lines = ["# yumad settings; flags and YUMAD_… environment variables override them"]
    for name, default in _settings().items():
        value = getattr(config, name)
        if value == default:
            continue
        if isinstance(value, tuple):
            lines.append(f"{name} = [{', '.join(_quoted(item) for item in value)}]")
        elif isinstance(value, bool):
            lines.append(f"{name} = {str(value).lower()}")
        else:
            lines.append(f"{name} = {value if isinstance(value, int) else _quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
