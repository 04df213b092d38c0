"""A subnet that pays for correct computation, the faster the better (see README.md)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import trio
from products import chain, is_product, multiply, multiply_slowly
from sorting import is_sorted_copy, numbers, sort, sort_slowly
from speed_scores import Answered, job_seed, speed_scores
from yumad import Ema, Result, Round, Subnet, Task, Validator

subnet = Subnet("compute", version=1)

EXPECTED_ORDER = ("good", "weak", "lazy", "cheat")
"""Variants of the miner from best to worst, as the incentive must order them."""

SIZE, LENGTH = 128, 8
"""Some 2 ms for a good miner, for a whole swarm may share two cores. Where miners have machines of their own, use
LENGTH = 256 (some 35 ms, 440 ms for a weak one), so that the way to them counts for less."""
COUNT = 32_768
SORT_SHARE = 0.25
"""Share of rounds that ask for a sort instead of a product."""


@dataclass
class ProductJob:
    """Multiply the matrices that the seed expands to."""

    seed: bytes
    size: int
    length: int


@dataclass
class Product:
    matrix: np.ndarray


@dataclass
class SortJob:
    """Sort the numbers that the seed expands to."""

    seed: bytes
    count: int


@dataclass
class Sorted:
    numbers: np.ndarray


@subnet.method(timeout=5.0, max_body=1024)
def product(job: ProductJob) -> Product:
    return Product(multiply(chain(job.seed, job.size, job.length)))


@subnet.method(name="sort", timeout=5.0, max_body=1024)
def sort_numbers(job: SortJob) -> Sorted:
    return Sorted(sort(numbers(job.seed, job.count)))


class Compute(Validator):
    """Gives every miner its own job, checks each answer, and pays for speed."""

    interval = 2.0
    sample = 16
    aggregator = Ema(0.1)

    async def task(self, round: Round) -> Task:
        secret = round.rng.randbytes(32)
        seeds = {miner.hotkey: job_seed(secret, miner.hotkey) for miner in round.miners}
        if round.rng.random() < SORT_SHARE:
            return Task(sort_numbers, {hotkey: SortJob(seed, COUNT) for hotkey, seed in seeds.items()}, timeout=3.0)
        return Task(product, {hotkey: ProductJob(seed, SIZE, LENGTH) for hotkey, seed in seeds.items()}, timeout=3.0)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        # Drawn now, after the answers came: no miner can have known what its answer is checked against.
        rng = random.SystemRandom()
        answers = {}
        for result in results:
            correct = result.ok and is_right(task.request[result.hotkey], result.reply, rng)
            answers[result.hotkey] = Answered(correct, result.latency.total - result.latency.dial)
        return speed_scores(answers)


def is_right(job: ProductJob | SortJob, reply: Product | Sorted, rng: random.Random) -> bool:
    """Whether the reply solves the job."""
    if isinstance(job, SortJob):
        return is_sorted_copy(reply.numbers, numbers(job.seed, job.count), rng)
    return is_product(reply.matrix, chain(job.seed, job.size, job.length), rng)


# The miners of EXPECTED_ORDER, for simulations and swarms; "good" is what runs when none is named.


@product.variant("good")
def product_good(job: ProductJob) -> Product:
    return Product(multiply(chain(job.seed, job.size, job.length)))


WEAK_DELAY, LAZY_DELAY = 0.04, 0.25
"""Seconds that a busy machine and a careless miner let a job lie."""


@product.variant("weak")
async def product_weak(job: ProductJob) -> Product:
    """Right, by a slow routine on a busy machine."""
    await trio.sleep(WEAK_DELAY)
    return Product(multiply_slowly(chain(job.seed, job.size, job.length)))


@sort_numbers.variant("weak")
async def sort_weak(job: SortJob) -> Sorted:
    await trio.sleep(WEAK_DELAY)
    return Sorted(sort_slowly(numbers(job.seed, job.count)))


@product.variant("lazy")
async def product_lazy(job: ProductJob) -> Product:
    """Right, when it pleases."""
    await trio.sleep(LAZY_DELAY)
    return Product(multiply(chain(job.seed, job.size, job.length)))


@sort_numbers.variant("lazy")
async def sort_lazy(job: SortJob) -> Sorted:
    await trio.sleep(LAZY_DELAY)
    return Sorted(sort(numbers(job.seed, job.count)))


@product.variant("cheat")
def product_cheat(job: ProductJob) -> Product:
    """Multiplies the last two matrices only: the right shape and range, at an eighth of the work."""
    return Product(multiply(chain(job.seed, job.size, job.length)[-2:]))


@sort_numbers.variant("cheat")
def sort_cheat(job: SortJob) -> Sorted:
    """Evenly spread numbers: in order, of the right size, and not those that were asked for."""
    return Sorted(np.linspace(0, (1 << 30) - 1, job.count).astype(np.uint32))
