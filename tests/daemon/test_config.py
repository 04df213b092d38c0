"""Settings: precedence, origins, and errors that name setting, value and source (DESIGN 5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from yumad.daemon.config import Config, ConfigError, config_text, load_config


def test_flag_wins_over_environment_over_file_over_default_and_each_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('max_peers = 10\nlog_level = "debug"\nmetrics = "1"\narchive = true\n')
    environment = {"YUMAD_MAX_PEERS": "20", "YUMAD_LOG_LEVEL": "warning", "YUMAD_UNRELATED": "x"}
    config = load_config(tmp_path, {"max_peers": 30, "log_level": None, "bootstrap": ()}, environment)
    assert (config.max_peers, config.log_level, config.metrics, config.private) == (30, "warning", "1", False)
    assert {name: config.origins[name] for name in ("max_peers", "log_level", "metrics", "private")} == {
        "max_peers": "flag",
        "log_level": "environment",
        "metrics": "config.toml",
        "private": "default",
    }


def test_home_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    config = load_config(tmp_path, {}, {})
    assert config.listen == Config().listen and set(config.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("file", "environment", "flags", "text"),
    [
        ("max_pears = 3", {}, {}, "max_peers"),
        ("nonsense = 3", {}, {}, "known settings"),
        ("max_peers = ", {}, {}, "not TOML"),
        ('max_peers = "3"', {}, {}, "a whole number"),
        ("max_peers = true", {}, {}, "a whole number"),
        ("max_peers = 0", {}, {}, "at least 1"),
        ("private = 1", {}, {}, "true or false"),
        ('listen = "one"', {}, {}, "a list of strings"),
        ('log_level = "loud"', {}, {}, "debug, info"),
        ("", {"YUMAD_MAX_PEERS": "many"}, {}, "from environment"),
        ("", {"YUMAD_PRIVATE": "perhaps"}, {}, "true or false"),
        ("", {"YUMAD_LOG_FORMAT": "xml"}, {}, "human"),
        ("", {}, {"max_peers": "3"}, "from flag"),
    ],
)
def test_setting_that_cannot_be_used_names_value_source_and_form(
    tmp_path: Path, file: str, environment: dict[str, str], flags: dict[str, Any], text: str
) -> None:
    (tmp_path / "config.toml").write_text(file)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path, flags, environment)
    assert text in f"{caught.value.message} | {caught.value.remedy}"
    assert caught.value.remedy


def test_file_that_is_no_text_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        load_config(tmp_path, {}, {})


def test_lists_in_the_environment_are_separated_by_commas(tmp_path: Path) -> None:
    config = load_config(tmp_path, {}, {"YUMAD_LISTEN": "/ip4/1.2.3.4/tcp/5, /ip6/::/tcp/6,"})
    assert config.listen == ("/ip4/1.2.3.4/tcp/5", "/ip6/::/tcp/6")


def test_written_settings_are_read_back(tmp_path: Path) -> None:
    config = Config(listen=("/dns4/a/tcp/1",), max_peers=7, private=True, metrics='quo"te\\', bootstrap=("x#1", "y#2"))
    (tmp_path / "config.toml").write_text(config_text(config))
    again = load_config(tmp_path, {}, {})
    assert all(getattr(again, name) == getattr(config, name) for name in Config.__slots__ if name != "origins")
