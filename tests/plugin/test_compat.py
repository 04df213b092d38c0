"""A version-10 subnet on our calls, with few lines changed (AXON R41)."""

import difflib
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import typer
import yumad.plugin.compat as bt
from typer.testing import CliRunner
from yumad import Status, Subnet
from yumad.consensus.types import InvalidError
from yumad.daemon.commands.plugin_scan import scan as scan_command
from yumad.plugin.compat.network import current_round
from yumad.plugin.compat.scan import scan
from yumad.plugin.load import Plugin
from yumad.plugin.method import DefinitionError
from yumad.plugin.testing.swarm import Swarm

V10 = Path(__file__).with_name("v10")


class Double(bt.Synapse):
    number: int
    doubled: int | None = None
    tags: list[str] = bt.Field(default_factory=list, description="free")

    def deserialize(self) -> int | None:
        return self.doubled


def changed_lines(before: Path, after: Path) -> int:
    """Lines that differ, a changed line counted once; of a new file all."""
    names = {path.relative_to(root) for root in (before, after) for path in root.rglob("*.py")}
    total = 0
    for name in sorted(names):
        old, new = (
            (root / name).read_text().splitlines() if (root / name).exists() else [] for root in (before, after)
        )
        for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            total += 0 if tag == "equal" else max(b - a, d - c)
    return total


def test_r41_template_subnet_ports_with_at_most_25_changed_lines() -> None:
    assert 0 < changed_lines(V10 / "before", V10 / "after") <= 25


def test_r41_ported_subnet_scores_its_miners(play: Callable[..., Any]) -> None:
    played = play(V10 / "after" / "plugin.py", miners=3, adversaries={"garbage": 1}, rounds=3)
    assert played.failed_rounds == 0, played.log
    assert played.scores["miner/0"] == played.scores["miner/2"] > 0.2
    assert played.scores["garbage/0"] == 0.0


async def test_r41_blacklist_refuses_with_its_reason(tmp_path: Path, yumad_clock: object) -> None:
    async with Swarm.of(V10 / "after" / "plugin.py", tmp_path, miners=2) as swarm:
        method = swarm.miners[0].plugin.subnet.methods["double"]
        request = method.signature.request.type(number=4)
        refused = await swarm.call(method, request, to="miner/0", caller=swarm.node("miner/1"))
        assert (refused.status, refused.text) == (Status.DENIED, "Non-validator hotkey")
        answered = await swarm.call(method, request, to="miner/0")
        assert answered.ok and answered.reply.doubled == 8


async def test_r41_axon_attach_and_dendrite_forward_without_shared_objects(tmp_path: Path, yumad_clock: object) -> None:
    subnet, seen = Subnet("old"), list[str]()

    async def forward(synapse: Double) -> Double:
        synapse.doubled = synapse.number * 2
        return synapse

    def blacklist(synapse: Double) -> tuple[bool, str]:
        seen.append(str(synapse.dendrite.hotkey))
        return False, ""

    bt.axon(subnet=subnet).attach(forward_fn=forward, blacklist_fn=blacklist, priority_fn=lambda s: 1.0).serve().start()
    plugin = Plugin(subnet, None)
    async with Swarm.of(plugin, tmp_path, miners=3) as swarm:
        caller = await swarm.add("validator/0", "validator", plugin, tmp_path)
        swarm.network.hosts.pop(swarm.miners[2].hotkey)
        current_round.set(round_of(swarm, caller))
        axons = [bt.AxonInfo(node.hotkey, node.uid) for node in swarm.miners]
        asked = Double(number=21)
        answers = await bt.dendrite().forward(axons, asked, timeout=3.0, deserialize=False)
        assert [answer.doubled for answer in answers] == [42, 42, None]
        assert [answer.is_success for answer in answers] == [True, True, False]
        assert answers[2].dendrite.status_code == 503
        assert asked.doubled is None and answers[0] is not answers[1]
        assert await bt.dendrite()(axons[0], asked, timeout=3.0) == 42
        assert seen == [caller.hotkey] * 3


def round_of(swarm: Swarm, caller: Any) -> Any:
    from random import Random

    from yumad import Round
    from yumad.plugin.calling import Calls

    calls = Calls(caller.host, caller.hotkey, {}, swarm.network.random_bytes)
    return Round(1, 1, 1, caller.hotkey, [], Random(0), Path("."), [], calls)


def test_synapse_refuses_unknown_fields_and_keeps_defaults_apart() -> None:
    one, two = Double(number=1), Double(number=1)
    one.tags.append("x")
    assert two.tags == []
    with pytest.raises(TypeError, match="colour"):
        Double(number=1, colour="red")
    with pytest.raises(TypeError, match="number"):
        Double()


def test_custom_verification_does_not_port() -> None:
    def forward(synapse: Double) -> Double:
        return synapse

    with pytest.raises(DefinitionError, match="verify_fn"):
        bt.axon().attach(forward_fn=forward, verify_fn=lambda s: None)


def test_r41_scan_lists_what_will_not_port_by_file_and_line() -> None:
    found = [(f.file.name, f.what) for f in scan(V10 / "before")]
    assert ("miner.py", "while True") not in found  # in the main block, which may stay
    assert ("miner.py", "priority") in found
    assert ("forward.py", "time.sleep") in found
    assert ("protocol.py", "import bittensor") in found
    assert ("validator.py", "import template.base.validator") in found
    assert [f for f in scan(V10 / "after") if f.what != "priority"] == []


def test_scan_sees_wallets_streams_and_files_that_do_not_parse(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import bittensor as bt\nw = bt.wallet()\nclass S(bt.StreamingSynapse):\n    pass\n"
        "bt.subtensor().set_weights()\n"
    )
    (tmp_path / "b.py").write_text("def broken(:\n")
    found = {(f.file.name, f.line) for f in scan(tmp_path)}
    assert {("a.py", 1), ("a.py", 2), ("a.py", 3), ("a.py", 5), ("b.py", 1)} <= found
    assert all(f.remedy for f in scan(tmp_path))
    with pytest.raises(InvalidError, match="no Python files"):
        scan(tmp_path / "nothing")


def test_compat_needs_no_event_loop_and_no_sdk() -> None:
    assert importlib.import_module("yumad.plugin.compat") is bt
    assert "bittensor" not in sys.modules and trio is not None


def test_r41_scan_command_prints_places_and_json(repository_root: Path) -> None:
    app = typer.Typer()
    app.command()(scan_command)
    shown = CliRunner().invoke(app, [str(V10 / "before")])
    assert shown.exit_code == 0 and "time.sleep" in shown.output
    document = json.loads(CliRunner().invoke(app, [str(V10 / "before"), "--json"]).stdout)
    assert {"file", "line", "what", "remedy"} == set(document["findings"][0])
