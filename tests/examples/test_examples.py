"""The three example subnets as a whole: they load, pay by quality, and need only numpy and yumad (AXON 2, R28)."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from yumad.daemon.swarm_example import find_example
from yumad.plugin.load import load_plugin
from yumad.plugin.testing import play

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ("compute", "inference", "storage")

ROUNDS = {"compute": 10, "inference": 40, "storage": 40}
"""Enough for the order to show: a store is trusted step by step, and answers differ much from round to round."""

LATENCY = {"compute": 0.01, "inference": 0.2, "storage": 0.1}
"""Seconds one way: near where speed is paid, and elsewhere such that quotas are kept."""


@pytest.fixture(autouse=True)
def _own_search_path():
    """Loading a plugin puts its folder on the search path; other tests shall not find its modules there."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.mark.parametrize("name", NAMES)
def test_r28_incentive_follows_quality_with_two_validators(name):
    order = find_example(name).order
    plugin, variants = load_plugin(EXAMPLES / name / "plugin.py"), dict.fromkeys(order, 1)
    played = play(plugin, rounds=ROUNDS[name], miners=0, validators=2, variants=variants, latency=LATENCY[name])
    scores = [played.scores[f"{variant}/0"] for variant in order]
    assert played.failed_rounds == 0, played.log
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 1.2 * scores[1] > 0.0
    assert scores[-1] < 0.05 * scores[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_named_variant_is_one_of_the_plugin(name):
    plugin = load_plugin(EXAMPLES / name / "plugin.py")
    assert plugin.roles == ("miner", "validator")
    assert set(find_example(name).order) == set(plugin.subnet.variant_names())


@pytest.mark.parametrize("name", NAMES)
def test_modules_import_only_numpy_trio_and_yumad(name):
    folder = EXAMPLES / name
    own = {path.stem for path in folder.glob("*.py")}
    allowed = {*sys.stdlib_module_names, "numpy", "trio", "yumad", *own}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found = {(node.module or "").partition(".")[0]}
            else:
                continue
            assert found <= allowed, f"{path.name}, line {node.lineno}"


def test_modules_of_different_examples_have_different_names():
    """They are imported by bare names, so that two of a name would be taken for each other in one process."""
    names = [path.stem for name in NAMES for path in (EXAMPLES / name).glob("*.py") if path.stem != "plugin"]
    assert len(names) == len(set(names))
    assert not set(names) & set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", NAMES)
def test_readme_tells_what_is_paid_and_which_cheats_there_are(name):
    text = (EXAMPLES / name / "README.md").read_text("utf-8")
    for heading in ("## What is rewarded", "## How it is measured", "## Cheats, and why they do not pay", "## Limits"):
        assert heading in text
