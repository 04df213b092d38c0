"""Large content in an author's hands, over hosts in memory (AXON R11)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from yumad import BlobUnavailable, Call, Policy, Result, Round, Subnet, Task, Validator
from yumad.consensus.types import InvalidError
from yumad.plugin.host_client import HostError
from yumad.plugin.load import load_plugin
from yumad.plugin.message import Message
from yumad.plugin.serving import MinerService
from yumad.plugin.testing.swarm import Swarm

subnet = Subnet("files")


@dataclass
class Job:
    blob: bytes
    size: int = 0


@subnet.method(timeout=30.0)
async def count(request: Job, call: Call) -> Job:
    """Counts the bytes of the caller's file, and offers it back twice as long."""
    path = await call.fetch_blob(request.blob, call.caller)
    content = path.read_bytes()
    return Job(await call.put_blob(content * 2, to=[call.caller]), len(content))


@count.variant("forgetful")
async def forget(request: Job, call: Call) -> Job:
    return Job(bytes(32), 0)


@subnet.method(cpu=True, policy=Policy(require_permit=False))
def compute(request: Job, call: Call) -> str:
    try:
        call.put_blob(b"x").send(None)
    except RuntimeError as error:
        return str(error)
    return "it went"


class Counting(Validator):
    async def task(self, round: Round) -> Task:
        file = round.store / "job"
        file.write_bytes(bytes(round.rng.randrange(5_000_000)))
        return Task(count, Job(await round.put_blob(file)), memo=file.stat().st_size)

    async def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        scores = {}
        for result in results:
            assert result.ok, result.text
            try:
                path = await round.fetch_blob(result.reply.blob, result.hotkey)
                scores[result.hotkey] = float(path.stat().st_size == 2 * task.memo and path.parent.name == "blobs")
            except BlobUnavailable:
                scores[result.hotkey] = 0.0
        return scores


@pytest.mark.parametrize("wire", [False, True])
async def test_r11_round_and_call_exchange_files_of_any_size(tmp_path: Path, yumad_clock: object, wire: bool) -> None:
    async with Swarm.of(
        subnet, tmp_path, validator=Counting, miners=2, variants={"forgetful": 1}, wire=wire, latency=0.01
    ) as swarm:
        await swarm.rounds(1)
        node = swarm.validators[0]
        assert node.run is not None and node.run.failed_rounds == 0, node.log
        assert {name: score > 0 for name, score in swarm.scores().items()} == {
            "miner/0": True, "miner/1": True, "forgetful/0": False,
        }  # fmt: skip


async def test_r11_blob_in_memory_is_for_those_it_is_offered_to_and_for_an_hour(
    tmp_path: Path, yumad_clock: trio.testing.MockClock
) -> None:
    async with Swarm.of(subnet, tmp_path, validator=Counting, miners=2) as swarm:
        validator, one, two = swarm.validators[0].host, *[node.host for node in swarm.miners]
        for_one = await validator.blob_put(b"for one", [one.hotkey])
        for_all = await validator.blob_put(b"for all", None)
        assert (await one.blob_get(for_one, validator.hotkey, 100)).read_bytes() == b"for one"
        with pytest.raises(BlobUnavailable):
            await two.blob_get(for_one, validator.hotkey, 100)
        with pytest.raises(BlobUnavailable, match="7 bytes, at most 6"):
            await two.blob_get(for_all, validator.hotkey, 6)
        yumad_clock.jump(3600)
        for blob_hash, hotkey in ((for_all, validator.hotkey), (for_all, one.hotkey), (for_all, "nobody")):
            with pytest.raises(BlobUnavailable):
                await two.blob_get(blob_hash, hotkey, 100)


async def test_r11_what_is_no_content_and_no_hash_is_told_at_once(tmp_path: Path, yumad_clock: object) -> None:
    async with Swarm.of(subnet, tmp_path, validator=Counting, miners=1) as swarm:
        await swarm.rounds(1)
        run = swarm.validators[0].run
        assert run is not None and run.last_round is not None
        round = run.last_round[0]
        wrong: Any
        for wrong in (None, 7, ["x"]):
            with pytest.raises(InvalidError, match="put_blob"):
                await round.put_blob(wrong)
        for wrong in ([], "one hotkey"):
            with pytest.raises(InvalidError, match="to="):
                await round.put_blob(b"x", to=wrong)
        for wrong in ("ab" * 32, bytes(31), None):
            with pytest.raises(InvalidError, match="fetch_blob"):
                await round.fetch_blob(wrong, round.hotkey)
        with pytest.raises((InvalidError, HostError), match="No such file"):
            await round.put_blob(tmp_path / "nothing")
        assert len(await round.put_blob(bytearray(b"x"))) == 32  # type: ignore[arg-type]


async def test_r11_fetch_that_takes_too_long_is_given_up(tmp_path: Path, yumad_clock: object) -> None:
    async with Swarm.of(subnet, tmp_path, validator=Counting, miners=1, latency=2.0) as swarm:
        await swarm.rounds(1)
        run, miner = swarm.validators[0].run, swarm.miners[0].host
        assert run is not None and run.last_round is not None
        blob_hash = await miner.blob_put(b"slow", None)
        with pytest.raises(BlobUnavailable, match="not complete within 3 s"):
            await run.last_round[0].fetch_blob(blob_hash, miner.hotkey, timeout=3.0)


async def test_r11_worker_process_is_told_that_it_cannot_put(tmp_path: Path) -> None:
    plugin = load_plugin(Path(__file__))
    service = MinerService(plugin.subnet, tmp_path)
    call = Call("caller", 1, 0, False, 1, "own", bytes(16), trio.current_time() + 60, tmp_path)
    method = plugin.subnet.methods["compute"]
    body = Message(dict[str, bytes]).encode({"blob": b""})
    try:
        answer = await service._pool.run(Path(__file__), "compute", "compute", body, call)
    finally:
        await service.stop()
    assert "without cpu=True" in method.signature.reply.decode(answer)
