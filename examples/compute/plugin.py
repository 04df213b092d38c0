"""A subnet that pays for correct computation, the faster the better (see README.md)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import trio
from products import chain, is_product, multiply, multiply_slowly
from sorting import is_sorted_copy, numbers, sort, sort_slowly
from speed_scores import Answered, job_seed, speed_scores
from yumad import Call, Ema, Result, Round, Subnet, Task, Validator

subnet = Subnet("compute", version=1)

EXPECTED_ORDER = ("good", "weak", "lazy", "cheat")
"""Variants of the miner from best to worst, as the incentive must order them."""

SIZE, LENGTH = 64, 64
"""Some 3 ms for a good miner, 10 ms for a weak one: a whole swarm may share two cores. Where miners have machines of
their own, use LENGTH = 1024 (some 90 ms and 390 ms), so that the way to them counts for less. Products of this size
are left to one core by the usual libraries, which also makes miners comparable."""
COUNT = 32_768
SORT_SHARE = 0.25
"""Share of rounds that ask for a sort instead of a product."""


SALT_BYTES = 32


@dataclass
class ProductJob:
    """Multiply the matrices that the miner's seed expands to."""

    salt: bytes
    size: int
    length: int


@dataclass
class Product:
    matrix: np.ndarray


@dataclass
class SortJob:
    """Sort the numbers that the miner's seed expands to."""

    salt: bytes
    count: int


@dataclass
class Sorted:
    numbers: np.ndarray


def matrices_for(job: ProductJob, call: Call) -> np.ndarray:
    """What this miner must multiply for this caller."""
    return chain(job_seed(job.salt, call.caller, call.hotkey), job.size, job.length)


def numbers_for(job: SortJob, call: Call) -> np.ndarray:
    """What this miner must sort for this caller."""
    return numbers(job_seed(job.salt, call.caller, call.hotkey), job.count)


@subnet.method(timeout=5.0, max_body=1024)
def product(job: ProductJob, call: Call) -> Product:
    return Product(multiply(matrices_for(job, call)))


@subnet.method(name="sort", timeout=5.0, max_body=1024)
def sort_numbers(job: SortJob, call: Call) -> Sorted:
    return Sorted(sort(numbers_for(job, call)))


class Compute(Validator):
    """Gives every miner its own job, checks each answer, and pays for speed."""

    interval = 2.0
    sample = 16
    aggregator = Ema(0.1)

    async def task(self, round: Round) -> Task:
        # Hashed: what miners see must tell nothing of the generator, and so of jobs to come.
        salt = blake2b(round.rng.randbytes(32), digest_size=SALT_BYTES).digest()
        if round.rng.random() < SORT_SHARE:
            return Task(sort_numbers, SortJob(salt, COUNT), timeout=3.0)
        return Task(product, ProductJob(salt, SIZE, LENGTH), timeout=3.0)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        # Drawn now, after the answers came: no miner can have known what its answer is checked against.
        rng = random.SystemRandom()
        answers = {}
        for result in results:
            seed = job_seed(task.request.salt, round.hotkey, result.hotkey)
            correct = result.ok and is_right(task.request, seed, result.reply, rng)
            answers[result.hotkey] = Answered(correct, result.latency.total - result.latency.dial)
        return speed_scores(answers)


def is_right(job: ProductJob | SortJob, seed: bytes, reply: Product | Sorted, rng: random.Random) -> bool:
    """Whether the reply solves the job of this seed."""
    if isinstance(job, SortJob):
        return isinstance(reply, Sorted) and is_sorted_copy(reply.numbers, numbers(seed, job.count), rng)
    return isinstance(reply, Product) and is_product(reply.matrix, chain(seed, job.size, job.length), rng)


# The miners of EXPECTED_ORDER, for simulations and swarms; "good" is what runs when none is named.


@product.variant("good")
def product_good(job: ProductJob, call: Call) -> Product:
    return Product(multiply(matrices_for(job, call)))


WEAK_DELAY, LAZY_DELAY = 0.04, 0.25
"""Seconds that a busy machine and a careless miner let a job lie."""


@product.variant("weak")
async def product_weak(job: ProductJob, call: Call) -> Product:
    """Right, by a slow routine on a busy machine."""
    await trio.sleep(WEAK_DELAY)
    return Product(multiply_slowly(matrices_for(job, call)))


@sort_numbers.variant("weak")
async def sort_weak(job: SortJob, call: Call) -> Sorted:
    await trio.sleep(WEAK_DELAY)
    return Sorted(sort_slowly(numbers_for(job, call)))


@product.variant("lazy")
async def product_lazy(job: ProductJob, call: Call) -> Product:
    """Right, when it pleases."""
    await trio.sleep(LAZY_DELAY)
    return Product(multiply(matrices_for(job, call)))


@sort_numbers.variant("lazy")
async def sort_lazy(job: SortJob, call: Call) -> Sorted:
    await trio.sleep(LAZY_DELAY)
    return Sorted(sort(numbers_for(job, call)))


@product.variant("cheat")
def product_cheat(job: ProductJob, call: Call) -> Product:
    """Multiplies the last two matrices only: the right shape and range, for little work."""
    return Product(multiply(matrices_for(job, call)[-2:]))


@sort_numbers.variant("cheat")
def sort_cheat(job: SortJob, call: Call) -> Sorted:
    """Evenly spread numbers: in order, of the right size, and not those that were asked for."""
    return Sorted(np.linspace(0, (1 << 30) - 1, job.count).astype(np.uint32))
