"""`yumad swarm`: a network of real processes on this host, with a live table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import Exit, print_json, print_table, reporting, usage_error

if TYPE_CHECKING:
    from ...consensus.chain_spec import ChainSpec
    from ..swarm import Swarm
    from ..swarm_example import Example
    from ..swarm_play import Play


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(swarm)


def swarm(
    peers: Annotated[int, typer.Option(min=1, max=32, help="Authorities.")] = 4,
    followers: Annotated[int, typer.Option(min=0, max=32, help="Peers that join by one bootstrap address.")] = 0,
    profile: Annotated[str, typer.Option(help="Profile of the made spec: dev, main or finney.")] = "dev",
    slot: Annotated[float | None, typer.Option(min=0.25, help="Slot in seconds, instead of the profile's.")] = None,
    spec: Annotated[
        Path | None, typer.Option(help="Spec to start from, for instance of `yumad genesis import`; gets authorities.")
    ] = None,
    base: Annotated[Path | None, typer.Option(help="Folder for the homes; kept. Default: a temporary one.")] = None,
    until_height: Annotated[int | None, typer.Option(min=1, help="End when all have finalised this height.")] = None,
    example: Annotated[
        str, typer.Option(help="Let miners and validators of this example play the subnet: see examples/.")
    ] = "",
    until_epochs: Annotated[
        int | None, typer.Option(min=1, help="End after so many epochs that paid the example's miners.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document at the end.")] = False,
) -> None:
    """Start authorities and followers on this host and watch them; until Ctrl-C, or --until-height."""
    with reporting(as_json):
        import shutil
        import tempfile

        from ..swarm import Swarm, SwarmPlan

        played = None if not example else _example(example, spec)
        if until_epochs is not None and played is None:
            raise usage_error("--until-epochs without --example", remedy="say which one, such as --example compute")
        chain = swarm_chain(spec, profile, slot) if played is None else played_chain(played, profile, slot)
        if base is not None and base.exists() and any(base.iterdir()):
            raise usage_error(f"{base} is not empty", remedy="name a new folder: a swarm is a new chain")
        _end_on_signals()
        folder = base or Path(tempfile.mkdtemp(prefix="yumad-swarm-"))
        running = Swarm(SwarmPlan(folder, chain, peers, followers))
        try:
            running.make()
            if played is None:
                _watch(running, until_height, as_json)
            else:
                _watch_example(running, played, until_height, until_epochs, as_json)
        finally:
            running.stop()
            if base is None:
                shutil.rmtree(folder, ignore_errors=True)


def _end_on_signals() -> None:
    """SIGTERM and a closed terminal end the swarm like Ctrl-C, also where a shell had SIGINT ignored for us."""
    import signal

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def swarm_chain(spec: Path | None, profile: str, slot: float | None) -> ChainSpec:
    """The spec a swarm starts from: the one in a file, or the made one of a profile; always with a fresh salt."""
    from dataclasses import replace

    from ...consensus.types import Micros
    from ..spec_file import read_spec_template
    from ..swarm import random_salt
    from ..swarm_spec import swarm_spec

    slot_length = None if slot is None else round(slot * 1_000_000)
    if spec is None:
        return swarm_spec(profile, "swarm", random_salt(), slot_length)
    chain = replace(read_spec_template(spec), salt=random_salt())
    return chain if slot_length is None else replace(chain, slot_length=Micros(slot_length))


def _example(name: str, spec: Path | None) -> Example:
    from ..swarm_example import find_example

    if spec is not None:
        raise usage_error("--example with --spec", remedy="an example plays the made subnet; leave one of them out")
    return find_example(name)


def played_chain(example: Example, profile: str, slot: float | None) -> ChainSpec:
    """The spec of a swarm whose subnet is played by an example."""
    from ..swarm import random_salt
    from ..swarm_example import EXAMPLE_SLOT
    from ..swarm_spec import played_spec

    seconds = EXAMPLE_SLOT if slot is None and profile == "dev" else slot
    length = None if seconds is None else round(seconds * 1_000_000)
    return played_spec(profile, "swarm", random_salt(), length, example.miners)


def _watch_example(
    running: Swarm, example: Example, until_height: int | None, until_epochs: int | None, as_json: bool
) -> None:
    from ..swarm_play import Play

    running.start()
    play = Play(running, example)
    play.start()
    enough = None if until_epochs is None else partial(play.is_over, until_epochs)
    ends = until_height is not None or until_epochs is not None
    try:
        if as_json:
            running.watch(until_height, play.look, enough)
        else:
            _watch_live(running, until_height, play.look, enough, play)
    except KeyboardInterrupt:
        if ends:
            raise SystemExit(Exit.INTERRUPTED) from None
    play.look()
    report = {**running.report(), **play.report()}
    if as_json:
        print_json(report)
        return
    rows = [list(neuron.values()) for neuron in report["neurons"]]
    print_table(f"{example.name}, {report['paid_epochs']} paid epochs", list(report["neurons"][0]), rows)


def _watch(running: Swarm, until_height: int | None, as_json: bool) -> None:
    from ..weight_keeper import WeightKeeper

    running.start()
    keep = WeightKeeper(running.spec.spec).keep
    try:
        if as_json:
            running.watch(until_height, keep)
        else:
            _watch_live(running, until_height, keep)
    except KeyboardInterrupt:
        if until_height is not None:
            raise SystemExit(Exit.INTERRUPTED) from None
    report = running.report()
    if as_json:
        print_json(report)
    else:
        rows = [list(peer.values()) for peer in report["peers"]]
        print_table(f"common height {report['common_height']}", list(report["peers"][0]), rows)


def _watch_live(
    running: Swarm,
    until_height: int | None,
    keep: Callable[[Swarm], None],
    enough: Callable[[], bool] | None = None,
    play: Play | None = None,
) -> None:
    import sys

    from rich.console import Console
    from rich.live import Live

    from ..swarm_table import swarm_table

    if not sys.stdout.isatty():
        _watch_plain(running, until_height, keep, enough, play)
        return
    with Live(swarm_table(running, play), console=Console(), refresh_per_second=4) as live:

        def show(swarm: Swarm) -> None:
            keep(swarm)
            live.update(swarm_table(swarm, play))

        running.watch(until_height, show, enough)


def _watch_plain(
    running: Swarm,
    until_height: int | None,
    keep: Callable[[Swarm], None],
    enough: Callable[[], bool] | None,
    play: Play | None,
) -> None:
    """Without a terminal: a line whenever the finalised heights change, and one for each epoch that paid."""
    print(f"join with: yumad join '{running.bootstrap}'", flush=True)
    shown: list[int] = []
    paid = 0

    def show(swarm: Swarm) -> None:
        keep(swarm)
        heights = [int(peer.status.get("finalised", 0)) for peer in swarm.peers]
        if heights != shown:
            shown[:] = heights
            line = " ".join(f"{peer.name}={height}" for peer, height in zip(swarm.peers, heights, strict=True))
            print(f"finalised {line}", flush=True)
        nonlocal paid
        if play is not None and play.paid_epochs != paid:
            paid = play.paid_epochs
            line = " ".join(f"{variant}={share:.4f}" for variant, share in play.shares().items())
            print(f"paid epoch {paid}: incentive {line}", flush=True)

    running.watch(until_height, show, enough)
