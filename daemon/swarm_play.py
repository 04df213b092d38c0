"""Runs the cast of an example on a swarm, watches what it is paid, and reports whether incentive followed quality."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ..consensus.types import YumadError
from .swarm import Swarm, SwarmError, SwarmPeer
from .swarm_example import Example, Part, stage
from .swarm_file import KeptFile
from .swarm_spec import SUBNET

PATIENCE: Final = 240.0
"""Seconds without a paid epoch after which a run with an end is given up: it takes 25 on an idle machine."""


@dataclass(slots=True)
class Seen:
    """What a validator's peer was seen to do."""

    commits: set[str] = field(default_factory=set)
    """Hashes it committed to."""
    revealed: bool = False
    """Its weights are on the chain."""


class Play:
    """See the module text. `start` once the swarm runs, `look` in every round."""

    def __init__(self, swarm: Swarm, example: Example) -> None:
        self.swarm = swarm
        self.example = example
        self.parts = example.cast()
        self.stage = stage(self.parts, swarm.peers)
        self.neurons: list[dict[str, Any]] = []
        """The subnet's members with `role` and `variant`, as the first authority has them."""
        self.paid_epochs = 0
        """Epochs since the first that paid a miner, that one included."""
        self.seen: dict[int, Seen] = {part.uid: Seen() for part in self.parts if part.role == "validator"}
        self.began = time.monotonic()
        self.first_paid: float | None = None
        """Seconds from the start of the plugins to the first final epoch that paid a miner."""
        self._first_epoch: int | None = None
        self._file = KeptFile(self) if example.keeps_files else None

    def start(self) -> None:
        """Start every plugin through its peer's control socket. Raises YumadError when one is refused."""
        self.began = time.monotonic()
        for part, peer in self.stage.items():
            self._client(peer).call(
                "plugin.run",
                name=part.name,
                file=str(self.example.file),
                netuid=SUBNET,
                role=part.role,
                hotkey=part.hotkey,
                variant=part.variant,
            )
        if self._file is not None:
            self._file.give()

    def stop_part(self, part: Part) -> None:
        """The miner is gone for good, with what it kept."""
        peer = self.stage[part]
        self._client(peer).call("plugin.stop", name=part.name)
        shutil.rmtree(self.folder(part), ignore_errors=True)

    def folder(self, part: Part) -> Path:
        """What the plugin's code keeps."""
        return self.stage[part].home / "plugins" / part.name / "store"

    def look(self, _: Swarm | None = None) -> None:
        """Read the subnet and what the validators do; peers that do not answer now are asked the next time."""
        try:
            self._look()
        except YumadError:
            return

    def _look(self) -> None:
        first = self._client(self.swarm.authorities[0])
        answer = first.call("query", name="metagraph", params=[SUBNET])["answer"]
        by_uid = {part.uid: part for part in self.parts}
        self.neurons = [
            {**neuron, "role": by_uid[neuron["uid"]].role, "variant": by_uid[neuron["uid"]].variant}
            for neuron in answer["members"]
            if neuron["uid"] in by_uid
        ]
        if self._first_epoch is None and any(sum(neuron["incentive"]) for neuron in self.neurons):
            self._first_epoch = int(answer["epoch_index"])
            self.first_paid = time.monotonic() - self.began
        if self._first_epoch is not None:
            self.paid_epochs = int(answer["epoch_index"]) - self._first_epoch + 1
        for part in self.parts:
            if part.role == "validator":
                seen = self.seen[part.uid]
                seen.revealed = seen.revealed or bool(
                    first.call("weights", netuid=SUBNET, mechanism=0, uid=part.uid)["answer"]
                )
                for state in self._client(self.stage[part]).call("weight_schedulers"):
                    if state["uid"] == part.uid and state["last_commit"]:
                        seen.commits.add(state["last_commit"])
        if self._file is not None:
            self._file.look()

    def is_over(self, until_epochs: int) -> bool:
        """Whether that many epochs were paid, and what else the example shows has been shown.

        Raises SwarmError when it waits in vain.
        """
        if self.paid_epochs >= until_epochs and (self._file is None or self._file.is_back):
            return True
        if time.monotonic() - self.began > PATIENCE + 30.0 * until_epochs:
            raise SwarmError(
                f"{self.paid_epochs} of {until_epochs} paid epochs after {time.monotonic() - self.began:.0f} s",
                remedy="keep the homes with --base and read their logs and `yumad plugin logs`",
            )
        return False

    def report(self) -> dict[str, Any]:
        """What came of it."""
        shares = self.shares()
        order = [shares[variant] for variant in self.example.order]
        document: dict[str, Any] = {
            "example": self.example.name,
            "paid_epochs": self.paid_epochs,
            "seconds_to_first_paid_epoch": None if self.first_paid is None else round(self.first_paid, 1),
            "weights": [
                {"uid": uid, "commits": len(seen.commits), "revealed": seen.revealed} for uid, seen in self.seen.items()
            ],
            "incentive_by_variant": {variant: round(shares[variant], 5) for variant in self.example.order},
            "ordered_by_quality": all(better >= worse for better, worse in pairwise(order)) and order[0] > order[-1],
            "caught": [variant for variant in self.example.order if shares[variant] == 0.0],
            "neurons": [
                {
                    "uid": neuron["uid"],
                    "role": neuron["role"],
                    "variant": neuron["variant"],
                    "incentive": sum(neuron["incentive"]),
                    "dividends": neuron["dividends"],
                    "emission": neuron["emission"],
                }
                for neuron in self.neurons
            ],
        }
        if self._file is not None:
            document["storage"] = self._file.report()
        return document

    def shares(self) -> dict[str, float]:
        """Mean incentive of each variant's miners, as a share of the whole; those that were stopped are left out."""
        total = sum(sum(neuron["incentive"]) for neuron in self.neurons) or 1
        gone = None if self._file is None else self._file.stopped
        found: dict[str, list[float]] = {variant: [] for variant in self.example.order}
        for neuron in self.neurons:
            if neuron["role"] == "miner" and (gone is None or gone.uid != neuron["uid"]):
                found[neuron["variant"]].append(sum(neuron["incentive"]) / total)
        return {variant: sum(values) / max(1, len(values)) for variant, values in found.items()}

    @staticmethod
    def _client(peer: SwarmPeer) -> Any:
        if peer.client is None:
            raise SwarmError(f"{peer.name} does not answer", remedy=f"see {peer.log}")
        return peer.client
