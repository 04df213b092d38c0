"""The author's guide is true: its examples run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from yumad.plugin.load import load_plugin
from yumad.plugin.testing.adversaries import ADVERSARIES


def blocks(repository_root: Path) -> list[str]:
    text = (repository_root / "docs" / "plugins.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_guide_s_plugins_load_and_the_first_is_25_lines_of_code(repository_root: Path, tmp_path: Path) -> None:
    plugins = [block for block in blocks(repository_root) if "Subnet(" in block]
    assert len(plugins) == 4
    assert len([line for line in plugins[0].splitlines() if line.strip()]) <= 25
    roles = []
    for number, block in enumerate(plugins):
        file = tmp_path / f"plugin{number}.py"
        file.write_text(block)
        roles.append(load_plugin(file).roles)
    assert roles == [("miner", "validator"), ("miner",), ("miner",), ("miner", "validator")]


def test_guide_s_play_example_passes(repository_root: Path, tmp_path: Path) -> None:
    found = blocks(repository_root)
    (tmp_path / "sum.py").write_text(next(block for block in found if 'Subnet("sum")' in block))
    script = next(block for block in found if "play(" in block)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ADVERSARIES)
def test_guide_names_every_adversary(name: str, repository_root: Path) -> None:
    assert f"| {name} |" in (repository_root / "docs" / "plugins.md").read_text()
