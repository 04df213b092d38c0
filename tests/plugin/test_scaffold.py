"""`yumad plugin new`: small, and green at once (AXON R36)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from yumad.plugin.method import DefinitionError
from yumad.plugin.scaffold import scaffold


def test_r36_scaffold_is_at_most_80_lines_and_its_tests_are_green_offline_in_ten_seconds(tmp_path: Path) -> None:
    files = scaffold(tmp_path / "squares", "squares")
    assert sum(len(file.read_text().splitlines()) for file in files) <= 80
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "squares")]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert time.monotonic() - began < 10.0


def test_scaffold_never_overwrites_a_file(tmp_path: Path) -> None:
    scaffold(tmp_path, "squares")
    with pytest.raises(DefinitionError, match="exists"):
        scaffold(tmp_path, "squares")


def test_scaffold_of_a_bad_name_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        scaffold(tmp_path, "My Subnet")
    assert "a-z" in caught.value.remedy
