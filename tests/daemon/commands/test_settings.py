"""`yumad version` and `yumad config show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from yumad.daemon.main import build_app

RUN = CliRunner()


def test_version_names_program_rules_and_libraries() -> None:
    said = json.loads(RUN.invoke(build_app(), ["version", "--json"]).stdout)
    assert said["rules"] == "1"
    assert said["libp2p"] == "0.8.1"


def test_config_show_tells_where_each_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("max_peers = 12\n")
    monkeypatch.setenv("YUMAD_LOG_LEVEL", "debug")
    result = RUN.invoke(build_app(), ["config", "show", "--home", str(tmp_path), "--origin", "--json"])
    said = json.loads(result.stdout)
    assert said["max_peers"] == {"value": 12, "origin": "config.toml"}
    assert said["log_level"] == {"value": "debug", "origin": "environment"}
    assert said["archive"] == {"value": False, "origin": "default"}


def test_config_show_with_an_unknown_setting_suggests_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("max_peer = 12\n")
    result = RUN.invoke(build_app(), ["config", "show", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "did you mean 'max_peers'?" in result.stderr


def test_r33_r35_config_show_tells_how_this_peer_can_be_reached_and_where_that_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("relay_only = true\n")
    monkeypatch.setenv("YUMAD_PROBE", "false")
    result = RUN.invoke(build_app(), ["config", "show", "--home", str(tmp_path), "--origin", "--json"])
    said = json.loads(result.stdout)
    assert said["relay_only"] == {"value": True, "origin": "config.toml"}
    assert said["probe"] == {"value": False, "origin": "environment"}
    assert said["relay"] == {"value": True, "origin": "default"}
