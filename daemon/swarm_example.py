"""A swarm whose subnet is alive: an example's plugins as miners of known quality and validators, spread over the peers.

What an example is: a folder `examples/<name>/` with a `plugin.py` that names its variants from best to worst in
`EXPECTED_ORDER`, so that a swarm can tell whether incentive follows quality.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.types import YumadError
from .swarm import SwarmPeer
from .swarm_spec import PLAYED_VALIDATORS, SUBNET

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"

EXAMPLE_SLOT: Final = 1.0
"""Seconds: an epoch of ten blocks every ten seconds, so that weights are committed, revealed, paid within a minute."""


class ExampleError(YumadError):
    """There is no such example, or its file cannot be used."""

    code = "example"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One plugin of the cast."""

    uid: int
    role: str
    variant: str
    """The miner's quality; empty for a validator."""

    @property
    def name(self) -> str:
        """Name of the plugin in its peer's home."""
        return f"validator-{self.uid}" if self.role == "validator" else f"miner-{self.uid}-{self.variant}"

    @property
    def hotkey(self) -> str:
        """Reference to its development key."""
        return f"dev:sn{SUBNET}/{self.uid}"


@dataclass(frozen=True, slots=True)
class Example:
    """One of the shipped subnets."""

    name: str
    file: Path
    order: tuple[str, ...]
    """Variants from best to worst."""
    keeps_files: bool = False
    """Whether it stores files, which must then survive the end of one of its miners."""

    @property
    def miners(self) -> int:
        """Two of the best, so that honest miners share, and one of each other variant."""
        return len(self.order) + 1

    def cast(self) -> list[Part]:
        """Who plays on which uid."""
        validators = [Part(uid, "validator", "") for uid in range(PLAYED_VALIDATORS)]
        variants = (self.order[0], *self.order)
        return validators + [Part(PLAYED_VALIDATORS + at, "miner", variant) for at, variant in enumerate(variants)]


def example_names(folder: Path = EXAMPLES) -> list[str]:
    """The examples there are."""
    return sorted(path.parent.name for path in folder.glob("*/plugin.py"))


def find_example(name: str, folder: Path = EXAMPLES) -> Example:
    """The example of that name. Raises ExampleError."""
    names = example_names(folder)
    if name not in names:
        known = ", ".join(names) or "none here: they come with the source, not with an installed package"
        raise ExampleError(f"there is no example {name[:40]!r}", remedy=f"there are {known}")
    file = folder / name / "plugin.py"
    return Example(name, file, _expected_order(file), keeps_files=name == "storage")


def _expected_order(file: Path) -> tuple[str, ...]:
    """`EXPECTED_ORDER` of a plugin file, read without running it."""
    for node in ast.parse(file.read_text("utf-8"), str(file)).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "EXPECTED_ORDER" for target in targets):
            value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            if isinstance(value, tuple | list) and value and all(isinstance(word, str) for word in value):
                return tuple(value)
    raise ExampleError(f"{file} names no EXPECTED_ORDER", remedy="list its variants from best to worst in a tuple")


def stage(parts: Sequence[Part], peers: Sequence[SwarmPeer]) -> dict[Part, SwarmPeer]:
    """Which peer runs which plugin: round the peers, so that most calls cross the network."""
    return {part: peers[at % len(peers)] for at, part in enumerate(parts)}
