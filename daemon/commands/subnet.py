"""`yumad subnet list|show|metagraph|hyperparams` and `yumad weights set|show`: the field's words and tables."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Final

import typer

from .grid import print_grid, short_amount
from .options import (
    DEFAULT_HOME,
    DEFAULT_WALLETS,
    DevOption,
    HomeOption,
    HotkeyOption,
    JsonOption,
    PasswordFileOption,
    WaitOption,
    WalletOption,
    WalletsOption,
)
from .output import CommandError, format_tao, print_fields, print_json, reporting, usage_error

NetuidOption = Annotated[int, typer.Option("--netuid", help="Number of the subnet.", min=0, max=65535)]
MechanismOption = Annotated[int, typer.Option("--mechanism", help="Mechanism of the subnet.", min=0, max=255)]

SHARE: Final = 65_535
"""Shares are stored in parts of this."""

ALPHA: Final = "α"

_WEIGHT: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
"""No exponents: `1e999999999` would be a number of a billion digits."""

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
    weights = typer.Typer(help="Set and look at weights.", no_args_is_help=True, rich_markup_mode=None)
    weights.command("set")(weights_set)
    weights.command("show")(weights_show)
    app.add_typer(weights, name="weights")


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
    """Every neuron of a subnet as of its last epoch."""
    with reporting(as_json):
        document = _ask(home, "metagraph", netuid=netuid)
        answer = document["answer"]
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
             "emission", "updated"),
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
    )


def _share(parts: int) -> str:
    return f"{parts / SHARE:.5f}"


def _ask(home: Any, method: str, **params: Any) -> dict[str, Any]:
    from ..control_client import ControlClient

    with ControlClient.connect(home) as client:
        document: dict[str, Any] = client.call(method, **params)
    return document


# --- weights ----------------------------------------------------------------------------------------------------------


def weights_set(
    netuid: NetuidOption,
    uids: Annotated[str, typer.Option("--uids", help="Neurons that are judged, separated by commas.")],
    values: Annotated[str, typer.Option("--weights", help="Their weights; only the proportions count.")],
    mechanism: MechanismOption = 0,
    version_key: Annotated[int, typer.Option("--version-key", help="Version of the validator's code.", min=0)] = 0,
    wallet: WalletOption = "",
    hotkey: HotkeyOption = "",
    dev: DevOption = "",
    wait: WaitOption = None,
    wallets: WalletsOption = DEFAULT_WALLETS,
    password_file: PasswordFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Set a validator's weights in a subnet; signed by its hotkey, free of charge."""
    with reporting(as_json):
        from ...consensus.rules.v1.calls.call import pack_u16
        from ...consensus.rules.v1.calls.table import call_named
        from ..control_client import ControlClient
        from .sending import send_call
        from .signer import SignerOptions

        chosen = _uids(uids)
        scaled = scale_weights(_weights(values))
        if len(chosen) != len(scaled):
            raise usage_error(f"{len(chosen)} uids and {len(scaled)} weights", remedy="give one weight for each uid")
        options = SignerOptions(wallet, hotkey, dev, wallets, password_file)
        options.check()
        call = call_named("weights.set_mechanism_weights" if mechanism else "weights.set_weights")
        assert call is not None
        target = [netuid, mechanism] if mechanism else [netuid]
        wire = [*target, pack_u16(chosen), pack_u16(scaled), version_key]
        with ControlClient.connect(home) as client:
            send_call(client, call, wire, options, wait=wait, as_json=as_json)


def _uids(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() and int(part) <= SHARE for part in parts):
        raise usage_error(f"--uids is {text!r}", remedy="write whole numbers separated by commas, such as 0,3,17")
    return [int(part) for part in parts]


def _weights(text: str) -> list[Fraction]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(_WEIGHT.fullmatch(part) for part in parts):
        raise usage_error(f"--weights is {text!r}", remedy="write numbers that are not negative, such as 0.5,0.3,0.2")
    return [Fraction(part) for part in parts]


def scale_weights(weights: list[Fraction]) -> list[int]:
    """Weights as the chain stores them: the largest becomes 65535, the others in proportion, rounded to nearest.

    Exact: no float is involved. Raises a usage error when all are zero.
    """
    largest = max(weights)
    if largest == 0:
        raise usage_error("all weights are zero", remedy="give at least one weight above zero")
    return [round(weight * SHARE / largest) for weight in weights]


def weights_show(
    netuid: NetuidOption,
    uid: Annotated[int, typer.Option("--uid", help="Validator whose weights are shown.", min=0, max=65535)],
    mechanism: MechanismOption = 0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """One validator's stored weights."""
    with reporting(as_json):
        document = _ask(home, "weights", netuid=netuid, mechanism=mechanism, uid=uid)
        pairs = document["answer"]
        if as_json:
            print_json({"height": document["height"], "netuid": netuid, "uid": uid, "weights": pairs})
            return
        if not pairs:
            raise CommandError("no_weights", f"uid {uid} of subnet {netuid} has set no weights")
        total = sum(value for _, value in pairs)
        print_grid(
            f"weights of uid {uid} in subnet {netuid}",
            ("uid", "weight", "share"),
            [(target, value, f"{value / total:.5f}" if total else "-") for target, value in pairs],
        )
