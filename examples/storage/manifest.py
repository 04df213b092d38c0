"""What the validator knows: stripes and their shards, and how far each miner is trusted. Kept as one JSON file.

The file is written beside and moved over the old one, so that a crash leaves one whole state; whoever starts again goes
on from there. The stored data itself is not here.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = 1


@dataclass(slots=True)
class Shard:
    """One sealed shard with its holder."""

    hotkey: str
    root: str
    """Merkle root of the sealed bytes, hex."""
    placed: bool = False
    """False from the decision until the holder has taken it."""
    misses: int = 0
    """Audits in a row without an answer."""


@dataclass(slots=True)
class Stripe:
    """Up to k · SHARD_BYTES of data, in shards of which any k are enough."""

    k: int
    length: int
    digest: str
    """BLAKE2b-256 of the data, hex."""
    name: str = ""
    """Of the file it is part of; empty for filler, which is random and may be given up."""
    part: int = 0
    """Offset in that file."""
    shards: dict[int, Shard] = field(default_factory=dict)

    def live(self) -> dict[int, Shard]:
        """Shards that somebody has taken."""
        return {index: shard for index, shard in self.shards.items() if shard.placed}

    def holders(self) -> set[str]:
        """Hotkeys that have or are about to have a shard."""
        return {shard.hotkey for shard in self.shards.values()}


@dataclass(slots=True)
class Standing:
    """How far one miner is trusted."""

    credit: float = 0.0
    """Shards it is paid for at most. Grows with audits passed, falls with every shard lost; may be negative."""
    room: int = -1
    """Bytes it says it has room for; -1 before it was asked. Only a limit, never a merit."""
    silent: int = 0
    """Rounds in a row without any answer."""
    proven: bool = False
    """Whether it answered all of the last round's audit."""
    drops: list[str] = field(default_factory=list)
    """Ids of shards it may forget, hex."""


@dataclass(slots=True)
class State:
    """All of it."""

    secret: str = field(default_factory=lambda: secrets.token_hex(32))
    """Key of every mask and id, hex. Whoever has it can make masks again: it stays in this file."""
    stripes: dict[str, Stripe] = field(default_factory=dict)
    miners: dict[str, Standing] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """File of the user -> bytes of it that are in stripes."""
    taking: list[str] = field(default_factory=list)
    """Those of them that are not stored as a whole yet."""
    repairs: int = 0
    """Shards made again for one that was lost."""
    lost: int = 0
    """Stripes of users' files of which fewer than k shards were left."""

    def key(self) -> bytes:
        """The secret as bytes."""
        return bytes.fromhex(self.secret)

    def miner(self, hotkey: str) -> Standing:
        """Its standing, new for a newcomer."""
        return self.miners.setdefault(hotkey, Standing())

    def held(self) -> dict[str, list[tuple[str, int]]]:
        """Hotkey -> (stripe, index) of every shard it has taken."""
        places: dict[str, list[tuple[str, int]]] = {}
        for stripe_id, stripe in self.stripes.items():
            for index, shard in stripe.shards.items():
                if shard.placed:
                    places.setdefault(shard.hotkey, []).append((stripe_id, index))
        return places


def save(state: State, file: Path) -> None:
    """Replace the file as a whole; readable by its owner only."""
    text = json.dumps({"schema": SCHEMA} | asdict(state))
    beside = file.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)


def load(file: Path) -> State:
    """The state of the file, new when there is none. Raises ValueError for a file of another schema.

    Shards that were not confirmed before the end are given up, with word to their holders.
    """
    try:
        raw: dict[str, Any] = json.loads(file.read_text("ascii"))
    except FileNotFoundError:
        return State()
    if raw.pop("schema", None) != SCHEMA:
        raise ValueError(f"{file.name} is not of schema {SCHEMA}: move it away, or run the version that wrote it")
    raw["stripes"] = {
        stripe_id: Stripe(**stripe | {"shards": {int(i): Shard(**shard) for i, shard in stripe["shards"].items()}})
        for stripe_id, stripe in raw["stripes"].items()
    }
    raw["miners"] = {hotkey: Standing(**standing) for hotkey, standing in raw["miners"].items()}
    return State(**raw)
