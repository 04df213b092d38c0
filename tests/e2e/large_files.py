"""A miner that doubles files and a validator that checks it, with files above what a call carries; see
test_large_files.py."""

from dataclasses import dataclass
from hashlib import sha256

from yumad import Call, Ema, Result, Round, Subnet, Task, Validator

subnet = Subnet("doubling", version=1)
SIZE = 20 << 20


@dataclass
class File:
    """Named by its content."""

    blob: bytes


@subnet.method(timeout=60.0)
async def double(request: File, call: Call) -> File:
    """Fetch the caller's file, and offer twice of it."""
    path = await call.fetch_blob(request.blob, call.caller, timeout=30.0)
    content = path.read_bytes()
    path.unlink()
    return File(await call.put_blob(content * 2, to=[call.caller]))


class Doubling(Validator):
    """One file a round; what came back is written down for the test."""

    interval = 2.0
    aggregator = Ema(1.0)

    async def task(self, round: Round) -> Task:
        """A file of 20 MiB, offered to the subnet."""
        content = round.rng.randbytes(1 << 20) * (SIZE >> 20)
        return Task(double, File(await round.put_blob(content)), timeout=50.0, memo=sha256(content * 2).hexdigest())

    async def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        """1 for the doubled file."""
        scores = {}
        for result in results:
            if not result.ok:
                print(result.status, result.text, flush=True)
                continue
            path = await round.fetch_blob(result.reply.blob, result.hotkey, timeout=30.0)
            scores[result.hotkey] = float(sha256(path.read_bytes()).hexdigest() == task.memo)
            path.unlink()
            (round.store / "scored").write_text(f"{result.hotkey} {scores[result.hotkey]}")
        return scores
