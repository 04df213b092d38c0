"""`yumad subnet list|show|metagraph|hyperparams`: the field's words and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .grid import print_grid, short_amount
from .options import DEFAULT_HOME, HomeOption, JsonOption
from .output import CommandError, format_tao, print_fields, print_json, reporting

if TYPE_CHECKING:
    from ..control_client import ControlClient

NetuidOption = Annotated[int, typer.Option("--netuid", help="Number of the subnet.", min=0, max=65535)]

SHARE: Final = 65_535
"""Shares are stored in parts of this."""

ALPHA: Final = "α"

_LONGEST_ADDRESS: Final = 8
"""Characters of an address in a wide table; `--json` has them whole."""


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    subnets = typer.Typer(help="Look at subnets.", no_args_is_help=True, rich_markup_mode=None)
    subnets.command("list")(list_subnets)
    subnets.command("show")(show)
    subnets.command("metagraph")(metagraph)
    subnets.command("hyperparams")(hyperparams)
    app.add_typer(subnets, name="subnet")


def list_subnets(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """All subnets with neurons, tempo, prices, pools and emission."""
    with reporting(as_json):
        document = _ask(home, "subnets")
        if as_json:
            print_json({"height": document["height"], "subnets": document["answer"]})
            return
        print_grid(
            f"{len(document['answer'])} subnets at block {document['height']}",
            ("netuid", "", "neurons", "tempo", "next epoch", "price", "moving", "TAO in pool", "alpha out", "register",
             "τ/block"),
            [
                (
                    row["netuid"],
                    row["symbol"],
                    f"{row['neurons']}/{row['max_neurons']}",
                    row["tempo"],
                    "off" if row["blocks_to_epoch"] is None else f"in {row['blocks_to_epoch']}",
                    short_amount(int(row["price_rao"])),
                    short_amount(int(row["moving_price_rao"])),
                    short_amount(int(row["tao_reserve"])),
                    short_amount(int(row["alpha_out"]), ALPHA),
                    format_tao(int(row["burn"])),
                    short_amount(int(row["tao_in_emission"]) + int(row["excess_tao"])),
                )
                for row in document["answer"]
            ],
        )  # fmt: skip


def show(netuid: NetuidOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """One subnet: owner, schedule, price, stake, and what its last epoch gave."""
    with reporting(as_json):
        from ..control_client import ControlClient

        with ControlClient.connect(home) as client:
            document = client.call("subnet", netuid=netuid)
            epoch = client.call("epoch_result", netuid=netuid)["answer"]
        epoch.pop("neuron_emission", None)
        if as_json:
            print_json({"height": document["height"], "subnet": document["answer"], "epoch": epoch})
            return
        print_fields(_flat(document["answer"]))
        print_fields({f"last epoch {name}": value for name, value in epoch.items() if name != "netuid"})


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    """Fields of a document, those of a table inside it with its name before theirs."""
    flat: dict[str, Any] = {}
    for name, value in answer.items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": item for inner, item in value.items()}
        else:
            flat[name] = value
    return flat


def hyperparams(netuid: NetuidOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """The parameters of a subnet."""
    with reporting(as_json):
        document = _ask(home, "hyperparameters", netuid=netuid)
        if as_json:
            print_json({"height": document["height"], "netuid": netuid, "hyperparameters": document["answer"]})
        else:
            print_fields(document["answer"])


def metagraph(netuid: NetuidOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Every neuron of a subnet as of its last epoch, and how many of the probers reach it now."""
    with reporting(as_json):
        from ..control_client import ControlClient

        with ControlClient.connect(home) as client:
            answer = client.call("metagraph", netuid=netuid)["answer"]
            reach = _reach(client, netuid)
        for neuron in answer["members"]:
            neuron["reach"] = reach.get(neuron["hotkey"])
        if as_json:
            print_json(answer)
            return
        title = (
            f"subnet {netuid} at block {answer['height']}: {answer['neurons']} neurons, epoch {answer['epoch_index']}, "
            f"next in {answer['blocks_to_epoch']} blocks"
        )
        print_grid(
            title,
            ("uid", "hotkey", "stake", "permit", "active", "consensus", "incentive", "dividends", "vtrust",
             "emission", "updated", "reach"),
            [_neuron_row(neuron, answer["height"]) for neuron in answer["members"]],
        )  # fmt: skip


def _neuron_row(neuron: dict[str, Any], height: int) -> tuple[Any, ...]:
    incentive = sum(neuron["incentive"])
    return (
        neuron["uid"],
        f"{neuron['hotkey'][:_LONGEST_ADDRESS]}…",
        short_amount(int(neuron["total_stake"]), ALPHA),
        "yes" if neuron["permit"] else "-",
        "yes" if neuron["active"] else "-",
        _share(neuron["consensus"]),
        _share(incentive),
        _share(neuron["dividends"]),
        _share(neuron["validator_trust"]),
        short_amount(int(neuron["emission"]), ALPHA),
        height - max(neuron["last_update"]),
        reach_cell(neuron["reach"]),
    )


def reach_cell(reach: dict[str, Any] | None) -> str:
    """How many of the probers reached it, and the median of their times (AXON R31)."""
    if not reach or not reach["probers"]:
        return "-"
    share = f"{reach['reached_by']}/{reach['probers']}"
    return share if reach["latency_ms"] is None else f"{share} {reach['latency_ms']} ms"


def _reach(client: ControlClient, netuid: int) -> dict[str, Any]:
    """By hotkey; nothing from a peer that knows no calls."""
    try:
        found: dict[str, Any] = client.call("axon.reach", netuid=netuid)
    except CommandError as error:
        if error.code != "unknown_method":
            raise
        return {}
    return found


def _share(parts: int) -> str:
    return f"{parts / SHARE:.5f}"


def _ask(home: Any, method: str, **params: Any) -> dict[str, Any]:
    from ..control_client import ControlClient

    with ControlClient.connect(home) as client:
        document: dict[str, Any] = client.call(method, **params)
    return document
